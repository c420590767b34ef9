"""Calibrated sums of measured blocks against the latency of whole networks.

For each precision every block of the space is measured, then random networks: some
calibrate, others, which took no part, judge. Beside the table two plain predictors are
fitted to the same networks: multiply-adds, and the sum of single operators (a
convolution with its activation, a sum, a shuffle), each measured alone.

Run: python -m benchmarks.latency_table
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from absl import app, flags

from benchmarks import evidence
from mobilenas_tf.block_spaces import named_block_space
from mobilenas_tf.costs.latency_fit import linear_fit, prediction_error
from mobilenas_tf.costs.latency_table import Part, network_parts, space_parts
from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.spec import Architecture, Convolution, Head, InvertedResidual

_SPACE = flags.DEFINE_string("space", "fbnet_32", "A space of operators.")
_PRECISIONS = flags.DEFINE_multi_enum(
    "precision", ["int8", "float32"], ["int8", "float32"], "Of the files."
)
_CALIBRATION = flags.DEFINE_integer("num_calibration", 20, "Networks of the fits.")
_HELD_OUT = flags.DEFINE_integer("num_held_out", 30, "Networks that judge.")
_REPEATS = flags.DEFINE_integer("repeats", 10, "Interleaved repeats.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the networks.")

NUM_CLASSES = 10
MAX_MAPE, MIN_SPEARMAN, MAX_SHARE = 0.05, 0.95, 0.5
TABLE, MACS, OPERATORS = "sum of blocks", "multiply-adds", "sum of operators"


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
    space = named_block_space(_SPACE.value, num_classes=NUM_CLASSES)
    rng = np.random.default_rng(_SEED.value)
    count = _CALIBRATION.value + _HELD_OUT.value
    networks = [space.resolve(space.sample(rng)) for _ in range(count)]
    conditions, _ = probe(precision, parts_config, here)
    empty = LatencyTable(space.name, conditions, {})
    *_, table = measure_missing(empty, space_parts(space), parts_config, here)
    measured = [
        result.median_ms
        for result in measure_networks(networks, precision, config, here)
    ]
    operators_ms = _operators_ms(networks, precision, parts_config, here)
    predictors = {
        TABLE: [table.sum_ms(network) for network in networks],
        MACS: [float(network_cost(network).macs) for network in networks],
        OPERATORS: [
            sum(operators_ms[key] for key, _ in _operators(network))
            for network in networks
        ],
    }
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


def _operators_ms(
    networks: Sequence[Architecture], precision: Any, config: Any, here: Any
) -> dict[str, float]:
    """Returns the latency of every single operator of the networks, by its key."""
    from export.latency_builder import CHUNK, measure_models

    makers = {key: make for each in networks for key, make in _operators(each)}
    keys = list(makers)
    found = {}
    for start in range(0, len(keys), CHUNK):
        chunk = keys[start : start + CHUNK]
        models = [makers[key]() for key in chunk]
        results = measure_models(models, precision, config, here)
        found |= {
            key: result.median_ms for key, result in zip(chunk, results, strict=True)
        }
    return found


def _operators(architecture: Architecture) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yields key and maker of every operator of a network, fused as LiteRT fuses."""
    for part in network_parts(architecture):
        yield from _operators_of(part)


def _operators_of(part: Part) -> Iterator[tuple[str, Callable[[], Any]]]:
    layer, channels, size = part.layer, part.in_channels, part.in_size_px
    if isinstance(layer, Head):
        yield _convolution(channels, size, layer.conv_channels or 0, 1, 1, 1, True)
        yield _tail(layer.conv_channels or 0, size, layer.num_classes)
    elif isinstance(layer, Convolution):
        yield _convolution(
            channels, size, layer.out_channels, layer.kernel_size, layer.stride, 1, True
        )
    elif isinstance(layer, InvertedResidual):
        (branch,) = layer.branches
        if layer.has_expansion:
            yield _convolution(channels, size, branch.channels, 1, 1, 1, True)
        if layer.has_shuffle:
            yield _shuffle(branch.channels, size)
        yield _depthwise(branch.channels, size, branch.kernel_size, layer.stride)
        size = -(-size // layer.stride)
        groups = layer.projection_groups
        yield _convolution(
            branch.channels, size, layer.out_channels, 1, 1, groups, False
        )
        if layer.has_residual:
            yield _sum(layer.out_channels, size)


def _convolution(
    channels: int,
    size: int,
    out: int,
    kernel: int,
    stride: int,
    groups: int,
    relu: bool,
) -> tuple[str, Callable[[], Any]]:
    def make() -> Any:
        import keras

        x = keras.Input((size, size, channels))
        activation = "relu" if relu else None
        layer = keras.layers.Conv2D(
            out, kernel, stride, "same", groups=groups, activation=activation
        )
        return keras.Model(x, layer(x))

    return f"conv {channels} {size} {out} {kernel} {stride} {groups} {relu}", make


def _depthwise(
    channels: int, size: int, kernel: int, stride: int
) -> tuple[str, Callable[[], Any]]:
    def make() -> Any:
        import keras

        x = keras.Input((size, size, channels))
        layer = keras.layers.DepthwiseConv2D(kernel, stride, "same", activation="relu")
        return keras.Model(x, layer(x))

    return f"depthwise {channels} {size} {kernel} {stride}", make


def _shuffle(channels: int, size: int) -> tuple[str, Callable[[], Any]]:
    def make() -> Any:
        import keras

        from mobilenas_tf.layers.activations import ChannelShuffle

        x = keras.Input((size, size, channels))
        return keras.Model(x, ChannelShuffle(2)(x))

    return f"shuffle {channels} {size}", make


def _sum(channels: int, size: int) -> tuple[str, Callable[[], Any]]:
    def make() -> Any:
        import keras

        x = keras.Input((size, size, channels))
        return keras.Model(x, keras.layers.Add()([x, x]))

    return f"sum {channels} {size}", make


def _tail(channels: int, size: int, classes: int) -> tuple[str, Callable[[], Any]]:
    def make() -> Any:
        import keras

        x = keras.Input((size, size, channels))
        pooled = keras.layers.GlobalAveragePooling2D()(x)
        return keras.Model(x, keras.layers.Dense(classes)(pooled))

    return f"tail {channels} {size} {classes}", make


if __name__ == "__main__":
    app.run(main)
