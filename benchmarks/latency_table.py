"""Calibrated sums of measured blocks against the latency of whole networks.

For each precision every block of the space is measured, then random networks: some
calibrate, others, which took no part, judge. Beside the table two plain predictors are
fitted to the same networks: multiply-adds, and the sum of single operators (a
convolution with its activation, a sum, a shuffle), each measured alone. In a space of
widths the table itself has operators, at some widths only, with lines between them; it
is then compared with multiply-adds alone.

Run: python -m benchmarks.latency_table
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from absl import app, flags

from benchmarks import evidence
from mobilenas_tf.block_spaces import TABLES as BLOCK_TABLES
from mobilenas_tf.costs.latency_fit import linear_fit, prediction_error
from mobilenas_tf.costs.latency_parts import Part
from mobilenas_tf.costs.measured_space import measured_space
from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.costs.width_latency import operator_parts, operator_sum_ms
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.spec import Architecture

_SPACE = flags.DEFINE_string("space", "fbnet_32", "A space of operators or of widths.")
_PRECISIONS = flags.DEFINE_multi_enum(
    "precision", ["int8", "float32"], ["int8", "float32"], "Of the files."
)
_CALIBRATION = flags.DEFINE_integer("num_calibration", 20, "Networks of the fits.")
_HELD_OUT = flags.DEFINE_integer("num_held_out", 30, "Networks that judge.")
_REPEATS = flags.DEFINE_integer("repeats", 10, "Interleaved repeats.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the networks.")

NUM_CLASSES = 10
MAX_MAPE, MIN_SPEARMAN, MAX_SHARE = 0.05, 0.95, 0.5
TABLE, MACS, OPERATORS = "table", "multiply-adds", "sum of operators"


def main(_: Sequence[str]) -> None:
    """Measures, fits, prints the table and one JSON object."""
    rows = [row for precision in _PRECISIONS.value for row in _compare(precision)]
    print(format_table(list(rows[0]), rows))
    targets = []
    for precision in _PRECISIONS.value:
        ours, *others = (row for row in rows if row["precision"] == precision)
        name = f"{precision}: {TABLE}"
        targets += [
            evidence.target(
                f"{name}, mean error", ours["mape"], MAX_MAPE, at_most=True
            ),
            evidence.target(
                f"{name}, rank correlation",
                ours["spearman"],
                MIN_SPEARMAN,
                at_most=False,
            ),
            *(
                evidence.target(
                    f"{name}, error over that of {other['predictor']}",
                    ours["mape"] / other["mape"],
                    MAX_SHARE,
                    at_most=True,
                )
                for other in others
            ),
        ]
    evidence.finish(
        figures={"rows": rows},
        settings={
            name: flags.FLAGS[name].value
            for name in (
                *("space", "precision", "num_calibration", "num_held_out", "repeats"),
                "seed",
            )
        },
        targets=targets,
    )


def _compare(precision: Any) -> Iterator[dict[str, Any]]:
    import numpy as np

    from export.config import BenchmarkConfig, DeviceConfig
    from export.latency_builder import measure_missing, measure_networks, probe
    from mobilenas_tf.costs.latency_table import LatencyTable

    parts_config = BenchmarkConfig(runs=100, repeats=_REPEATS.value, memory=False)
    config = dataclasses.replace(parts_config, runs=50)
    here = DeviceConfig()
    space = measured_space(_SPACE.value, num_classes=NUM_CLASSES)
    rng = np.random.default_rng(_SEED.value)
    count = _CALIBRATION.value + _HELD_OUT.value
    sampled = [space.sample(rng) for _ in range(count)]
    networks = [network.architecture for network in sampled]
    conditions, _ = probe(precision, parts_config, here)
    empty = LatencyTable(space.name, conditions, {})
    *_, table = measure_missing(empty, space.parts, parts_config, here)
    measured = [
        result.median_ms
        for result in measure_networks(networks, precision, config, here)
    ]
    predictors = {
        TABLE: [network.predict(table) for network in sampled],
        MACS: [float(network_cost(network).macs) for network in networks],
    }
    if _SPACE.value in BLOCK_TABLES:
        of_networks = _operator_parts(networks)
        *_, operators = measure_missing(empty, of_networks, parts_config, here)
        predictors[OPERATORS] = [operator_sum_ms(each, operators) for each in networks]
    fitted, judged = slice(_CALIBRATION.value), slice(_CALIBRATION.value, None)
    for name, values in predictors.items():
        scale, offset = linear_fit(values[fitted], measured[fitted])
        predicted = [scale * value + offset for value in values[judged]]
        error = prediction_error(predicted, measured[judged])
        yield {
            "precision": precision,
            "predictor": name,
            **dataclasses.asdict(error),
            "fastest_ms": min(measured),
            "slowest_ms": max(measured),
        }


def _operator_parts(networks: Sequence[Architecture]) -> dict[str, Part]:
    """Returns every operator of the networks, each once."""
    parts = [part for network in networks for part in operator_parts(network)]
    return {part.key: part for part in parts}


if __name__ == "__main__":
    app.run(main)
