"""Latency as a function of widths: measured operators, and lines between them.

Every operator is measured with 8, 16, 32, 64 ... channels on its open sides. In between
its latency is bilinear in input and output channels, as the work of a 1x1 convolution
is; no channel costs nothing. So the expected latency of gates has a gradient.

Differs: MorphNet's latency (Gordon et al., arXiv:1711.06798, and its code) is computed
from a chip's peak rates; this one is measured on the device.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mobilenas_tf.costs.latency_parts import Part
from mobilenas_tf.costs.latency_table import LatencyTable
from mobilenas_tf.costs.operators import PlacedOperator, Width, placed_operators
from mobilenas_tf.costs.ops import Count
from mobilenas_tf.space import SearchSpace
from mobilenas_tf.spec import Architecture
from mobilenas_tf.widths import width_groups

_FIRST_KNOT = 8


def width_parts(space: SearchSpace) -> dict[str, Part]:
    """Returns every operator to measure for a space of widths, by key, each once."""
    return _parts(_operators(space))


def network_width_parts(architectures: Iterable[Architecture]) -> dict[str, Part]:
    """Returns what to measure for networks whose every width is open, up to theirs."""
    return _parts(
        operator for network in architectures for operator in _all_open(network)
    )


def _parts(operators: Iterable[PlacedOperator]) -> dict[str, Part]:
    parts = [
        operator.part(in_channels, out_channels)
        for operator in operators
        for in_channels, out_channels in _measured_widths(operator)
    ]
    return {part.key: part for part in parts}


def _all_open(architecture: Architecture) -> tuple[PlacedOperator, ...]:
    paths = {group.path for group in width_groups(architecture)}
    return placed_operators(architecture, paths)


def width_latency(
    space: SearchSpace, table: LatencyTable
) -> Callable[[Mapping[str, Count]], Count]:
    """Returns `widths -> ms` for a space, by a table's measurements.

    The function takes channels by width path, ints or scalar tensors, and
    `<block>/presence`, as `network_cost` does; groups that are not named have the
    channels of the supernet.

    Raises:
        ValueError: If the table lacks an operator; the message says how to measure it.
    """
    surfaces = [_surface(operator, table) for operator in _operators(space)]

    def latency_ms(widths: Mapping[str, Count]) -> Count:
        total = table.call_ms
        for surface in surfaces:
            total = total + surface(widths)
        return table.calibrated(total)

    return latency_ms


def network_latency(table: LatencyTable) -> Callable[[Architecture], float]:
    """Returns `network -> ms`, by the operators of a space that the network is in.

    Operators are remembered: a search asks for thousands of networks that share them.
    The function raises a ValueError if the table lacks an operator.
    """
    known: dict[PlacedOperator, float] = {}

    def latency_ms(architecture: Architecture) -> float:
        total = table.call_ms
        for operator in _all_open(architecture):
            if operator not in known:
                known[operator] = float(_surface(operator, table)({}))
            total += known[operator]
        return table.calibrated(total)

    return latency_ms


def operator_parts(architecture: Architecture) -> tuple[Part, ...]:
    """Returns the operators of a fixed network, with just its channels."""
    return tuple(
        placed.part(placed.in_channels, placed.output and placed.output.channels)
        for placed in placed_operators(architecture)
    )


def operator_sum_ms(architecture: Architecture, table: LatencyTable) -> float:
    """Returns the sum of a fixed network's operators and one call, not calibrated."""
    parts = (table.part_ms(part) for part in operator_parts(architecture))
    return sum(parts) + table.call_ms


def knots(channels: int) -> tuple[int, ...]:
    """Returns the measured channel counts up to the first that is `channels` or more.

    They are 8, 16, 32 and so on, whatever the largest width of a space: a narrower
    space has the same.
    """
    counts = [_FIRST_KNOT]
    while counts[-1] < channels:
        counts.append(2 * counts[-1])
    return tuple(counts)


def _operators(space: SearchSpace) -> tuple[PlacedOperator, ...]:
    return placed_operators(space.supernet, {choice.path for choice in space.choices})


