"""A searched backbone under SSDLite against narrower published ones.

FiGS searches backbone and head with the detection loss, within a budget of parameters
for the whole detector; MobileNetV3-Large and MnasNet-A1 get one width multiplier that
brings their whole detector to the same budget. `uniform` is what the search has to beat
in its own space: every width of FiGS's supernet, head included, takes the same share.
All are trained from scratch with the same scenes, order and recipe, and judged on test
scenes that took no part.

Run: python -m benchmarks.ssdlite_backbones
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from absl import app, flags

from benchmarks import evidence
from benchmarks.detection_jobs import (
    mean_figures,
    narrow_detector,
    precision,
    protocol,
    run_search,
    run_training,
    uniform_detector,
)
from benchmarks.jobs import Job, results_folder, run_jobs, seeds, workdir
from benchmarks.paired import paired_difference
from benchmarks.timed_search import found_architecture
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.search.config import BudgetConfig

_PARAMS = flags.DEFINE_float("max_params", 4e5, "Budget of the whole detector.")

FIGS, UNIFORM = "figs", "uniform"
PUBLISHED = ("mobilenet_v3_large", "mnasnet_a1")
SIDES = (FIGS, UNIFORM, *PUBLISHED)

Results = Mapping[str, Any]


def main(_: Sequence[str]) -> None:
    """Runs all jobs, prints the table and one JSON object."""
    results = run_jobs(_jobs(), _work, results_folder())
    trainings = {
        side: [results[_training(side, seed)] for seed in seeds()] for side in SIDES
    }
    test_map = {side: precision(trainings[side]) for side in SIDES}
    rows = []
    for side in SIDES:
        row = {"backbone": side, **mean_figures(trainings[side])}
        if side != FIGS:
            row |= {
                f"figs_minus_this_{key}": value
                for key, value in paired_difference(
                    test_map[FIGS], test_map[side]
                ).items()
            }
        rows.append(row)
    print(format_table(list(rows[-1]), rows))
    evidence.finish(
        figures={
            "rows": rows,
            "test_map": test_map,
            "total_cpu_seconds": sum(r["cpu_seconds"] for r in results.values()),
        },
        settings=protocol().settings()
        | {"seeds": len(seeds()), "max_params": _PARAMS.value},
        targets=[
            evidence.target(
                f"mAP of FiGS - {row['backbone']} in points, lower end (95 %)",
                row["figs_minus_this_low_95"],
                0.0,
                at_most=False,
            )
            for row in rows[1:]
        ],
    )


def _jobs() -> list[Job]:
    jobs = []
    for seed in seeds():
        settings = {
            **protocol().settings(),
            "seed": seed,
            "max_params": _PARAMS.value,
        }
        search = f"search_{FIGS}_{seed}"
        jobs.append(Job(search, {**settings, "kind": "search"}))
        jobs.extend(
            Job(
                _training(side, seed),
                {**settings, "kind": "train", "side": side},
                needs=(search,) if side == FIGS else (),
            )
            for side in SIDES
        )
    return jobs


def _training(side: str, seed: int) -> str:
    return f"train_{side}_{seed}"


def _work(job: Job, needed: Results) -> dict[str, Any]:
    seed, folder = job.settings["seed"], workdir() / job.name
    if job.settings["kind"] == "search":
        budget = BudgetConfig(max_params=(_PARAMS.value,))
        return run_search(protocol(), budget, seed=seed, folder=folder)
    side = job.settings["side"]
    if side == FIGS:
        detector = found_architecture(needed, _PARAMS.value)
    elif side == UNIFORM:
        detector = uniform_detector(protocol(), metric="params", budget=_PARAMS.value)
    else:
        detector = narrow_detector(
            protocol(), side, metric="params", budget=_PARAMS.value
        )
    return run_training(protocol(), detector, seed=seed, folder=folder)


if __name__ == "__main__":
    app.run(main)
