"""Evolution of genotypes: accuracy against cost, within a budget, from a journal.

NSGA-II is pymoo's (Deb et al., A fast and elitist multiobjective genetic algorithm,
2002), through ask and tell; here are genotypes, repair, and what makes a killed search
go on: every score is in a journal, and a search that starts again takes the same course
with the scores that it finds there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mobilenas_tf.one_shot_space import (
    OneShotGenotype,
    OneShotSpace,
    Value,
)
from mobilenas_tf.search.journal_file import append_row, read_rows
from mobilenas_tf.spec import Architecture

# Scores of networks in their order, each as soon as it is known
Scores = Callable[[Sequence[OneShotGenotype]], Iterable[float]]
# `{metric: (cost of a network, budget)}`
Budgets = Mapping[str, tuple[Callable[[Architecture], float], float]]
_ETA = 3  # of the mutation: the smaller the farther it goes


@dataclasses.dataclass(frozen=True)
class Scored:
    """A network that was scored; `costs` are by metric."""

    genotype: OneShotGenotype
    score: float
    costs: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class _Row:
    genotype: Mapping[str, Value]
    score: float


class Journal:
    """Scores of networks in a file, a line each; no network is scored twice.

    Genotypes whose networks are equal are one. A last line that was not written whole
    is dropped, and scores of another measure are passed over.
    """

    def __init__(self, path: Path, space: OneShotSpace, *, measure: str = ""):
        """Reads the file if there is one.

        Args:
            path: Of the file.
            space: Whose genotypes it holds.
            measure: What a score is, in words.

        Raises:
            ValueError: If it is the journal of another space, or damaged elsewhere
                than at its end.
        """
        self.path, self.space, self.measure = path, space, measure
        self.scores: dict[Architecture, float] = {}
        self.scores.update(self._read())

    def _read(self) -> Iterator[tuple[Architecture, float]]:
        for where, measure, row in read_rows(self.path, _Row, space=self.space.name):
            if measure != self.measure:
                continue
            try:
                yield self.space.resolve(row.genotype), row.score
            except ValueError as error:
                raise ValueError(f"{where} must be a genotype: {error}") from error

    def score(
        self, genotypes: Sequence[OneShotGenotype], tell: Scores
    ) -> dict[Architecture, float]:
        """Returns the scores by network, those not known measured and written down."""
        networks = {self.space.resolve(genotype): genotype for genotype in genotypes}
        unknown = {n: g for n, g in networks.items() if n not in self.scores}
        told = tell(list(unknown.values())) if unknown else ()
        for (network, genotype), score in zip(unknown.items(), told, strict=True):
            row = {
                "space": self.space.name,
                "measure": self.measure,
                "genotype": genotype,
                "score": score,
            }
            append_row(self.path, row)
            self.scores[network] = score
        return {network: self.scores[network] for network in networks}


def evolve(
    space: OneShotSpace,
    scores: Scores,
    journal: Journal,
    budgets: Budgets,
    *,
    population: int,
    generations: int,
    seed: int,
    progress: Callable[[int, Sequence[Scored]], None] | None = None,
) -> list[Scored]:
    """Returns all networks that were scored, in order.

    Every network of the evolution is within the budgets: one that is not is repaired,
    gene by gene towards smaller values.

    Args:
        space: Of genotypes; what was turned off is not chosen.
        scores: Of networks, the larger the better.
        journal: Of the scores.
        budgets: What networks may cost; the first metric is the second objective.
        population: Networks of a generation.
        generations: The random first one included.
        seed: Of everything.
        progress: Called with each generation's number and all networks so far.

    Raises:
        ValueError: If even the smallest network is over a budget.
    """
    check_reachable(space, budgets)
    rng = np.random.default_rng(seed)
    decisions = space.decisions
    algorithm = _nsga2([len(each.values) for each in decisions], population)
    algorithm.setup(
        algorithm.problem, termination=("n_gen", generations), seed=seed, verbose=False
    )
    metric = next(iter(budgets))
    found: dict[Architecture, Scored] = {}
    generation = 0
    while algorithm.has_next():
        offspring = algorithm.ask()
        genotypes = [
            _repaired(space, _genotype(space, row), budgets, rng)
            for row in offspring.get("X")
        ]
        known = journal.score(genotypes, scores)
        rows = [
            Scored(g, known[network], _costs(network, budgets))
            for g, network in zip(genotypes, map(space.resolve, genotypes), strict=True)
        ]
        offspring.set("X", np.array([_genes(space, g) for g in genotypes]))
        offspring.set("F", np.array([[-r.score, r.costs[metric]] for r in rows]))
        algorithm.tell(infills=offspring)
        found |= {space.resolve(row.genotype): row for row in rows}
        generation += 1
        if progress is not None:
            progress(generation, list(found.values()))
    return list(found.values())


def check_reachable(
    space: OneShotSpace, budgets: Budgets
) -> dict[str, tuple[float, float]]:
    """Returns what the smallest and the largest network cost, by metric.

    Raises:
        ValueError: If no network of the space is within the budgets.
    """
    reach = {}
    for metric, (cost, budget) in budgets.items():
        low, high = (
            cost(space.resolve(genotype))
            for genotype in (space.narrowest(), space.widest())
        )
        if budget < low:
            raise ValueError(
                f"max_{metric} must be at least {low:,.6g}, the smallest network of "
                f"{space.name} (the largest: {high:,.6g}). Received: {budget:,.6g}"
            )
        reach[metric] = low, high
    return reach


def pareto_front(found: Sequence[Scored], metric: str) -> list[Scored]:
    """Returns the networks that none beats in both score and cost, cheapest first."""
    front: list[Scored] = []
    for row in sorted(found, key=lambda row: (row.costs[metric], -row.score)):
        if not front or row.score > front[-1].score:
            front.append(row)
    return front


def _nsga2(sizes: Sequence[int], population: int) -> Any:
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.problem import Problem
    from pymoo.operators.crossover.ux import UniformCrossover
    from pymoo.operators.mutation.pm import PolynomialMutation
    from pymoo.operators.repair.rounding import RoundingRepair
    from pymoo.operators.sampling.rnd import IntegerRandomSampling

    upper = np.array(sizes) - 1
    # pymoo's annotations are those of its own defaults.
    crossover: Any = UniformCrossover(repair=RoundingRepair())
    mutation: Any = PolynomialMutation(prob=1.0, eta=_ETA, repair=RoundingRepair())
    algorithm = NSGA2(
        pop_size=population,
        sampling=IntegerRandomSampling(),
        crossover=crossover,
        mutation=mutation,
    )
    algorithm.problem = Problem(
        n_var=len(sizes), n_obj=2, xl=0 * upper, xu=upper, vtype=int
    )
    return algorithm


def _genotype(space: OneShotSpace, genes: Sequence[int]) -> OneShotGenotype:
    chosen = {
        decision.path: decision.values[int(gene)]
        for decision, gene in zip(space.decisions, genes, strict=True)
    }
    return space.complete(chosen)


def _genes(space: OneShotSpace, genotype: Mapping[str, Value]) -> list[int]:
    return [each.values.index(genotype[each.path]) for each in space.decisions]


def _repaired(
    space: OneShotSpace,
    genotype: OneShotGenotype,
    budgets: Budgets,
    rng: np.random.Generator,
) -> OneShotGenotype:
    """Returns a genotype within the budgets, genes taken down one by one.

    Each step replaces a gene, drawn at random, by the smallest network's; after the
    last there is nothing but the smallest network.
    """
    smallest = space.narrowest()
    repaired = dict(genotype)
    for path in rng.permutation(list(repaired)):
        if _is_within(space, repaired, budgets):
            return repaired
        repaired[str(path)] = smallest[str(path)]
    return repaired


def _is_within(
    space: OneShotSpace, genotype: OneShotGenotype, budgets: Budgets
) -> bool:
    costs = _costs(space.resolve(genotype), budgets)
    return all(costs[metric] <= budget for metric, (_, budget) in budgets.items())


def _costs(network: Architecture, budgets: Budgets) -> dict[str, float]:
    return {metric: float(cost(network)) for metric, (cost, _) in budgets.items()}
