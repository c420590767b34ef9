"""What comparisons of DNAS are made of: a search, plain networks of equal latency.

The baselines are chosen by their *measured* latency, on a machine that does nothing
else meanwhile.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.optimize

from benchmarks.classification_jobs import Protocol
from benchmarks.jobs import one_thread
from mobilenas_tf.block_space import BlockGenotype, BlockSpace
from mobilenas_tf.block_spaces import TABLES
from mobilenas_tf.costs.block_costs import BlockCosts
from mobilenas_tf.costs.latency_table import LatencyTable, Precision
from mobilenas_tf.json_io import read_json, to_plain
from mobilenas_tf.names import lookup
from mobilenas_tf.search.config import DnasConfig, OperatorBudgetConfig
from mobilenas_tf.spec import (
    Architecture,
    Branch,
    Convolution,
    Head,
    InvertedResidual,
    Stage,
    round_channels,
)
from mobilenas_tf.training.config import (
    AugmentationConfig,
    OptimizerConfig,
    TrainingConfig,
)

EXPANSION = 6.0
_DRAWS = 100_000


def run_dnas(
    shared: Protocol,
    space: BlockSpace,
    config: DnasConfig,
    budget: OperatorBudgetConfig,
    table: LatencyTable | None,
    *,
    optimizer: OptimizerConfig,
    seed: int,
    folder: Path,
) -> dict[str, Any]:
    """Searches in an empty folder; returns seconds and the found network."""
    one_thread()
    from mobilenas_tf.search.dnas import SearchData, operator_budget, search_dnas
    from mobilenas_tf.training.classification import classification_task
    from mobilenas_tf.training.data import load_divided_data
    from mobilenas_tf.training.run_dir import open_run_dir

    data = SearchData(
        *load_divided_data(
            shared.data_config(seed, space.image_size_px),
            AugmentationConfig(),
            share=config.architecture_share,
        )
    )
    training = TrainingConfig(epochs=shared.search_epochs, dropout_rate=0.0, seed=seed)
    shutil.rmtree(folder, ignore_errors=True)
    run = open_run_dir(folder, config={"search": config, "budget": budget}, command=[])
    started, cpu_started = time.monotonic(), time.process_time()
    found = search_dnas(
        space,
        classification_task(data.weights, label_smoothing=training.label_smoothing),
        data,
        run,
        config=config,
        budget=operator_budget(space, budget, table),
        optimizer=optimizer,
        training=training,
    )
    seconds = time.monotonic() - started, time.process_time() - cpu_started
    rows = run.read_metrics()
    return {
        "seconds": seconds[0],
        "cpu_seconds": seconds[1],
        "architecture": to_plain(found.architecture),
        "genotype": found.genotype,
        "cost": found.cost,
        "operators": read_json(folder / "operators.json")["found"],
        "expected_cost": [row["expected_cost"] for row in rows],
        "choice_entropy": [row["choice_entropy"] for row in rows],
    }


def random_genotype(
    space: BlockSpace,
    costs: BlockCosts,
    budget: float,
    *,
    tolerance: float,
    rng: np.random.Generator,
) -> BlockGenotype:
    """Returns a random network that costs from `budget * (1 - tolerance)` to `budget`.

    Candidates are drawn with probabilities `~ exp(-strength * cost)`, one strength for
    all places, by which the expected cost is the wanted one; networks of equal cost are
    then about equally likely.

    Raises:
        ValueError: If none was found in 100,000 draws.
    """

    def chances(strength: float) -> dict[str, np.ndarray]:
        tilted = {
            path: np.exp(-strength * (each - each.min()) / budget)
            for path, each in costs.candidates.items()
        }
        return {path: each / each.sum() for path, each in tilted.items()}

    wanted = budget * (1 - tolerance / 2)
    strength: Any = scipy.optimize.brentq(
        lambda strength: costs.expected(chances(strength)) - wanted, -200, 200
    )
    p = chances(float(strength))
    for _ in range(_DRAWS):
        genotype = {
            place.path: int(rng.choice(len(place.candidates), p=p[place.path]))
            for place in space.places
        }
        if budget * (1 - tolerance) <= costs.of(genotype) <= budget:
            return genotype
    raise ValueError(
        f"a random network within {tolerance:.0%} below {budget:.4g} must be found in "
        f"{_DRAWS} draws. Found none"
    )


def uniform_network(
    space: str, *, num_classes: int, multiplier: float, expansion: float = EXPANSION
) -> Architecture:
    """Returns a space's table filled with MobileNetV2's block, all widths scaled.

    3x3 kernels and one expansion throughout; the first row has none, as MobileNetV2's.
    """
    table = lookup("space", space, TABLES)()
    stem = channels = round_channels(table.stem_channels * multiplier)
    stages = []
    for number, row in enumerate(table.rows):
        out_channels = round_channels(row.out_channels * multiplier)
        blocks = []
        for index in range(row.depth):
            width = round_channels(channels * (expansion if number else 1))
            stride = row.stride if index == 0 else 1
            blocks.append(
                InvertedResidual(
                    out_channels=out_channels,
                    branches=(Branch(3, width),),
                    stride=stride,
                    has_expansion=width != channels,
                    has_residual=stride == 1 and channels == out_channels,
                    activation="relu",
                )
            )
            channels = out_channels
        stages.append(Stage(tuple(blocks)))
    head = round_channels(table.head_channels * multiplier)
    return Architecture(
        name=f"{space}_uniform",
        image_size_px=table.image_size_px,
        stem=Convolution(stem, 3, 2, "relu"),
        stages=tuple(stages),
        head=Head(num_classes, conv_channels=head, activation="relu"),
    )


def uniform_of_latency(
    space: str,
    budgets_ms: Sequence[float],
    *,
    num_classes: int,
    precision: Precision,
    slack: float,
) -> dict[float, dict[str, Any]]:
    """Returns the widest uniform network of each budget, by measured latency.

    The largest multiplier within the budget, then the largest expansion, as multipliers
    have coarse steps.

    Args:
        space: See `uniform_network`.
        budgets_ms: Of measured latency.
        num_classes: Of the head.
        precision: Of the files.
        slack: Share by which a network may be above the budget.
    """
    multipliers = _distinct(
        lambda factor: uniform_network(
            space, num_classes=num_classes, multiplier=factor
        ),
        np.arange(0.25, 1.2, 0.02),
    )
    latencies = measured_ms(list(multipliers.values()), precision)
    found = {}
    for budget in budgets_ms:
        multiplier = max(
            factor
            for factor, latency in zip(multipliers, latencies, strict=True)
            if latency <= budget * (1 + slack)
        )
        wider = _distinct(
            lambda factor, multiplier=multiplier: uniform_network(
                space,
                num_classes=num_classes,
                multiplier=multiplier,
                expansion=factor,
            ),
            np.arange(EXPANSION, 1.5 * EXPANSION, 0.2),
        )
        of_wider = measured_ms(list(wider.values()), precision)
        expansion, latency = max(
            (factor, latency)
            for factor, latency in zip(wider, of_wider, strict=True)
            if latency <= budget * (1 + slack) or factor == EXPANSION
        )
        found[budget] = {
            "multiplier": multiplier,
            "expansion": expansion,
            "measured_ms": latency,
            "architecture": to_plain(wider[expansion]),
        }
    return found


def _distinct(make: Any, factors: np.ndarray) -> dict[float, Architecture]:
    """Returns the networks by the first factor that gives each."""
    networks: dict[float, Architecture] = {}
    for factor in factors:
        network = make(float(factor))
        if network not in networks.values():
            networks[round(float(factor), 3)] = network
    return networks


def measured_ms(networks: Sequence[Architecture], precision: Precision) -> list[float]:
    """Returns the median latencies, measured in turns on one thread."""
    from export.config import BenchmarkConfig, DeviceConfig
    from export.latency_builder import measure_networks

    config = BenchmarkConfig(runs=50, repeats=10, memory=False)
    return [
        result.median_ms
        for result in measure_networks(networks, precision, config, DeviceConfig())
    ]
