"""DNAS for a measured latency, against uniform width and random networks.

For two budgets in milliseconds of this host (int8, one thread), with paired seeds (same
images, same order, same recipe for all sides): a search for each, then the training of
every network from scratch, judged on test images that took no part.

Sides:
- dnas: this project's search by a measured latency table;
- uniform: the space's table filled with MobileNetV2's block, all widths scaled until
  the *measured* latency is the budget's;
- random: networks of the space whose latency by the table is within 3 % below the
  budget, one seed each.

All networks are measured in turns at the end. Each run's result is stored as it ends; a
stopped script goes on.

Run: python -m benchmarks.dnas_cifar --latency_table=T.json \
    --dataset=tfds:cifar10_jpeg --data_dir=DIR
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from benchmarks import evidence
from benchmarks.classification_jobs import protocol, run_training
from benchmarks.dnas_jobs import (
    measured_ms,
    random_genotype,
    run_dnas,
    uniform_of_latency,
)
from benchmarks.jobs import Job, is_job, results_folder, run_jobs, seeds, workdir
from benchmarks.paired import paired_difference
from mobilenas_tf.block_spaces import named_block_space
from mobilenas_tf.costs.block_costs import block_costs
from mobilenas_tf.costs.latency_table import LatencyTable, read_latency_table
from mobilenas_tf.json_io import architecture_from_plain, read_json, write_json
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.search.config import DnasConfig, OperatorBudgetConfig
from mobilenas_tf.spec import Architecture
from mobilenas_tf.training.config import OptimizerConfig

_TABLE = flags.DEFINE_string("latency_table", None, "Of --space, int8.", required=True)
_MS = flags.DEFINE_list("max_ms", ["0.07", "0.05"], "Budgets in milliseconds.")
_SEARCH_RATE = flags.DEFINE_float(
    "search_learning_rate", 0.2, "Of the supernet's weights, for a batch of 256 images."
)
_RANDOM = flags.DEFINE_integer("num_random", 10, "Random networks of each budget.", 2)
flags.FLAGS.set_default("space", "fbnet_32")

NUM_CLASSES = 10
TOLERANCE = 0.03
SLACK = 0.01

Results = Mapping[str, Any]


def main(_: Sequence[str]) -> None:
    """Runs all jobs, measures all networks, prints the tables and one JSON object."""
    uniform = _uniform_networks()
    results = run_jobs(_jobs(), _work, results_folder())
    latencies = _measured(results)
    rows = [_row(results, latencies, budget) for budget in _budgets()]
    print(format_table(list(rows[0]), rows))
    targets = []
    for row in rows:
        at = f"at {row['max_ms']:g} ms"
        targets += [
            evidence.target(
                f"dnas - uniform in points {at}, lower end (95 %)",
                row["over_uniform_low_95"],
                0.0,
                at_most=False,
            ),
            evidence.target(
                f"dnas - mean of random in points {at}, over their spread",
                row["over_random"] / row["spread_of_random"],
                1.0,
                at_most=False,
            ),
            evidence.target(
                f"latency of dnas / of uniform {at}",
                row["dnas_ms"] / row["uniform_ms"],
                1 + TOLERANCE,
                at_most=True,
            ),
        ]
    evidence.finish(
        figures={
            "rows": rows,
            "latencies_ms": latencies,
            "uniform": uniform,
            "runs": results,
            "total_cpu_seconds": sum(r["cpu_seconds"] for r in results.values()),
        },
        settings=_settings() | {"seeds": len(seeds()), "max_ms": _MS.value},
        targets=targets,
    )


def _row(
    results: Results, latencies: Mapping[str, float], budget: float
) -> dict[str, Any]:
    def accuracies(side: str, count: int) -> list[float]:
        names = [_training(side, budget, index) for index in range(count)]
        return [100 * results[name]["test_accuracy"] for name in names]

    def latency(side: str, count: int) -> float:
        names = [_training(side, budget, index) for index in range(count)]
        return float(np.mean([latencies[name] for name in names]))

    dnas, uniform = (accuracies(side, len(seeds())) for side in ("dnas", "uniform"))
    random = accuracies("random", _RANDOM.value)
    over_uniform = paired_difference(dnas, uniform)
    return {
        "max_ms": budget,
        "dnas_ms": latency("dnas", len(seeds())),
        "uniform_ms": latency("uniform", 1),
        "random_ms": latency("random", _RANDOM.value),
        "dnas": float(np.mean(dnas)),
        "uniform": float(np.mean(uniform)),
        "random": float(np.mean(random)),
        "best_random": max(random),
        "spread_of_random": float(np.std(random, ddof=1)),
        "over_random": float(np.mean(dnas) - np.mean(random)),
        **{f"over_uniform_{key}": value for key, value in over_uniform.items()},
    }


def _budgets() -> list[float]:
    return [float(value) for value in _MS.value]


def _table() -> LatencyTable:
    return read_latency_table(Path(_TABLE.value))


def _config() -> DnasConfig:
    return DnasConfig(space=protocol().space)


def _settings() -> dict[str, Any]:
    return protocol().settings() | {
        "latency_table": dataclasses.asdict(_table().conditions),
        "calibration": dataclasses.asdict(_table().calibration or _table().conditions),
    }


def _uniform_networks() -> dict[str, Any]:
    """Returns the uniform networks by budget, measured before anything else runs."""
    path = workdir() / "uniform.json"
    if not is_job() and not path.exists():
        found = uniform_of_latency(
            protocol().space,
            _budgets(),
            num_classes=NUM_CLASSES,
            precision=_table().conditions.precision,
            slack=SLACK,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {f"{budget:g}": each for budget, each in found.items()})
    return read_json(path)


def _training(side: str, budget: float, index: int) -> str:
    return f"train_{side}_{budget:g}_{index}"


def _jobs() -> list[Job]:
    """Returns all runs, seed by seed."""
    jobs = []
    for index in range(max(len(seeds()), _RANDOM.value)):
        for budget in _budgets():
            settings = {**_settings(), "budget": budget, "index": index}
            search = f"search_{budget:g}_{index}"
            if index < len(seeds()):
                searched = settings | {
                    "search": dataclasses.asdict(_config()),
                    "search_learning_rate": _SEARCH_RATE.value,
                }
                jobs.append(Job(search, {**searched, "side": "search"}))
            for side in ("dnas", "uniform", "random"):
                if index < (_RANDOM.value if side == "random" else len(seeds())):
                    needs = (search,) if side == "dnas" else ()
                    name = _training(side, budget, index)
                    jobs.append(Job(name, {**settings, "side": side}, needs))
    return jobs


def _work(job: Job, needed: Results) -> dict[str, Any]:
    side, budget, index = (job.settings[key] for key in ("side", "budget", "index"))
    folder = workdir() / job.name
    space = named_block_space(protocol().space, num_classes=NUM_CLASSES)
    if side == "search":
        return run_dnas(
            protocol(),
            space,
            _config(),
            OperatorBudgetConfig(max_ms=budget),
            _table(),
            optimizer=OptimizerConfig(learning_rate=_SEARCH_RATE.value),
            seed=index,
            folder=folder,
        )
    architecture = _architecture(side, budget, index, needed)
    seed = index % len(seeds())
    return run_training(protocol(), architecture, seed=seed, folder=folder)


def _architecture(
    side: str, budget: float, index: int, searches: Results
) -> Architecture:
    space = named_block_space(protocol().space, num_classes=NUM_CLASSES)
    if side == "random":
        genotype = random_genotype(
            space,
            block_costs(space, _table().network_ms),
            budget,
            tolerance=TOLERANCE,
            rng=np.random.default_rng(index),
        )
        return space.resolve(genotype)
    if side == "uniform":
        plain = _uniform_networks()[f"{budget:g}"]["architecture"]
    else:
        (search,) = searches.values()
        plain = search["architecture"]
    return architecture_from_plain(plain, f"the {side} network")


def _measured(results: Results) -> dict[str, float]:
    """Returns the latency of every trained network, measured in turns."""
    names = [job.name for job in _jobs() if job.settings["side"] != "search"]
    jobs = {job.name: job for job in _jobs()}
    architectures = {}
    for name in names:
        job = jobs[name]
        searches = {need: results[need] for need in job.needs}
        side, budget, index = (job.settings[key] for key in ("side", "budget", "index"))
        architectures[name] = _architecture(side, budget, index, searches)
    precision = _table().conditions.precision
    latencies = measured_ms(list(architectures.values()), precision)
    return dict(zip(architectures, latencies, strict=True))


if __name__ == "__main__":
    app.run(main)
