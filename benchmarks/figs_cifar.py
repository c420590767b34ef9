"""FiGS against uniform width, random widths, L1 on batch-norm scales and L0.

For two budgets of multiply-adds and one of parameters, with paired seeds (same images,
same order, same recipe for all sides): each search (one serves both budgets of
multiply-adds), then the training of every network from scratch, judged on test images
that took no part. Each run's result is stored as it ends; a stopped script goes on.

Sides:
- figs: this project's search with its defaults;
- figs_alone: the same with a search for the first budget alone; one that serves both
  budgets leaves the first one after three of seven epochs;
- l1: the same search by L1 on batch-norm scales (AtomNAS); l0: by hard-concrete gates;
- uniform: all searchable widths scaled alike to the budget;
- random: each of them times a number drawn from (0, 1), then scaled alike;
- mobilenet_v2: what one would take without a search: the space's table with 3x3 kernels
  only, under one width multiplier for everything. Reported; not a target.

Rounding to the divisor and filling up to the budget is the same code for all but the
last.

Run: python -m benchmarks.figs_cifar --dataset=tfds:cifar10_jpeg --data_dir=DIR
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import app, flags

from benchmarks import evidence
from benchmarks.classification_jobs import (
    protocol,
    run_search,
    run_training,
)
from benchmarks.jobs import Job, results_folder, run_jobs, seeds, workdir
from benchmarks.paired import paired_difference
from benchmarks.timed_search import found_architecture
from mobilenas_tf.costs.uniform import uniform_network
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.search.config import BudgetConfig, FigsConfig, Gate
from mobilenas_tf.spaces import named_space
from mobilenas_tf.spec import Architecture

_MACS = flags.DEFINE_list("max_macs", ["4e6", "2e6"], "Two budgets, falling.")
_PARAMS = flags.DEFINE_float("max_params", 8e4, "The budget of parameters.")
_FIRST_BUDGET_SEEDS = flags.DEFINE_integer(
    "first_budget_seeds",
    None,
    "Seeds of FiGS, uniform and random widths at the first budget, where they differ "
    "least; by default --seeds.",
)
_REPORTED_SEEDS = flags.DEFINE_integer(
    "reported_seeds", 2, "Seeds of the sides that no target is about."
)

GATES: dict[str, Gate] = {
    "figs": "logistic_sigmoid",
    "figs_alone": "logistic_sigmoid",
    "l1": "batch_norm_scale",
    "l0": "hard_concrete",
}
BASELINES = ("uniform", "random")
# Sides that no target is about.
REPORTED = ("mobilenet_v2", "l0")
OURS = ("figs", "figs_alone")
SIDES = (*OURS, *BASELINES, "l1", *REPORTED)
# A network this far below the median of its seeds counts as cut in two or collapsed.
COLLAPSED_POINTS = 5.0
MAX_SEARCH_SHARE = 2.0

Results = Mapping[str, Any]


def main(_: Sequence[str]) -> None:
    """Runs all jobs, prints the tables and one JSON object."""
    results = run_jobs(_jobs(), _work, results_folder())
    comparisons = [row for budget in _budgets() for row in _compare(results, budget)]
    stability = [_stability(results, budget) for budget in _budgets()]
    cost = _search_cost(results)
    for rows in (comparisons, stability, [cost]):
        print(format_table(list(rows[0]), rows), "\n")
    evidence.finish(
        figures={
            "comparisons": comparisons,
            "stability": stability,
            "search_cost": cost,
            "test_accuracy": {
                name: result["test_accuracy"]
                for name, result in results.items()
                if name.startswith("train")
            },
            "total_cpu_seconds": sum(r["cpu_seconds"] for r in results.values()),
        },
        settings=protocol().settings()
        | {
            "seeds": len(seeds()),
            "first_budget_seeds": len(_seeds("figs", _budgets()[0])),
            "max_macs": _MACS.value,
            "max_params": _PARAMS.value,
        },
        targets=[
            *(_target(row) for row in comparisons if row["than"] not in REPORTED),
            evidence.target(
                "CPU seconds of a FiGS search / of one training of its network",
                cost["search_over_training"],
                MAX_SEARCH_SHARE,
                at_most=True,
            ),
            evidence.target(
                "searches cut in two or collapsed",
                sum(row["collapsed"] for row in stability),
                0,
                at_most=True,
            ),
        ],
    )


class _Budget(NamedTuple):
    """So many multiply-adds or parameters."""

    metric: str
    value: float

    def __str__(self) -> str:
        return f"{self.value:.3g} {self.metric}"


def _budgets() -> list[_Budget]:
    macs = [_Budget("macs", float(value)) for value in _MACS.value]
    return [*macs, _Budget("params", _PARAMS.value)]


def _seeds(side: str, budget: _Budget) -> range:
    """Returns the paired seeds of a side at a budget."""
    is_first = budget == _budgets()[0]
    if side in REPORTED:
        return range(_REPORTED_SEEDS.value)
    if side == "figs_alone":
        return seeds() if is_first else range(0)
    if side != "l1" and is_first:
        return range(max(len(seeds()), _FIRST_BUDGET_SEEDS.value or 0))
    return seeds()


def _jobs() -> list[Job]:
    """Returns all runs, seed by seed, those that are only reported last."""
    jobs = {}
    for budget, side in itertools.product(_budgets(), SIDES):
        for seed in _seeds(side, budget):
            settings = {**protocol().settings(), "side": side, "seed": seed}
            settings["metric"] = budget.metric
            search = f"search_{side}_{budget.metric}_{seed}"
            if side in GATES:
                settings["search"] = dataclasses.asdict(_search_config(side))
                jobs[search] = Job(
                    search, {**settings, "budgets": _searched_for(side, budget)}
                )
            training = _training(side, budget, seed)
            jobs[training] = Job(
                training,
                {**settings, "budget": budget.value},
                needs=(search,) if side in GATES else (),
            )
    return sorted(
        jobs.values(),
        key=lambda job: (job.settings["side"] in REPORTED, job.settings["seed"]),
    )


def _searched_for(side: str, budget: _Budget) -> list[float]:
    """Returns the budgets of the search that finds a side's network of a budget."""
    if side == "figs_alone":
        return [budget.value]
    return [other.value for other in _budgets() if other.metric == budget.metric]


