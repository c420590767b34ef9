"""Line charts as inline SVG that follows the page's colours.

What is plotted is left to the sections of the page, scales and ticks to `axes`.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import math
from collections.abc import Sequence

from mobilenas_tf.reporting.axes import Scale, rounded_range, x_axis, y_axis
from mobilenas_tf.reporting.markup import (
    element,
    escape,
    figure,
    svg,
    svg_line,
    svg_rect,
    tooltip,
)
from mobilenas_tf.reporting.number_format import format_value

Points = Sequence[tuple[float, float]]
MAX_POINTS = 160
WIDE, LARGE, SMALL = (1080.0, 280.0), (520.0, 240.0), (250.0, 140.0)
_LEFT, _TOP = 60.0, 10.0


@dataclasses.dataclass(frozen=True)
class Series:
    """A named line; `color` is one of the page's colour classes (`c1` ... `c6`).

    A value of a stepped line holds from the point before it on, the first from step 0.
    The legend shows `note` behind the name, by default the last value.
    """

    name: str
    points: Points
    color: str
    is_dashed: bool = False
    is_stepped: bool = False
    note: str | None = None


def thin_points(
    points: Points, limit: int = MAX_POINTS
) -> tuple[tuple[float, float], ...]:
    """Returns at most `limit` points: means of neighbours; the last one stays exact."""
    if len(points) <= limit:
        return tuple(points)
    others, last = points[:-1], points[-1]
    size = math.ceil(len(others) / (limit - 1))
    groups = [others[at : at + size] for at in range(0, len(others), size)]
    means = [
        (sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group))
        for group in groups
    ]
    return (*means, last)


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    quantity: str,
    over: str = "step",
    size: tuple[float, float] = LARGE,
    limit: tuple[str, float] | None = None,
    includes_zero: bool = False,
) -> str:
    """Returns a chart of all series that have points, or nothing where none has.

    Args:
        title: Shown above, with a legend that has each line's last value.
        series: The lines; x runs from 0 to the largest.
        quantity: What y is; chooses unit and decimals (see `number_format`).
        over: What x is.
        size: Width and height: `WIDE`, `LARGE` or `SMALL`.
        limit: Name and value of a horizontal line, such as the budget.
        includes_zero: Whether y starts at 0.
    """
    drawn = [
        dataclasses.replace(line, points=thin_points(line.points))
        for line in series
        if line.points
    ]
    if not drawn:
        return ""
    last_x = max(line.points[-1][0] for line in drawn)
    ys = [y for line in drawn for _, y in line.points]
    ys += [limit[1]] if limit else []
    low, high, step = rounded_range(ys, includes_zero=includes_zero)
    width, height = size
    across = Scale(0.0, last_x or 1.0, _LEFT, width - 22)
    up = Scale(low, high, height - 32, _TOP)
    parts = [
        y_axis(up, step, quantity, (across.start, across.end)),
        x_axis(across, "", (up.start, height - 3), over),
    ]
    if limit:
        y = up.position(limit[1])
        parts.append(svg_line(across.start, y, across.end, y, style="limit"))
    parts += [_draw_line(line, across, up) for line in drawn]
    parts += _hover_strips(drawn, across, up, (over, quantity))
    legend = [_legend_entry(line, quantity) for line in drawn]
    if limit:
        label = f"{limit[0]} {format_value(quantity, limit[1])}"
        legend.append(legend_entry("limit", label))
    drawing = svg(width, height, title, *parts)
    style = "wide" if size == WIDE else "chart"
    return figure(title, "".join(legend), drawing, style=style)


def legend_entry(style: str, label: str) -> str:
    """Returns a colour sample with its meaning; `style` are CSS classes."""
    return element(
        "span", {"class": "key"}, element("i", {"class": style}), escape(label)
    )


def _legend_entry(line: Series, quantity: str) -> str:
    style = f"{line.color} dashed" if line.is_dashed else line.color
    note = line.note
    if note is None:
        note = format_value(quantity, line.points[-1][1])
    return legend_entry(style, f"{line.name} {note}".strip())


def _draw_line(line: Series, across: Scale, up: Scale) -> str:
    places = [(across.position(x), up.position(y)) for x, y in line.points]
    if line.is_stepped:
        starts = [across.start, *(x for x, _ in places)]
        places = [
            (corner_x, y)
            for start, (end, y) in zip(starts, places, strict=False)
            for corner_x in (start, end)
        ]
    style = f"curve {line.color}{' dashed' if line.is_dashed else ''}"
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    end_x, end_y = places[-1]
    return element("polyline", {"points": path, "class": style}) + element(
        "circle", {"cx": end_x, "cy": end_y, "r": 3, "class": f"dot {line.color}"}
    )


def _hover_strips(
    lines: Sequence[Series], across: Scale, up: Scale, quantities: tuple[str, str]
) -> list[str]:
    """Returns a strip with a tooltip of all values for each point of the longest.

    `quantities` are those of x and y.
    """
    over, quantity = quantities
    xs = [x for x, _ in max((line.points for line in lines), key=len)]
    places = [across.position(x) for x in xs]
    middles = [(a + b) / 2 for a, b in itertools.pairwise(places)]
    edges = [across.start, *middles, across.end]
    strips = []
    for x, place, (left, right) in zip(
        xs, places, itertools.pairwise(edges), strict=True
    ):
        values = [
            f"{line.name} {format_value(quantity, _value_at(line.points, x))}".strip()
            for line in lines
        ]
        text = "\n".join([f"{over} {format_value(over, x)}", *values])
        strips.append(
            element(
                "g",
                {"class": "hover"},
                tooltip(text),
                svg_rect(left, up.end, right - left, up.start - up.end),
                svg_line(place, up.end, place, up.start),
            )
        )
    return strips


def _value_at(points: Points, x: float) -> float | None:
    """Returns the value at the last point up to `x`, None before the first."""
    index = bisect.bisect_right([point[0] for point in points], x)
    return points[index - 1][1] if index else None
