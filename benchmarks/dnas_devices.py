"""Do networks searched for one device, or input size, win there and lose elsewhere?

DNAS searches `fbnet_32` three times with the same seeds and recipe: for its int8
latency at 32 px, for its float latency at 32 px, and for its int8 latency at 24 px. The
budgets are alike: what random networks of the first budget take under the other
conditions, in the median. Every network is trained at every size and measured under
every condition.

Run: python -m benchmarks.dnas_devices --dataset=tfds:cifar10_jpeg --data_dir=DIR
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
from absl import app, flags

from benchmarks import evidence
from benchmarks.classification_jobs import protocol, run_training
from benchmarks.dnas_jobs import measured_ms, random_genotype, run_dnas
from benchmarks.jobs import Job, is_job, results_folder, run_jobs, seeds, workdir
from benchmarks.paired import paired_difference
from mobilenas_tf.block_space import BlockSpace
from mobilenas_tf.block_spaces import named_block_space
from mobilenas_tf.costs.block_costs import block_costs
from mobilenas_tf.costs.latency_fit import fit_calibration
from mobilenas_tf.costs.latency_parts import space_parts
from mobilenas_tf.costs.latency_table import (
    LatencyTable,
    Precision,
    read_latency_table,
    write_latency_table,
)
from mobilenas_tf.json_io import architecture_from_plain
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.search.config import DnasConfig, OperatorBudgetConfig
from mobilenas_tf.spec import Architecture
from mobilenas_tf.training.config import OptimizerConfig

_MS = flags.DEFINE_float("max_ms", 0.07, "Budget under the first condition.")
_SEARCH_RATE = flags.DEFINE_float(
    "search_learning_rate", 0.2, "Of the supernet's weights, for a batch of 256 images."
)
flags.FLAGS.set_default("space", "fbnet_32")
flags.FLAGS.set_default("seeds", 3)

NUM_CLASSES = 10
TYPICAL = 25  # random networks that tell what a budget is under another condition
CALIBRATION = 20
TOLERANCE = 0.03
PRICED = 500  # random networks that compare the tables


@dataclasses.dataclass(frozen=True)
class Condition:
    """What a network is searched for, and measured under: one thread of this host."""

    precision: Precision
    image_size_px: int

    def __str__(self) -> str:
        return f"{self.precision}_{self.image_size_px}px"


HOME = Condition("int8", 32)
CONDITIONS = (HOME, Condition("float32", 32), Condition("int8", 24))

Results = Mapping[str, Any]


def main(_: Sequence[str]) -> None:
    """Runs all jobs, measures all networks, prints the tables and one JSON object."""
    if not is_job():
        for condition in CONDITIONS:
            _measure_table(condition)
    results = run_jobs(_jobs(), _work, results_folder())
    latencies = {condition: _measured(results, condition) for condition in CONDITIONS}
    rows = [
        _row(results, latencies[at], of, at) for at in CONDITIONS for of in CONDITIONS
    ]
    print(format_table(list(rows[0]), rows))
    comparisons = [
        _compare(results, latencies[home], home, other)
        for home in CONDITIONS
        for other in CONDITIONS
        if home != other
    ]
    print(format_table(list(comparisons[0]), comparisons))
    prices = _price_rows()
    print(format_table(list(prices[0]), prices))
    evidence.finish(
        figures={
            "rows": rows,
            "comparisons": comparisons,
            "prices": prices,
            "budgets_ms": {
                str(condition): _budget(condition) for condition in CONDITIONS
            },
            "runs": results,
        },
        settings=_settings() | {"seeds": len(seeds())},
        targets=[
            evidence.target(
                f"network searched for {row['home']} at home: latency over that of "
                f"the one searched for {row['other']}",
                row["latency_ratio"],
                1.0,
                at_most=True,
            )
            for row in comparisons
        ],
    )


def _row(
    results: Results, latencies: Mapping[str, float], of: Condition, at: Condition
) -> dict[str, Any]:
    return {
        "measured under": str(at),
        "searched for": str(of),
        "budget_ms": _budget(at),
        "latency_ms": float(np.mean([latencies[_search(of, s)] for s in seeds()])),
        "accuracy": float(np.mean(_accuracies(results, of, at))),
    }


def _compare(
    results: Results, latencies: Mapping[str, float], home: Condition, other: Condition
) -> dict[str, Any]:
    """Returns how a network does at home against one searched for elsewhere."""
    ratios = [
        latencies[_search(home, s)] / latencies[_search(other, s)] for s in seeds()
    ]
    return {
        "home": str(home),
        "other": str(other),
        "latency_ratio": float(np.mean(ratios)),
        **paired_difference(
            _accuracies(results, home, home), _accuracies(results, other, home)
        ),
    }


def _price_rows() -> list[dict[str, Any]]:
    """Returns how alike the conditions' tables price random networks.

    Where the ranks agree there is little that a search for one could do better.
    """
    rng = np.random.default_rng(0)
    genotypes = [_space(HOME).sample(rng) for _ in range(PRICED)]
    prices = {}
    for condition in CONDITIONS:
        costs = block_costs(_space(condition), _table(condition).network_ms)
        prices[condition] = np.array([costs.of(each) for each in genotypes])
    rows = []
    for one, other in itertools.combinations(CONDITIONS, 2):
        low, high = np.quantile(prices[other] / prices[one], [0.1, 0.9])
        spearman = scipy.stats.spearmanr(prices[one], prices[other])
        rows.append(
            {
                "prices under": str(one),
                "and": str(other),
                "rank_correlation": float(np.asarray(spearman)[0]),
                "ratio_10": float(low),
                "ratio_90": float(high),
            }
        )
    return rows


def _accuracies(results: Results, of: Condition, at: Condition) -> list[float]:
    return [
        100 * results[_training(of, at.image_size_px, seed)]["test_accuracy"]
        for seed in seeds()
    ]


def _space(condition: Condition) -> BlockSpace:
    space = named_block_space(protocol().space, num_classes=NUM_CLASSES)
    return dataclasses.replace(space, image_size_px=condition.image_size_px)


def _table_path(condition: Condition) -> Path:
    return workdir() / f"{condition}.json"


def _table(condition: Condition) -> LatencyTable:
    return read_latency_table(_table_path(condition))


def _measure_table(condition: Condition) -> None:
    """Measures and calibrates a condition's table, unless that was done before."""
    path = _table_path(condition)
    if path.exists():
        return
    from export.config import BenchmarkConfig, DeviceConfig
    from export.latency_builder import measure_missing, probe

    config, here = BenchmarkConfig(runs=100, memory=False), DeviceConfig()
    space = _space(condition)
    conditions, _ = probe(condition.precision, config, here)
    empty = LatencyTable(space.name, conditions, {})
    *_, table = measure_missing(empty, space_parts(space), config, here)
    rng = np.random.default_rng(0)
    networks = [space.resolve(space.sample(rng)) for _ in range(CALIBRATION)]
    calibration = fit_calibration(
        [table.sum_ms(network) for network in networks],
        measured_ms(networks, condition.precision),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_latency_table(path, dataclasses.replace(table, calibration=calibration))


def _budget(condition: Condition) -> float:
    """Returns what typical networks of the first budget take under a condition."""
    if condition == HOME:
        return _MS.value
    home = block_costs(_space(HOME), _table(HOME).network_ms)
    here = block_costs(_space(condition), _table(condition).network_ms)
    typical = [
        here.of(
            random_genotype(
                _space(HOME),
                home,
                _MS.value,
                tolerance=TOLERANCE,
                rng=np.random.default_rng(seed),
            )
        )
        for seed in range(TYPICAL)
    ]
    return float(np.median(typical))


def _settings() -> dict[str, Any]:
    return protocol().settings() | {
        "max_ms": _MS.value,
        "search": dataclasses.asdict(DnasConfig(space=protocol().space)),
        "search_learning_rate": _SEARCH_RATE.value,
    }


def _search(condition: Condition, seed: int) -> str:
    return f"search_{condition}_{seed}"


def _training(condition: Condition, image_size_px: int, seed: int) -> str:
    return f"train_{condition}_at_{image_size_px}px_{seed}"


def _jobs() -> list[Job]:
    """Returns all runs, seed by seed."""
    jobs = []
    sizes = sorted({condition.image_size_px for condition in CONDITIONS})
    for seed in seeds():
        for condition in CONDITIONS:
            settings = {
                **_settings(),
                "condition": dataclasses.asdict(condition),
                "seed": seed,
            }
            search = _search(condition, seed)
            jobs.append(Job(search, {**settings, "kind": "search"}))
            for size in sizes:
                training = {**settings, "kind": "train", "image_size_px": size}
                jobs.append(Job(_training(condition, size, seed), training, (search,)))
    return jobs


def _work(job: Job, needed: Results) -> dict[str, Any]:
    seed, folder = job.settings["seed"], workdir() / job.name
    condition = Condition(**job.settings["condition"])
    if job.settings["kind"] == "search":
        return run_dnas(
            protocol(),
            _space(condition),
            DnasConfig(space=protocol().space),
            OperatorBudgetConfig(max_ms=_budget(condition)),
            _table(condition),
            optimizer=OptimizerConfig(learning_rate=_SEARCH_RATE.value),
            seed=seed,
            folder=folder,
        )
    (search,) = needed.values()
    network = _at_size(search, job.settings["image_size_px"])
    return run_training(protocol(), network, seed=seed, folder=folder)


def _at_size(search: Results, image_size_px: int) -> Architecture:
    architecture = architecture_from_plain(search["architecture"], "the found network")
    return dataclasses.replace(architecture, image_size_px=image_size_px)


def _measured(results: Results, condition: Condition) -> dict[str, float]:
    """Returns the latency of every found network under a condition, by its search."""
    names = [_search(each, seed) for each in CONDITIONS for seed in seeds()]
    networks = [_at_size(results[name], condition.image_size_px) for name in names]
    latencies = measured_ms(networks, condition.precision)
    return dict(zip(names, latencies, strict=True))


if __name__ == "__main__":
    app.run(main)
