"""The network as a drawing: one row a block, one bar a kernel, the trunk at the left.

What a row says is left to `network_rows`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

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
from mobilenas_tf.reporting.network_rows import Bar, Row
from mobilenas_tf.reporting.number_format import format_value

Probabilities = Mapping[str, Mapping[str, float]]
_WIDTH, _HEADER_PX, _GAP_PX = 1080.0, 32.0, 6.0
_BAR_PX, _BAR_STEP_PX, _ROW_PADDING_PX, _MIN_ROW_PX = 10.0, 15.0, 16.0, 36.0
_ARC_X, _TRUNK_X, _TITLE_X, _LABEL_X = 110.0, 142.0, 160.0, 258.0
_BAR_X, _BAR_MAX_PX = 266.0, 400.0
_OUTPUT_X, _OUTPUT_MAX_PX = 768.0, 84.0
_COST_X, _COST_MAX_PX, _RIGHT = 936.0, 60.0, 1068.0


def draw_network(
    rows: Sequence[Row], *, title: str, probabilities: Probabilities
) -> str:
    """Returns the drawing of a network with its legend.

    Args:
        rows: From `network_rows`.
        title: Shown above.
        probabilities: Of the gates by width path (`mean`, `undecided`), for tooltips.
    """
    tops = _row_tops(rows)
    bottom = tops[-1] + _row_height(rows[-1])
    outputs = [row.output for row in rows if row.output]
    bars = [bar for row in rows for bar in row.bars]
    is_whole = all(bar.kept == bar.possible for bar in (*bars, *outputs))
    bar_scale = _BAR_MAX_PX / max((bar.possible for bar in bars), default=1)
    output_scale = _OUTPUT_MAX_PX / max(bar.possible for bar in outputs)
    cost_scale = _COST_MAX_PX / max(*(row.macs for row in rows), 1)
    parts = [_column_headings(is_whole), *_stage_bands(rows, tops)]
    for row, top in zip(rows, tops, strict=True):
        center = top + _row_height(row) / 2
        parts.append(_draw_trunk(row, top))
        parts.append(_draw_cost(row, center, cost_scale))
        if row.is_skipped:
            parts.append(_draw_skipped(center))
            continue
        y = center - _bars_height(row) / 2
        for bar in row.bars:
            text = _bar_tooltip(bar, probabilities.get(bar.path))
            place = (_BAR_X, y, _BAR_PX)
            parts.append(svg_text(_LABEL_X, y + 9, bar.label, style="tick end"))
            parts.append(draw_bar(bar, place, bar_scale, is_whole=is_whole, title=text))
            y += _BAR_STEP_PX
        note_x = _OUTPUT_X if row.bars else _BAR_X
        parts.append(svg_text(note_x, center + 4, row.note, style="tick"))
    for output, top, height in _shared_outputs(rows, tops):
        text = _bar_tooltip(output, probabilities.get(output.path))
        place = (_OUTPUT_X, top + 8, height - 16)
        parts.append(
            draw_bar(output, place, output_scale, is_whole=is_whole, title=text)
        )
    drawing = svg(_WIDTH, bottom + 6, title, *parts)
    return figure(title, _legend(rows), drawing, style="network")


def draw_bar(
    bar: Bar,
    place: tuple[float, float, float],
    px_per_channel: float,
    *,
    is_whole: bool,
    title: str,
) -> str:
    """Returns a frame as long as the channels possible, filled as far as they are kept.

    Args:
        bar: What to draw.
        place: Left, top and height, in px.
        px_per_channel: Scale of the length.
        is_whole: Whether nothing was removed anywhere, so that one count will do.
        title: Tooltip.
    """
    x, y, height = place
    possible_px, kept_px = bar.possible * px_per_channel, bar.kept * px_per_channel
    frame_style = f"possible {bar.kind}{'' if bar.kept else ' ghost'}"
    count = f"{bar.kept:,}" if is_whole else f"{bar.kept:,} / {bar.possible:,}"
    parts = [
        tooltip(title),
        svg_rect(x, y, possible_px, height, style=frame_style, radius=2),
    ]
    if bar.kept:
        parts.append(
            svg_rect(x, y, kept_px, height, style=f"kept {bar.kind}", radius=2)
        )
    label_style = "count" if bar.kept else "count faint"
    parts.append(
        svg_text(x + possible_px + 7, y + height / 2 + 4, count, style=label_style)
    )
    return element("g", None, *parts)


def _bar_tooltip(bar: Bar, probability: Mapping[str, float] | None) -> str:
    text = f"{bar.path}: {bar.kept:,} of {bar.possible:,} channels kept"
    if probability:
        text += (
            f"\nmean gate probability {probability.get('mean', 0):.3f}"
            f"\nundecided gates {100 * probability.get('undecided', 0):.1f} %"
        )
    return text


def _band(row: Row) -> str:
    return row.path.split("/")[0]


def _bars_height(row: Row) -> float:
    num_bars = 1 if row.is_skipped else len(row.bars)
    return (num_bars - 1) * _BAR_STEP_PX + _BAR_PX


def _row_height(row: Row) -> float:
    return max(_MIN_ROW_PX, _bars_height(row) + _ROW_PADDING_PX)


def _row_tops(rows: Sequence[Row]) -> list[float]:
    tops = [_HEADER_PX]
    for before, row in itertools.pairwise(rows):
        gap_px = 0 if _band(before) == _band(row) else _GAP_PX
        tops.append(tops[-1] + _row_height(before) + gap_px)
    return tops


def _column_headings(is_whole: bool) -> str:
    what = "channels of each kernel" + ("" if is_whole else ": kept / possible")
    return (
        svg_text(_BAR_X, 18, what, style="heading")
        + svg_text(_OUTPUT_X, 18, "output channels", style="heading")
        + svg_text(_RIGHT, 18, "multiply-adds", style="heading end")
    )


def _stage_bands(rows: Sequence[Row], tops: Sequence[float]) -> Iterator[str]:
    placed = zip(rows, tops, strict=True)
    for band, group in itertools.groupby(placed, key=lambda pair: _band(pair[0])):
        members = list(group)
        (_, top), (last, last_top) = members[0], members[-1]
        height = last_top + _row_height(last) - top
        label = band.replace("stage", "stage ")
        yield svg_rect(0.5, top, _WIDTH - 1, height, style="band", radius=7)
        if band != "stem":
            yield svg_line(_TRUNK_X, top - _GAP_PX, _TRUNK_X, top, style="trunk")
        yield svg_text(12, top + 16, label, style="heading")
        if band != "head":
            size = f"{last.out_size_px} × {last.out_size_px} px"
            yield svg_text(12, top + 30, size, style="tick")


def _draw_trunk(row: Row, top: float) -> str:
    """Draws the way through a row: node, residual arc or stride, and its name."""
    height = _row_height(row)
    center, bottom = top + height / 2, top + height
    start = center if row.path == "stem" else top
    end = center if row.path == "head" else bottom
    ghost = " ghost" if row.is_skipped else ""
    parts = [
        tooltip(row.description),
        svg_line(_TRUNK_X, start, _TRUNK_X, end, style=f"trunk{ghost}"),
    ]
    if row.has_residual:
        path = (
            f"M{_TRUNK_X:g},{top + 3:g} C{_ARC_X:g},{top + 4:g} "
            f"{_ARC_X:g},{bottom - 4:g} {_TRUNK_X:g},{bottom - 3:g}"
        )
        parts.append(element("path", {"d": path, "class": "trunk arc"}))
    node = {"cx": _TRUNK_X, "cy": center, "r": 5, "class": f"node{ghost}"}
    parts.append(element("circle", node))
    if row.stride > 1:
        parts.append(svg_rect(_ARC_X - 4, center - 9, 25, 18, style="stride", radius=9))
        label = f"/{row.stride}"
        parts.append(svg_text(_ARC_X + 8.5, center + 4, label, style="stride middle"))
    if "/" in row.path:
        name = row.path.split("/")[1].replace("block", "block ")
        style = "name faint" if row.is_skipped else "name"
        parts.append(svg_text(_TITLE_X, center + 4, name, style=style))
    if row.bit_widths:
        parts.append(svg_text(_TITLE_X, center + 16, row.bit_widths, style="tick"))
    return element("g", None, *parts)


def _draw_skipped(center: float) -> str:
    return svg_rect(
        _BAR_X, center - 9, _BAR_MAX_PX, 18, style="possible ghost", radius=9
    ) + svg_text(
        _BAR_X + _BAR_MAX_PX / 2,
        center + 4,
        "skipped: no kernel kept, only the shortcut is left",
        style="tick middle",
    )


def _draw_cost(row: Row, center: float, px_per_mac: float) -> str:
    label = format_value("macs", row.macs or None)
    length = row.macs * px_per_mac
    return svg_rect(_COST_X, center - 3, length, 6, style="cost", radius=2) + svg_text(
        _RIGHT, center + 4, label, style="count end"
    )


def _shared_outputs(
    rows: Sequence[Row], tops: Sequence[float]
) -> Iterator[tuple[Bar, float, float]]:
    """Yields each output width with top and height of the rows that share it."""
    placed = [(row.output, row, top) for row, top in zip(rows, tops, strict=True)]
    for output, group in itertools.groupby(placed, key=lambda member: member[0]):
        if output is not None:
            members = list(group)
            (_, _, top), (_, last, last_top) = members[0], members[-1]
            yield output, top, last_top + _row_height(last) - top


def _legend(rows: Sequence[Row]) -> str:
    kinds = {bar.kind: bar.label for row in rows for bar in row.bars}
    names = {"squeeze": "squeeze-excite", "layer": "layer of the head"}
    entries = [
        legend_entry(f"kept {kind}", names.get(kind, f"{label} kernel"))
        for kind, label in sorted(kinds.items())
    ]
    if any(bar.kept < bar.possible for row in rows for bar in row.bars):
        entries.append(legend_entry("possible kernel3", "removed"))
        entries.append(legend_entry("possible ghost", "vanished"))
    if any(row.has_residual for row in rows):
        entries.append(legend_entry("arc", "residual connection"))
    if any(row.stride > 1 for row in rows):
        entries.append(legend_entry("stride", "stride"))
    return "".join(entries)
