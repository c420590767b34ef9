"""Tables in which an operator takes as many nanoseconds as it has multiply-adds."""

from __future__ import annotations

from collections.abc import Mapping

from mobilenas_tf.costs.latency_parts import Depthwise, Part, Pointwise, Rearrangement
from mobilenas_tf.costs.latency_table import (
    CALL,
    Conditions,
    LatencyEntry,
    LatencyTable,
)
from mobilenas_tf.spec import Convolution, Head, Pooling, SqueezeExcite

CALL_MS = 0.5
CONDITIONS = Conditions("phone", "LiteRT 2.3.0", "int8", 1)


def table_of_macs(parts: Mapping[str, Part]) -> LatencyTable:
    """Returns a table whose parts take `1e-6 * macs` ms above the call."""
    entries = {
        key: LatencyEntry(CALL_MS + 1e-6 * part_macs(part), 0.0, 10)
        for key, part in parts.items()
    }
    entries[CALL] = LatencyEntry(CALL_MS, 0.0, 10)
    return LatencyTable("made_up", CONDITIONS, entries)


def part_macs(part: Part) -> int:
    """Returns the multiply-adds of an operator, by the formulas of its kind."""
    layer, channels, size = part.layer, part.in_channels, part.in_size_px
    if isinstance(layer, Pointwise):
        return channels * layer.out_channels * size**2 // layer.groups
    if isinstance(layer, Depthwise):
        return layer.kernel_size**2 * channels * (-(-size // layer.stride)) ** 2
    if isinstance(layer, Convolution):
        positions = (-(-size // layer.stride)) ** 2
        return layer.kernel_size**2 * channels * layer.out_channels * positions
    if isinstance(layer, SqueezeExcite):
        return 2 * channels * layer.hidden_channels
    if isinstance(layer, Head):
        hidden = layer.hidden_channels
        if hidden is None:
            return channels * layer.num_classes
        return hidden * (channels + layer.num_classes)
    assert isinstance(layer, Rearrangement | Pooling)
    return 0
