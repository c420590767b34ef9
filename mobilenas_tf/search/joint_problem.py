"""What a joint search chooses among: decisions, what they cost, what is the same.

A candidate is one choice for every decision, of the network and of the recipe. Who
trains candidates is left to `workers`, which are tried to `joint`.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats.qmc

from mobilenas_tf.decisions import (
    Choices,
    Decision,
    Listed,
    Value,
    check_choices,
    choice_features,
    choices_at,
)

Costs = Mapping[str, float]
_BISECTIONS = 12
_MOST_FACTS = 50_000  # that are remembered


@dataclasses.dataclass(frozen=True)
class Facts:
    """What follows from a candidate's choices.

    Attributes:
        identity: Equal for candidates of equal networks and recipes.
        costs: Of the network, by metric, above 0.
        architecture: Features `[F]` of the network's decisions.
        recipe: Features `[R]` of the recipe's.
    """

    identity: Hashable
    costs: Costs
    architecture: np.ndarray
    recipe: np.ndarray


class JointProblem:
    """The candidates of a joint search.

    What follows from choices is worked out once: a search asks for it thousands of
    times.
    """

    def __init__(
        self,
        name: str,
        *,
        architecture: Sequence[Listed],
        recipe: Sequence[Decision],
        network: Callable[[Mapping[str, Value]], object],
        costs: Callable[[Any], Costs],
    ):
        """Creates a problem.

        Args:
            name: Of the space.
            architecture: Decisions about the network.
            recipe: Decisions about its training, perhaps none.
            network: Of choices, anything whose `repr` tells networks apart.
            costs: Of such a network, by metric, above 0.
        """
        self.name = name
        self.architecture, self.recipe = tuple(architecture), tuple(recipe)
        self._network, self._costs = network, costs
        self._facts: dict[tuple[Value, ...], Facts] = {}

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """All decisions."""
        return (*self.architecture, *self.recipe)

    def check(self, choices: Mapping[str, object]) -> None:
        """Raises a ValueError unless the choices are a candidate."""
        check_choices(self.decisions, choices)

    def facts(self, choices: Mapping[str, Value]) -> Facts:
        """Returns what follows from one choice for every decision."""
        key = tuple(choices[decision.path] for decision in self.decisions)
        if key not in self._facts:
            if len(self._facts) == _MOST_FACTS:
                self._facts.clear()
            network = self._network(choices)
            digest = hashlib.blake2b(repr(network).encode(), digest_size=16).digest()
            self._facts[key] = Facts(
                (digest, key[len(self.architecture) :]),
                self._costs(network),
                choice_features(self.architecture, choices),
                choice_features(self.recipe, choices),
            )
        return self._facts[key]

    def costs(self, choices: Mapping[str, Value]) -> Costs:
        """Returns the costs of choices that are only tried, and not remembered."""
        return self._costs(self._network(choices))

    def identity(self, choices: Mapping[str, Value]) -> Hashable:
        """Returns what is equal for candidates of equal networks and recipes."""
        return self.facts(choices).identity


@dataclasses.dataclass(frozen=True)
class Limits:
    """Budgets by metric, for one problem."""

    problem: JointProblem
    budgets: Mapping[str, float]

    def admit(self, choices: Mapping[str, Value]) -> bool:
        """Returns whether a candidate is within all budgets."""
        costs = self.problem.costs(choices)
        return all(costs[metric] <= budget for metric, budget in self.budgets.items())

    @functools.cached_property
    def cheapest(self) -> Choices:
        """The decisions' values of the cheapest network.

        Each decision's cheapest value, one after the other, until none changes:
        what a value adds does not depend on the others in such a way that this ends
        elsewhere.

        Raises:
            ValueError: If it is over a budget, which then no network meets.
        """
        listed = self.problem.architecture
        chosen = choices_at(self.problem.decisions, [0.0] * len(self.problem.decisions))
        for _ in range(len(listed)):
            before = dict(chosen)
            for decision in listed:
                chosen[decision.path] = min(
                    decision.values,
                    key=lambda value: self._share({**chosen, decision.path: value}),
                )
            if chosen == before:
                break
        costs = self.problem.costs(chosen)
        for metric, budget in self.budgets.items():
            if costs[metric] > budget:
                raise ValueError(
                    f"max_{metric} must be at least {costs[metric]:,.6g}, the smallest "
                    f"network of {self.problem.name}. Received: {budget:,.6g}"
                )
        return chosen

    def _share(self, choices: Mapping[str, Value]) -> float:
        """Returns the largest share of a budget, or of nothing the sum of costs."""
        costs = self.problem.costs(choices)
        shares = [costs[metric] / budget for metric, budget in self.budgets.items()]
        return max(shares) if shares else sum(costs.values())

    def pulled_in(self, choices: Choices) -> Choices:
        """Returns choices within the budgets, as near to the given ones as they can be.

        Between the cheapest network and the given one lies a line in the decisions'
        ranges, options halfway; the farthest point on it that is within the budgets is
        looked for by bisection. The recipe stays.
        """
        if self.admit(choices):
            return choices
        problem, cheapest, low, high = self.problem, self.cheapest, 0.0, 1.0
        recipe = {decision.path: choices[decision.path] for decision in problem.recipe}
        best = cheapest | recipe
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            between = dict(choices)
            for decision in problem.architecture:
                start, end = (
                    decision.values.index(each[decision.path])
                    for each in (cheapest, choices)
                )
                index = round(start + middle * (end - start))
                between[decision.path] = decision.values[index]
            if self.admit(between):
                best, low = between, middle
            else:
                high = middle
        return best


def quasi_random(limits: Limits, *, size: int, seed: int) -> list[Choices]:
    """Returns distinct candidates within the budgets, spread evenly.

    A Sobol sequence over all decisions; what is over a budget is pulled in. Fewer than
    asked for where the space has no more.

    Source: Dai et al., FBNetV3, arXiv:2006.02049, section 3.2 (quasi Monte-Carlo
    samples of the constrained space). Differs: pulled in, not rejected.

    Args:
        limits: Of the candidates.
        size: How many.
        seed: Of the sequence.

    Raises:
        ValueError: If no network is within the budgets.
    """
    problem = limits.problem
    found: dict[Hashable, Choices] = {}
    sobol = scipy.stats.qmc.Sobol(len(problem.decisions), rng=seed)
    exponent = max(size - 1, 1).bit_length()
    for block in (exponent, exponent, exponent + 1, exponent + 2):
        for shares in sobol.random_base2(block):
            choices = limits.pulled_in(choices_at(problem.decisions, shares.tolist()))
            found.setdefault(problem.identity(choices), choices)
            if len(found) == size:
                return list(found.values())
    return list(found.values())
