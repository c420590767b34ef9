"""Networks side by side: accuracy over cost, and latency with its spread."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mobilenas_tf.reporting.axes import Scale, rounded_range, x_axis, y_axis
from mobilenas_tf.reporting.charts import legend_entry
from mobilenas_tf.reporting.markup import (
    element,
    figure,
    svg,
    svg_line,
    svg_rect,
    svg_text,
    tooltip,
)
from mobilenas_tf.reporting.number_format import (
    COST_NAMES,
    format_value,
    is_number,
)

_LETTER_PX = 7.0
_SCATTER_LEFT, _SCATTER_RIGHT, _SCATTER_FOOT = 60.0, 1050.0, 240.0
_DISCS = {"float_accuracy": "", "int8_accuracy": "hollow"}


@dataclasses.dataclass(frozen=True)
class ScatterNetwork:
    """A network in a scatter, labelled at the first of its accuracies.

    `accuracies` in [0, 1] are by the style of their disc: full ("") or `hollow`.
    `color` is one of the page's colour classes (`c1` ... `c6`).
    """

    name: str
    cost: float
    accuracies: Mapping[str, float]
    color: str = "c1"


def accuracy_scatter(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns accuracy over multiply-adds, or nothing below two networks with both.

    Args:
        rows: With `name`, `macs`, `float_accuracy` and perhaps `int8_accuracy`.
    """
    complete = [
        row
        for row in rows
        if is_number(row.get("macs")) and is_number(row.get("float_accuracy"))
    ]
    if len(complete) < 2:
        return ""
    networks = [
        ScatterNetwork(
            str(row.get("name", "")),
            row["macs"],
            {
                style: row[key]
                for key, style in _DISCS.items()
                if is_number(row.get(key))
            },
            f"c{index % 6 + 1}",
        )
        for index, row in enumerate(complete)
    ]
    legend = legend_entry("disc", "float")
    if any("hollow" in network.accuracies for network in networks):
        legend += legend_entry("disc hollow", "int8")
    title = "Accuracy over multiply-adds"
    return draw_scatter(title, networks, metric="macs", legend=legend)


def draw_scatter(
    title: str,
    networks: Sequence[ScatterNetwork],
    *,
    metric: str,
    legend: str,
    line: Sequence[tuple[float, float]] = (),
    quantity: str = "accuracy",
) -> str:
    """Returns the accuracy of networks over their cost.

    Args:
        title: Shown above.
        networks: At least one.
        metric: What the cost counts: `macs` or `params`.
        legend: Markup, from `legend_entry`.
        line: `(cost, accuracy)` of the points to join.
        quantity: What stands for the accuracy, if it is another figure in [0, 1].
    """
    low, high, step = rounded_range(
        [y for network in networks for y in network.accuracies.values()],
        includes_zero=False,
    )
    x_low, x_high, _ = rounded_range(
        [network.cost for network in networks], includes_zero=True
    )
    up = Scale(max(low, 0.0), min(high, 1.0), _SCATTER_FOOT, 14)
    across = Scale(x_low, x_high, _SCATTER_LEFT, _SCATTER_RIGHT)
    heights = (_SCATTER_FOOT, _SCATTER_FOOT + 34)
    parts = [
        y_axis(up, step, quantity, (_SCATTER_LEFT, _SCATTER_RIGHT)),
        x_axis(across, metric, heights, COST_NAMES[metric]),
    ]
    joints = [(across.position(x), up.position(y)) for x, y in line]
    if joints:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in joints)
        parts.append(element("polyline", {"points": path, "class": "curve c1"}))
    taken = [(x, y + 4, 0.0) for x, y in _points_along(joints)]
    taken += [
        (across.position(network.cost) - 6, up.position(accuracy) + 4, 12.0)
        for network in networks
        for accuracy in network.accuracies.values()
    ]
    for network in networks:
        parts += _network_points(network, across, up, (metric, quantity))
        labelled = next(iter(network.accuracies.values()))
        point = across.position(network.cost), up.position(labelled)
        place = _free_place(point, network.name, taken)
        parts.append(svg_text(*place, network.name, style="label"))
    drawing = svg(1080, _SCATTER_FOOT + 38, title, *parts)
    return figure(title, legend, drawing, style="wide")


def _network_points(
    network: ScatterNetwork, across: Scale, up: Scale, quantities: tuple[str, str]
) -> Iterator[str]:
    metric, quantity = quantities
    x, cost = across.position(network.cost), format_value(metric, network.cost)
    heights = [up.position(accuracy) for accuracy in network.accuracies.values()]
    yield svg_line(x, min(heights), x, max(heights), style=f"link {network.color}")
    for (style, accuracy), y in zip(network.accuracies.items(), heights, strict=True):
        text = f"{network.name}: {format_value(quantity, accuracy)}, {cost}"
        classes = f"point {network.color} {style}".strip()
        point = {"cx": x, "cy": y, "r": 5, "class": classes}
        yield element("circle", point, tooltip(text))


