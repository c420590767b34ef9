"""Live shrinking: the whole search with and without it, and what either finds.

Same seeds, same budget (30 % of the supernet). The searches of a seed run at the same
time, one thread each, so that what else the machine does meets both; times are the
processor's seconds of the whole search, re-tracing included. The found networks are
trained from scratch and judged on test images that took no part.

What it saves grows with the length of the search, as the narrower network has to be
traced anew a few times, and with how soon the budget is reached and channels count as
dead: 20 epochs, a budget that is reached at 0.15 of them (0.4 is the default of
searches) and a probability below 0.3 (0.05 is their default).

Run: python -m benchmarks.live_shrinking --search_epochs=20 --seeds=3
    --dataset=tfds:cifar10_jpeg --data_dir=DIR
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

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
from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.search.config import BudgetConfig, FigsConfig
from mobilenas_tf.spaces import named_space

_SHARE = flags.DEFINE_float("budget_share", 0.3, "Budget / supernet, multiply-adds.")
_SETTLE = flags.DEFINE_float("settle_fraction", 0.15, "Of both searches.")
_DEAD_BELOW = flags.DEFINE_float("dead_below", 0.3, "Of the search that shrinks.")

SIDES = ("with", "without")
MAX_TIME_SHARE = 0.6

Results = Mapping[str, Any]


def main(_: Sequence[str]) -> None:
    """Runs all jobs, prints the table and one JSON object."""
    results = run_jobs(_jobs(), _work, results_folder())
    searches, trainings = (
        {side: [results[f"{kind}_{side}_{seed}"] for seed in seeds()] for side in SIDES}
        for kind in ("search", "train")
    )
    shares = _ratios(searches, "cpu_seconds")
    accuracies = {
        side: [100 * result["test_accuracy"] for result in trainings[side]]
        for side in SIDES
    }
    difference = paired_difference(accuracies["with"], accuracies["without"])
    rows = [
        {
            "search": f"{side} live shrinking",
            "cpu_seconds": float(np.median([r["cpu_seconds"] for r in searches[side]])),
            "left_macs": float(
                np.median([r["supernet_macs"][-1] for r in searches[side]])
            ),
            "test_accuracy": float(np.mean(accuracies[side])),
            "macs": float(np.mean([result["macs"] for result in trainings[side]])),
        }
        for side in SIDES
    ]
    print(format_table(list(rows[0]), rows))
    evidence.finish(
        figures={
            "rows": rows,
            "time_with_over_without": shares,
            "clock_with_over_without": _ratios(searches, "seconds"),
            "supernet_macs_by_epoch": [r["supernet_macs"] for r in searches["with"]],
            "test_accuracy": accuracies,
            "accuracy_with_minus_without_points": difference,
            "total_cpu_seconds": sum(r["cpu_seconds"] for r in results.values()),
        },
        settings=protocol().settings()
        | {
            "seeds": len(seeds()),
            "budget_share": _SHARE.value,
            "settle_fraction": _SETTLE.value,
            "dead_below": _DEAD_BELOW.value,
        },
        targets=[
            evidence.target(
                "CPU seconds of the search with / without, median",
                float(np.median(shares)),
                MAX_TIME_SHARE,
                at_most=True,
            ),
            evidence.target(
                "test accuracy with - without in points, upper end (95 %)",
                difference["high_95"],
                0.0,
                at_most=False,
            ),
        ],
    )


def _ratios(searches: Mapping[str, Sequence[Results]], key: str) -> list[float]:
    pairs = zip(searches["with"], searches["without"], strict=True)
    return [ours[key] / others[key] for ours, others in pairs]


def _budget() -> float:
    return _SHARE.value * network_cost(named_space(protocol().space).supernet).macs


def _jobs() -> list[Job]:
    jobs = []
    for seed in seeds():
        for kind, side in itertools.product(("search", "train"), SIDES):
            settings = {
                **protocol().settings(),
                "budget_share": _SHARE.value,
                "kind": kind,
                "side": side,
                "seed": seed,
                "search": dataclasses.asdict(_search_config(side)),
            }
            needs = (f"search_{side}_{seed}",) if kind == "train" else ()
            jobs.append(Job(f"{kind}_{side}_{seed}", settings, needs))
    return jobs


def _search_config(side: str) -> FigsConfig:
    shared = FigsConfig(
        space=protocol().space, live_shrinking=False, settle_fraction=_SETTLE.value
    )
    if side == "without":
        return shared
    return dataclasses.replace(
        shared, live_shrinking=True, dead_below=_DEAD_BELOW.value
    )


def _work(job: Job, needed: Results) -> dict[str, Any]:
    shared, seed = protocol(), job.settings["seed"]
    folder = workdir() / job.name
    if job.settings["kind"] == "search":
        return run_search(
            shared,
            _search_config(job.settings["side"]),
            BudgetConfig(max_macs=(_budget(),)),
            seed=seed,
            folder=folder,
        )
    architecture = found_architecture(needed, _budget())
    return run_training(shared, architecture, seed=seed, folder=folder)


if __name__ == "__main__":
    app.run(main)