def _search_config(side: str) -> FigsConfig:
    return FigsConfig(space=protocol().space, gate=GATES[side])


def _training(side: str, budget: _Budget, seed: int) -> str:
    return f"train_{side}_{budget.metric}{budget.value:.0f}_{seed}"


def _work(job: Job, needed: Results) -> dict[str, Any]:
    settings, shared = job.settings, protocol()
    side, metric, seed = (settings[key] for key in ("side", "metric", "seed"))
    folder = workdir() / job.name
    if "budgets" in settings:
        return run_search(
            shared,
            _search_config(side),
            BudgetConfig(**{f"max_{metric}": tuple(settings["budgets"])}),
            seed=seed,
            folder=folder,
        )
    budget = settings["budget"]
    if side in GATES:
        architecture = found_architecture(needed, budget)
    else:
        architecture = _baseline(side, metric, budget, seed)
    return run_training(shared, architecture, seed=seed, folder=folder)


def _baseline(side: str, metric: str, budget: float, seed: int) -> Architecture:
    if side == "mobilenet_v2":
        return uniform_network(
            protocol().space, num_classes=10, metric=metric, budget=budget
        )
    from benchmarks.width_baselines import random_widths, uniform_widths

    space = named_space(protocol().space, num_classes=10)
    if side == "uniform":
        return uniform_widths(space, metric, budget)
    return random_widths(space, metric, budget, seed=seed)


def _accuracies(results: Results, side: str, budget: _Budget) -> list[float]:
    """Returns the test accuracies in percent of the seeds that this side has."""
    return [
        100 * results[_training(side, budget, seed)]["test_accuracy"]
        for seed in _seeds(side, budget)
    ]


def _compare(results: Results, budget: _Budget) -> list[dict[str, Any]]:
    rows = []
    for side, other in itertools.product(OURS, (*BASELINES, "l1", *REPORTED)):
        ours = _accuracies(results, side, budget)
        others = _accuracies(results, other, budget)
        count = min(len(ours), len(others))
        if count < 2:
            continue
        rows.append(
            {
                "budget": str(budget),
                "side": side,
                "ours": float(np.mean(ours[:count])),
                "than": other,
                "other": float(np.mean(others[:count])),
                "seeds": count,
                **paired_difference(ours[:count], others[:count]),
            }
        )
    return rows


def _target(row: Mapping[str, Any]) -> dict[str, Any]:
    """Above the baselines: the whole interval. Not worse than l1: not all below 0."""
    is_baseline = row["than"] in BASELINES
    end = "low_95" if is_baseline else "high_95"
    return evidence.target(
        f"{row['side']} - {row['than']} in points at {row['budget']}, "
        f"{row['seeds']} seeds, {'lower' if is_baseline else 'upper'} end (95 %)",
        row[end],
        0.0,
        at_most=False,
    )


def _stability(results: Results, budget: _Budget) -> dict[str, Any]:
    accuracies = _accuracies(results, "figs", budget)
    searches = [
        results[f"search_figs_{budget.metric}_{seed}"]["networks"]
        for seed in _seeds("figs", budget)
    ]
    widths = [networks[f"{budget.value:.0f}"]["widths"] for networks in searches]
    overlaps = [width_overlap(*pair) for pair in itertools.combinations(widths, 2)]
    return {
        "budget": str(budget),
        "seeds": len(accuracies),
        "lowest": min(accuracies),
        "median": float(np.median(accuracies)),
        "highest": max(accuracies),
        "standard_deviation": float(np.std(accuracies, ddof=1)),
        "mean_overlap_of_widths": float(np.mean(overlaps)),
        "collapsed": int(
            np.sum(np.array(accuracies) < np.median(accuracies) - COLLAPSED_POINTS)
        ),
    }


def width_overlap(first: Mapping[str, int], second: Mapping[str, int]) -> float:
    """Returns the channels in common over all channels of either, in [0, 1].

    `sum_g min(a_g, b_g) / sum_g max(a_g, b_g)` over the width groups g.
    """
    pairs = [(first[path], second[path]) for path in first]
    return sum(map(min, pairs)) / sum(map(max, pairs))


def _search_cost(results: Results) -> dict[str, float]:
    """Returns medians over the seeds; a search for multiply-adds finds two networks."""
    largest = _budgets()[0]
    searches, trainings = (
        [results[name(seed)]["cpu_seconds"] for seed in seeds()]
        for name in (
            lambda seed: f"search_figs_macs_{seed}",
            lambda seed: _training("figs", largest, seed),
        )
    )
    return {
        "search_cpu_seconds": float(np.median(searches)),
        "training_cpu_seconds": float(np.median(trainings)),
        "search_over_training": float(np.median(searches) / np.median(trainings)),
    }


if __name__ == "__main__":
    app.run(main)