def _points_along(
    joints: Sequence[tuple[float, float]],
) -> Iterator[tuple[float, float]]:
    """Yields points of a polyline, no two further apart than a label is high."""
    for (x1, y1), (x2, y2) in itertools.pairwise(joints):
        num_parts = max(1, math.ceil(math.dist((x1, y1), (x2, y2)) / 10))
        for index in range(num_parts + 1):
            share = index / num_parts
            yield x1 + share * (x2 - x1), y1 + share * (y2 - y1)


def _free_place(
    point: tuple[float, float],
    name: str,
    taken: list[tuple[float, float, float]],
) -> tuple[float, float]:
    """Returns and takes the first place beside a point where nothing else lies.

    Args:
        point: Where the point is, in px.
        name: The label.
        taken: Left, base line and width of all that lies there so far.
    """
    (x, y), width = point, _LETTER_PX * len(name)
    places = [
        (label_x, y + below)
        for below in (4, -10, 18, -24, 32, -38, 46, 60)
        for label_x in (x + 10, x - 10 - width)
    ]
    inside = [
        (label_x, label_y)
        for label_x, label_y in places
        if label_x >= _SCATTER_LEFT
        and label_x + width <= _SCATTER_RIGHT
        and 12 <= label_y <= _SCATTER_FOOT
    ] or places
    free = (
        place
        for place in inside
        if all(
            abs(place[1] - other_y) >= 13
            or place[0] + width < other_x
            or place[0] > other_x + other_width
            for other_x, other_y, other_width in taken
        )
    )
    label_x, label_y = next(free, inside[0])
    taken.append((label_x, label_y, width))
    return label_x, label_y


def latency_chart(results: Sequence[Mapping[str, Any]]) -> str:
    """Returns median latencies as bars with repeats and percentiles.

    Args:
        results: With `model` and `median_ms`; `p90_ms`, `p95_ms` and one list of
            several numbers (the medians of the repeats) where known.
    """
    timed = [result for result in results if is_number(result.get("median_ms"))]
    if not timed:
        return ""
    highest = max(value for result in timed for value in _latencies(result))
    _, high, _ = rounded_range([highest], includes_zero=True, count=6)
    across = Scale(0, high, 200, 930)
    bottom = 40.0 * len(timed) + 8
    parts = [x_axis(across, "ms", (bottom, bottom + 36), "latency of one image")]
    for index, result in enumerate(timed):
        parts += _latency_bar(result, 28 + 40 * index, across, f"c{index % 6 + 1}")
    legend = (
        legend_entry("c1 solid", "median")
        + legend_entry("disc hollow", "median of each repeat")
        + legend_entry("axis", "to p90 and p95")
    )
    drawing = svg(1080, bottom + 42, "Latency", *parts)
    return figure("Latency", legend, drawing, style="wide")


def _latencies(result: Mapping[str, Any]) -> list[float]:
    keys = ("median_ms", "p90_ms", "p95_ms")
    percentiles = [result[key] for key in keys if is_number(result.get(key))]
    return [*percentiles, *repeat_medians(result)]


def repeat_medians(result: Mapping[str, Any]) -> Sequence[float]:
    """Returns the first list of milliseconds in a benchmark result, or nothing."""
    lists = (
        value
        for key, value in result.items()
        if key.endswith("_ms")
        and isinstance(value, list)
        and all(map(is_number, value))
    )
    return next(lists, [])


def _latency_bar(
    result: Mapping[str, Any], y: float, across: Scale, style: str
) -> Iterator[str]:
    name, median = str(result.get("model", "")), result["median_ms"]
    shown = name if len(name) <= 28 else f"…{name[-27:]}"
    yield svg_text(188, y + 4, shown, style="label end", title=name)
    length = across.position(median) - across.start
    yield svg_rect(across.start, y - 9, length, 18, style=f"bar {style}", radius=2)
    for key in ("p90_ms", "p95_ms"):
        if is_number(result.get(key)):
            x = across.position(result[key])
            yield svg_line(across.start + length, y, x, y, style="axis")
            yield svg_line(x, y - 5, x, y + 5, style="axis")
    for value in repeat_medians(result):
        place = {"cx": across.position(value), "cy": y, "r": 3}
        text = f"median of one repeat: {format_value('ms', value)}"
        dot = {**place, "class": f"point hollow {style}"}
        yield element("circle", dot, tooltip(text))
    label_x = across.position(max(_latencies(result))) + 10
    yield svg_text(label_x, y + 4, format_value("ms", median), style="count")
