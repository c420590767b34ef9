"""Searched bit widths against the best uniform ones of the same bit operations.

The budget is what the uniform network of --weight_bits and --activation_bits costs in
bit operations. With paired seeds (same images, same order, same recipe for all sides):
a search, then the training of every network from scratch, judged on test images that
took no part.

Sides:
- found: this project's search for the bit widths of every block;
- wXaY: the same blocks, all of one pair of widths, for each pair within the budget;
- random: networks of the space that cost from 3 % below the budget to the budget, one
  a seed.

Each run's result is stored as it ends; a stopped script goes on.

Run: python -m benchmarks.mixed_precision --dataset=tfds:cifar10_jpeg --data_dir=DIR
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import numpy as np
from absl import app, flags

from benchmarks import evidence
from benchmarks.classification_jobs import protocol, run_training
from benchmarks.dnas_jobs import random_genotype, run_dnas
from benchmarks.jobs import Job, results_folder, run_jobs, seeds, workdir
from benchmarks.paired import paired_difference
from mobilenas_tf.block_space import BlockSpace
from mobilenas_tf.block_spaces import named_block_space
from mobilenas_tf.costs.bit_widths import bit_costs, bit_macs
from mobilenas_tf.costs.block_costs import block_costs
from mobilenas_tf.json_io import architecture_from_plain
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.search.config import DnasConfig, OperatorBudgetConfig
from mobilenas_tf.spec import Architecture

_WEIGHT_BITS = flags.DEFINE_integer("weight_bits", 4, "Of the budget's network.")
_ACTIVATION_BITS = flags.DEFINE_integer("activation_bits", 4, "As weight_bits.")
_SAMPLING = flags.DEFINE_enum("sampling", "path", ["path", "mixture"], "Of the search.")
flags.FLAGS.set_default("space", "bits_mobilenet_v2_32")

NUM_CLASSES = 10
TOLERANCE = 0.03
# How much worse, in points, the found network may be at the lower end of the interval.
MARGIN = 0.3

Results = Mapping[str, Any]
Sampling = Literal["mixture", "path"]


def main(_: Sequence[str]) -> None:
    """Runs all jobs, prints a table of the sides and one JSON object."""
    results = run_jobs(_jobs(), _work, results_folder())
    accuracies = {
        side: [
            100 * results[f"train_{side}_{seed}"]["test_accuracy"] for seed in seeds()
        ]
        for side in _sides()
    }
    costs = {
        side: [results[f"train_{side}_{seed}"]["bit_macs"] for seed in seeds()]
        for side in _sides()
    }
    rows = [
        {
            "side": side,
            "bit_macs": float(np.mean(costs[side])),
            "accuracy_points": float(np.mean(values)),
            "spread_points": float(np.std(values, ddof=1)),
        }
        for side, values in accuracies.items()
    ]
    print(format_table(list(rows[0]), rows))
    best = max(_uniform(), key=lambda side: np.mean(accuracies[side]))
    over_best, over_random = (
        paired_difference(accuracies["found"], accuracies[side])
        for side in (best, "random")
    )
    evidence.finish(
        figures={
            "rows": rows,
            "best_uniform": best,
            "found_minus_best_uniform": over_best,
            "found_minus_random": over_random,
            "runs": results,
            "total_cpu_seconds": sum(run["cpu_seconds"] for run in results.values()),
        },
        settings=_settings() | {"seeds": len(seeds())},
        targets=[
            evidence.target(
                f"found - {best} in points, lower end (95 %)",
                over_best["low_95"],
                -MARGIN,
                at_most=False,
            ),
            evidence.target(
                "bit operations of found / of the budget, largest",
                max(costs["found"]) / _budget(),
                1.0,
                at_most=True,
            ),
        ],
    )


def _space() -> BlockSpace:
    return named_block_space(protocol().space, num_classes=NUM_CLASSES)


def _uniform() -> dict[str, Architecture]:
    """Returns the networks of one pair of widths within the budget."""
    space = _space()
    labels = [candidate.name for candidate in space.places[0].candidates]
    networks = {
        label: space.resolve(dict.fromkeys([p.path for p in space.places], index))
        for index, label in enumerate(labels)
    }
    wanted = f"w{_WEIGHT_BITS.value}a{_ACTIVATION_BITS.value}"
    if wanted not in networks:
        raise ValueError(
            f"weight_bits and activation_bits must be one of {', '.join(networks)}. "
            f"Received: {wanted}"
        )
    budget = bit_macs(networks[wanted])
    return {
        label: network
        for label, network in networks.items()
        if bit_macs(network) <= budget
    }


def _budget() -> float:
    return float(
        bit_macs(_uniform()[f"w{_WEIGHT_BITS.value}a{_ACTIVATION_BITS.value}"])
    )


def _sides() -> list[str]:
    return ["found", *_uniform(), "random"]


def _config() -> DnasConfig:
    sampling = cast(Sampling, _SAMPLING.value)
    return DnasConfig(space=protocol().space, sampling=sampling)


def _settings() -> dict[str, Any]:
    return protocol().settings() | {
        "budget": _budget(),
        "search": dataclasses.asdict(_config()),
    }


def _jobs() -> list[Job]:
    """Returns all runs, seed by seed."""
    jobs = []
    for seed in seeds():
        settings = {**_settings(), "seed": seed}
        search = f"search_{seed}"
        jobs.append(Job(search, {**settings, "side": "search"}))
        for side in _sides():
            needs = (search,) if side == "found" else ()
            jobs.append(Job(f"train_{side}_{seed}", {**settings, "side": side}, needs))
    return jobs


def _work(job: Job, needed: Results) -> dict[str, Any]:
    side, seed = job.settings["side"], job.settings["seed"]
    folder = workdir() / job.name
    if side == "search":
        return run_dnas(
            protocol(),
            _space(),
            _config(),
            OperatorBudgetConfig(max_bit_macs=_budget()),
            None,
            optimizer=protocol().optimizer,
            seed=seed,
            folder=folder,
        )
    architecture = _architecture(side, seed, needed)
    trained = run_training(protocol(), architecture, seed=seed, folder=folder)
    return trained | bit_costs(architecture)


def _architecture(side: str, seed: int, searches: Results) -> Architecture:
    if side == "found":
        (search,) = searches.values()
        return architecture_from_plain(search["architecture"], "the found network")
    if side != "random":
        return _uniform()[side]
    space = _space()
    genotype = random_genotype(
        space,
        block_costs(space, bit_macs),
        _budget(),
        tolerance=TOLERANCE,
        rng=np.random.default_rng(seed),
    )
    return space.resolve(genotype)


if __name__ == "__main__":
    app.run(main)
