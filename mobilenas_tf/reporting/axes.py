"""Scales, ticks and axes that all charts share."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from mobilenas_tf.reporting.markup import svg_line, svg_text
from mobilenas_tf.reporting.number_format import find_unit


@dataclasses.dataclass(frozen=True)
class Scale:
    """Linear map from values `low`..`high` to coordinates `start`..`end`."""

    low: float
    high: float
    start: float
    end: float

    def position(self, value: float) -> float:
        """Returns the coordinate of a value."""
        fraction = (value - self.low) / (self.high - self.low)
        return self.start + fraction * (self.end - self.start)


def nice_step(span: float, count: int) -> float:
    """Returns the smallest of 1, 2, 5 x 10^k that cuts `span` into at most `count`."""
    power = 10.0 ** math.floor(math.log10(span / count))
    return next(
        power * factor
        for factor in (1, 2, 5, 10)
        if span / (power * factor) <= count * (1 + 1e-9)
    )


def ticks_between(low: float, high: float, step: float) -> tuple[float, ...]:
    """Returns the multiples of `step` from `low` to `high`, both included."""
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(index * step for index in range(first, last + 1))


def rounded_range(
    values: Sequence[float], *, includes_zero: bool, count: int = 5
) -> tuple[float, float, float]:
    """Returns `(low, high, step)`: whole steps around all values, at most `count`.

    Rounding both ends outwards may add a step at either.
    """
    low, high = min(values), max(values)
    if includes_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        margin = abs(low) / 10 or 1.0
        low, high = low if includes_zero else low - margin, high + margin
    step = nice_step(high - low, count)
    return (
        math.floor(low / step + 1e-9) * step,
        math.ceil(high / step - 1e-9) * step,
        step,
    )


def format_tick(quantity: str, value: float, step: float) -> str:
    """Returns a tick's label with as many decimals as the step between ticks needs."""
    unit = find_unit(quantity)
    factor, suffix = (unit.factor, unit.suffix) if unit else (1.0, "")
    exponent = math.floor(math.log10(step * factor) + 1e-9)
    if exponent < -4:
        return f"{value * factor:.3g}{suffix}"
    return f"{value * factor + 0.0:,.{max(0, -exponent)}f}{suffix}"


def y_axis(up: Scale, step: float, quantity: str, ends: tuple[float, float]) -> str:
    """Returns horizontal grid lines from `ends[0]` to `ends[1]` with their labels."""
    parts = []
    for tick in ticks_between(up.low, up.high, step):
        height = up.position(tick)
        label = format_tick(quantity, tick, step)
        parts.append(svg_line(ends[0], height, ends[1], height, style="gridline"))
        parts.append(svg_text(ends[0] - 7, height + 4, label, style="tick end"))
    return "".join(parts)


def x_axis(
    across: Scale, quantity: str, heights: tuple[float, float], label: str
) -> str:
    """Returns ticks under `heights[0]`, and the label that ends at `heights[1]`."""
    base, foot = heights
    num_ticks = max(2, int((across.end - across.start) / 60))
    step = nice_step(across.high - across.low, num_ticks)
    parts = [svg_line(across.start, base, across.end, base, style="axis")]
    for tick in ticks_between(across.low, across.high, step):
        x = across.position(tick)
        parts.append(svg_line(x, base, x, base + 4, style="axis"))
        parts.append(
            svg_text(
                x, base + 17, format_tick(quantity, tick, step), style="tick middle"
            )
        )
    parts.append(
        svg_text((across.start + across.end) / 2, foot, label, style="tick middle")
    )
    return "".join(parts)
