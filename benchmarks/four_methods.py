"""FiGS, DNAS, BS-NAS and JointNAS on one space, at equal search time and equal cost.

On `common_space`, for one budget in multiply-adds, with paired seeds (same images, same
order for all sides): a search by each method with about as many processor seconds, then
the training of what it found, from scratch and by one recipe for all; judged on test
images that took no part.

Sides:
- figs, dnas, bs_nas, joint: this project's searches (`four_searches`); JointNAS'
  network is trained by the shared recipe, as all others, and as a side of its own by
  the recipe that was found with it;
- random search: networks that use the budget, each trained for a short time, for as
  many processor seconds as the searches; the best one by validation images;
- uniform: MobileNetV2's block at all places, all widths scaled to the budget, without
  a search.

Each run's result is stored as it ends; a stopped script goes on.

Run: python -m benchmarks.four_methods --dataset=tfds:cifar10_jpeg --data_dir=DIR
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import app, flags

from benchmarks import evidence
from benchmarks.classification_jobs import protocol, run_training
from benchmarks.common_space import SPACE, uniform_network
from benchmarks.four_searches import (
    CANDIDATE_EPOCHS,
    CANDIDATE_IMAGES,
    CANDIDATE_VALIDATION,
    EPOCHS,
    JOINT,
    JOINT_CONFIG,
    METHODS,
    ONE_SHOT_CONFIG,
    RANDOM,
    SEARCH_SECONDS,
    Search,
    run_method,
)
from benchmarks.jobs import Job, results_folder, run_jobs, seeds, workdir
from benchmarks.paired import paired_difference
from mobilenas_tf.json_io import architecture_from_plain, from_plain
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.training.recipe import Recipe

_MACS = flags.DEFINE_float("max_macs", 4e6, "Budget of every network.")

UNIFORM, BY_RECIPE = "uniform", "joint, its recipe"
SIDES = (*METHODS, BY_RECIPE, UNIFORM)
BASELINES = (RANDOM, UNIFORM)
# Of the mean seconds of two searches, and of the mean costs of two sides' networks.
MAX_SECONDS_RATIO, MAX_MACS_RATIO = 1.25, 1.05

Results = Mapping[str, Any]


def main(_: Sequence[str]) -> None:
    """Runs all jobs, prints the tables and one JSON object."""
    results = run_jobs(_jobs(), _work, results_folder())
    rows = [_row(results, side) for side in SIDES]
    differences = [each for side in SIDES for each in _differences(results, side)]
    print(format_table(list(rows[0]), rows), "\n")
    print(format_table(list(differences[0]), differences))
    searched = [row["search_cpu_seconds"] for row in rows if row["side"] in METHODS]
    macs = [row["macs"] for row in rows]
    evidence.finish(
        figures={
            "rows": rows,
            "differences": differences,
            "test_accuracy": {
                side: [run["test_accuracy"] for run in _trainings(results, side)]
                for side in SIDES
            },
            "runs": results,
        },
        settings={**_settings(), "seeds": len(seeds()), "max_macs": _MACS.value},
        targets=[
            evidence.target(
                "processor seconds of the longest / of the shortest search",
                max(searched) / min(searched),
                MAX_SECONDS_RATIO,
                at_most=True,
            ),
            evidence.target(
                "multiply-adds of the dearest / of the cheapest side",
                max(macs) / min(macs),
                MAX_MACS_RATIO,
                at_most=True,
            ),
        ],
    )


def _row(results: Results, side: str) -> dict[str, Any]:
    runs = _trainings(results, side)
    points = [100 * run["test_accuracy"] for run in runs]
    searched = [
        results[name]["cpu_seconds"]
        for name in (_search(side, seed) for seed in seeds())
        if name in results
    ]
    return {
        "side": side,
        "test accuracy": float(np.mean(points)),
        "spread of seeds": float(np.std(points, ddof=1)),
        "macs": float(np.mean([run["macs"] for run in runs])),
        "params": float(np.mean([run["params"] for run in runs])),
        "search_cpu_seconds": float(np.mean(searched)) if searched else 0.0,
    }


def _differences(results: Results, side: str) -> Iterator[dict[str, Any]]:
    """Yields a side against each baseline, in points."""
    ours, others = (
        {
            each: [100 * run["test_accuracy"] for run in _trainings(results, each)]
            for each in sides
        }
        for sides in ((side,), BASELINES)
    )
    for baseline in BASELINES:
        if baseline != side:
            difference = paired_difference(ours[side], others[baseline])
            yield {"side": side, "minus": baseline, **difference}


def _trainings(results: Results, side: str) -> list[Mapping[str, Any]]:
    return [results[_training(side, seed)] for seed in seeds()]


def _search(side: str, seed: int) -> str:
    return f"search_{JOINT if side == BY_RECIPE else side}_{seed}".replace(" ", "_")


def _training(side: str, seed: int) -> str:
    return f"train_{side}_{seed}".replace(" ", "_").replace(",", "")


def _settings() -> dict[str, Any]:
    return {
        **protocol().settings(),
        "space": SPACE,
    }


def _search_settings(method: str) -> dict[str, Any]:
    """Returns what decides a search, besides what all share."""
    if method in EPOCHS:
        config = ONE_SHOT_CONFIG if method == "bs_nas" else None
        return {"epochs_of_search": EPOCHS[method], "config": config}
    return {
        "seconds_of_search": SEARCH_SECONDS,
        "candidates": (CANDIDATE_IMAGES, CANDIDATE_VALIDATION, CANDIDATE_EPOCHS),
        "config": JOINT_CONFIG if method == JOINT else None,
    }


def _jobs() -> list[Job]:
    """Returns all runs, seed by seed."""
    jobs = []
    for seed in seeds():
        shared = {**_settings(), "max_macs": _MACS.value, "seed": seed}
        for side in SIDES:
            needs = () if side == UNIFORM else (_search(side, seed),)
            if side in METHODS:
                own = {"method": side, **_search_settings(side)}
                jobs.append(Job(_search(side, seed), {**shared, **own}))
            jobs.append(Job(_training(side, seed), {**shared, "side": side}, needs))
    return jobs


def _work(job: Job, needed: Results) -> dict[str, Any]:
    """Searches or trains."""
    settings, folder = job.settings, workdir() / job.name
    seed, max_macs = settings["seed"], settings["max_macs"]
    if method := settings.get("method"):
        return run_method(method, Search(protocol(), max_macs, seed, folder))
    found = next(iter(needed.values()), None)
    if found is None:
        architecture = uniform_network(max_macs)
    else:
        plain = found["architecture"]
        architecture = architecture_from_plain(plain, "the search's result")
    recipe = None
    if found is not None and settings["side"] == BY_RECIPE:
        recipe = from_plain(Recipe, found["recipe"], "the search's result")
    result = run_training(
        protocol(), architecture, seed=seed, folder=folder, recipe=recipe
    )
    return result | {"recipe": recipe and dataclasses.asdict(recipe)}


if __name__ == "__main__":
    app.run(main)
