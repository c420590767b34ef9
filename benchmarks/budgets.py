"""Budgets are met, and derivation is exact, over pairs of space and budget.

Each row is a whole (short) FiGS search on the embedded digits. A budget counts as met
if the derived network costs from 97 to 100 % of it. The masked supernet with hardened
gates and the compact network with its weights are compared on the test images. The
baseline rounds one width multiplier of the same supernet to the divisor, as a user
without a search would.

Run: python -m benchmarks.budgets
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from benchmarks import evidence
from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.models.derive import harden
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.search.config import BudgetConfig, FigsConfig
from mobilenas_tf.search.figs import search_figs
from mobilenas_tf.search.width_budget import width_budget
from mobilenas_tf.space import SearchSpace
from mobilenas_tf.spaces import named_space
from mobilenas_tf.training.classification import classification_task
from mobilenas_tf.training.config import (
    AugmentationConfig,
    DataConfig,
    OptimizerConfig,
    TrainingConfig,
)
from mobilenas_tf.training.data import load_classification_data
from mobilenas_tf.training.run_dir import open_run_dir
from mobilenas_tf.widths import width_groups

_EPOCHS = flags.DEFINE_integer("epochs", 12, "Epochs of each search.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of data and search.")

LOWEST_SHARE = 0.97
COLUMNS = (
    "space",
    "gate",
    "divisor",
    "metric",
    "budget_share",
    "cost_over_budget",
    "baseline_over_budget",
    "width_scale",
    "max_difference",
    "seconds",
)


@dataclasses.dataclass(frozen=True)
class Pair:
    """A space with a budget, as a share of the supernet's cost."""

    space: str
    metric: str
    share: float
    gate: Any = "logistic_sigmoid"
    channel_divisor: int = 8


PAIRS = (
    Pair("figs_mobilenet_v2_16", "macs", 0.4),
    Pair("figs_mobilenet_v2_16", "macs", 0.15),
    Pair("figs_mobilenet_v2_16", "params", 0.3, channel_divisor=4),
    Pair("figs_quantized_16", "macs", 0.6, gate="hard_concrete"),
    Pair("figs_quantized_16", "params", 0.25),
    Pair("figs_mobilenet_v3_32", "macs", 0.3),
)


def main(_: list[str]) -> None:
    """Runs every pair and prints the table and one JSON object."""
    rows = [_run(pair) for pair in PAIRS]
    print(format_table(COLUMNS, rows))
    shares = [row["cost_over_budget"] for row in rows]
    baselines = [row["baseline_over_budget"] for row in rows]
    evidence.finish(
        figures=rows,
        settings={"epochs": _EPOCHS.value, "seed": _SEED.value, "data": "digits"},
        targets=[
            evidence.target("largest cost / budget", max(shares), 1.0, at_most=True),
            evidence.target(
                "smallest cost / budget",
                min(shares),
                LOWEST_SHARE,
                at_most=False,
                baseline=min(baselines),
            ),
            evidence.target(
                "largest difference of masked and derived logits",
                max(row["max_difference"] for row in rows),
                1e-5,
                at_most=True,
            ),
        ],
    )


def _run(pair: Pair) -> dict[str, Any]:
    started = time.monotonic()
    config = FigsConfig(
        space=pair.space, gate=pair.gate, channel_divisor=pair.channel_divisor
    )
    space = named_space(
        pair.space, num_classes=10, channel_divisor=pair.channel_divisor
    )
    data = load_classification_data(
        DataConfig(
            image_size_px=space.supernet.image_size_px, batch_size=64, seed=_SEED.value
        ),
        AugmentationConfig(),
    )
    whole = getattr(network_cost(space.supernet), pair.metric)
    budget = BudgetConfig(**{f"max_{pair.metric}": (pair.share * whole,)})
    training = TrainingConfig(epochs=_EPOCHS.value, seed=_SEED.value)
    with tempfile.TemporaryDirectory() as folder:
        run = open_run_dir(Path(folder) / "run", config={}, command=["budgets"])
        result = search_figs(
            space,
            classification_task(data, label_smoothing=training.label_smoothing),
            data,
            run,
            config=config,
            budget=width_budget(space, budget),
            optimizer=OptimizerConfig(learning_rate=0.8),
            training=training,
        )
    harden(result.supernet, result.selection)
    difference = max(
        float(
            np.abs(
                np.asarray(result.supernet.model(images, training=False))
                - np.asarray(result.network(images, training=False))
            ).max()
        )
        for images, _ in data.test()
    )
    return {
        "space": pair.space,
        "gate": pair.gate,
        "divisor": pair.channel_divisor,
        "metric": pair.metric,
        "budget_share": pair.share,
        "cost_over_budget": getattr(result.cost, pair.metric) / budget.budgets[0],
        "baseline_over_budget": _multiplier_cost(space, budget) / budget.budgets[0],
        "width_scale": result.selection.width_scale,
        "max_difference": difference,
        "seconds": time.monotonic() - started,
    }


def _multiplier_cost(space: SearchSpace, budget: BudgetConfig) -> float:
    """Returns the cost of the widest rounded multiple of the supernet in the budget."""
    best = 0.0
    for multiplier in np.linspace(0.01, 1.0, 100):
        genotype = {
            group.path: min(
                group.channels,
                max(
                    space.channel_divisor, _nearest(group.channels * multiplier, space)
                ),
            )
            for group in width_groups(space.supernet)
        }
        cost = getattr(network_cost(space.resolve(genotype)), budget.metric)
        if cost <= budget.budgets[0]:
            best = max(best, cost)
    return best


def _nearest(channels: float, space: SearchSpace) -> int:
    return int(round(channels / space.channel_divisor)) * space.channel_divisor


if __name__ == "__main__":
    app.run(main)