def _side_knots(widths: Sequence[Width]) -> tuple[int, ...]:
    channels = sum(width.channels for width in widths)
    return knots(channels) if _is_open(widths) else (channels,)


def _is_open(widths: Collection[Width]) -> bool:
    return any(width.path is not None for width in widths)


def _measured_widths(
    operator: PlacedOperator,
) -> list[tuple[int, int | None]]:
    """Returns the pairs of input and output channels to measure."""
    outputs: tuple[int | None, ...] = (None,)
    if operator.output is not None:
        outputs = _side_knots([operator.output])
    return list(itertools.product(_side_knots(operator.inputs), outputs))


@dataclasses.dataclass(frozen=True)
class _Surface:
    """An operator's latency, `phi(in) C phi(out)^T`, times the presence.

    Attributes:
        operator: Whose it is.
        coefficients: C, `[I, O]`.
        inputs: Of phi for the input channels.
        outputs: Of phi for the output channels.
    """

    operator: PlacedOperator
    coefficients: np.ndarray
    inputs: _Axis
    outputs: _Axis

    def __call__(self, widths: Mapping[str, Count]) -> Any:
        """Returns the latency in ms at these widths."""
        operator = self.operator
        row = self.inputs.features(_sum(operator.inputs, widths))
        outputs = () if operator.output is None else (operator.output,)
        column = self.outputs.features(_sum(outputs, widths))
        latency = ((row @ self.coefficients) * column) @ np.ones(
            (len(self.outputs.weights), 1), np.float32
        )
        presence = operator.presence
        return latency[0, 0] * (1 if presence is None else widths.get(presence, 1))


@dataclasses.dataclass(frozen=True)
class _Axis:
    """Features `phi(w) = |w a - b|`, `[1, N]`, of piecewise linear functions of w.

    With knots `0 = k_0 < k_1 < ... < k_n` they are 1, w, and |w - k_i| of the inner
    ones; everything is in units of the last knot. Only `abs` and arithmetic, so that w
    may be a number or a tensor.
    """

    weights: np.ndarray  # a
    offsets: np.ndarray  # b
    unit: float

    def features(self, width: Count) -> Any:
        """Returns phi, `[1, N]`, of a width or of a scalar tensor."""
        return abs(self.weights[None] * (width / self.unit) - self.offsets[None])


def _axis(counts: Sequence[int], *, is_open: bool) -> tuple[_Axis, np.ndarray]:
    """Returns an axis, and the matrix from values at its counts to coefficients."""
    if not is_open:
        one = np.ones(1, np.float32)
        return _Axis(0 * one, one, 1.0), np.ones((1, 1))
    unit = float(counts[-1])
    inner = [count / unit for count in counts[:-1]]
    weights = np.array([0.0, 1.0, *(1.0 for _ in inner)], np.float32)
    offsets = np.array([1.0, 0.0, *inner], np.float32)
    places = np.array([0, *counts]) / unit
    features = np.abs(places[:, None] * weights - offsets)
    # Without the first column: no channel costs nothing.
    return _Axis(weights, offsets, unit), np.linalg.inv(features)[:, 1:]


def _surface(operator: PlacedOperator, table: LatencyTable) -> _Surface:
    outputs = () if operator.output is None else (operator.output,)
    in_counts = _side_knots(operator.inputs)
    out_counts = _side_knots(outputs) if outputs else (0,)
    measured = np.array(
        [table.part_ms(operator.part(*pair)) for pair in _measured_widths(operator)]
    ).reshape(len(in_counts), len(out_counts))
    rows, from_rows = _axis(in_counts, is_open=_is_open(operator.inputs))
    columns, from_columns = _axis(out_counts, is_open=_is_open(outputs))
    coefficients = from_rows @ measured @ from_columns.T
    return _Surface(operator, coefficients.astype(np.float32), rows, columns)


def _sum(widths: Sequence[Width], given: Mapping[str, Count]) -> Count:
    total: Count = 0
    for width in widths:
        total = total + (
            width.channels
            if width.path is None
            else given.get(width.path, width.channels)
        )
    return total
