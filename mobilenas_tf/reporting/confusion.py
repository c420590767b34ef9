"""Which class is taken for which: a heat map, or a table of the worst pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mobilenas_tf.reporting.charts import legend_entry
from mobilenas_tf.reporting.documents import Confusion
from mobilenas_tf.reporting.markup import (
    element,
    escape,
    figure,
    svg,
    svg_text,
    tooltip,
)
from mobilenas_tf.reporting.number_format import MISSING
from mobilenas_tf.reporting.tables import data_table

MAX_DRAWN_CLASSES = 20
_MAX_NAME_LETTERS = 16
_LETTER_PX = 6.8
_CELL_PX = 40.0


def confusion_section(document: Confusion) -> str:
    """Returns heat map (up to 20 classes) and most confused pairs.

    Args:
        document: `confusion.json`.
    """
    names, counts = document["class_names"], document["counts"]
    is_drawn = len(names) <= MAX_DRAWN_CLASSES
    title = str(document.get("title") or "Images by true and predicted class")
    drawing = draw_confusion(names, counts, title=title) if is_drawn else ""
    pairs = confused_pairs(names, counts, limit=8 if is_drawn else 20)
    table = data_table(("true class", "taken for", "images", "share"), pairs)
    heading = "Most often confused" if is_drawn else f"{title}: most often confused"
    aside = element("h3", None, escape(heading)) + table
    if pairs:
        drawing += element("div", {"class": "panel"}, aside)
    return element("div", {"class": "beside"}, drawing)


def confused_pairs(
    names: Sequence[str], counts: Sequence[Sequence[int]], *, limit: int
) -> list[dict[str, Any]]:
    """Returns the `limit` most frequent mistakes, with share of the true class."""
    pairs = [
        {
            "true class": names[true],
            "taken for": names[predicted],
            "images": count,
            "share": count / sum(row),
        }
        for true, row in enumerate(counts)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    return sorted(pairs, key=lambda pair: -pair["images"])[:limit]


def draw_confusion(
    names: Sequence[str], counts: Sequence[Sequence[int]], *, title: str
) -> str:
    """Returns the heat map: colour is the share of the true class, text the count."""
    shown = [_shorten(name) for name in names]
    label_px = _LETTER_PX * max(map(len, shown)) + 12
    is_slanted = label_px > _CELL_PX
    overhang_px = 0.71 * label_px if is_slanted else 0.0
    left, top = label_px + 20, 34 + (overhang_px or 12)
    right, bottom = left + _CELL_PX * len(names), top + _CELL_PX * len(names)
    turned = f"translate(12 {(top + bottom) / 2:g}) rotate(-90)"
    parts = [
        svg_text((left + right) / 2, 12, "predicted", style="heading middle"),
        svg_text(right + 60, bottom + 18, "correct", style="heading end"),
        element("text", {"class": "heading middle", "transform": turned}, "true"),
    ]
    for index, (name, label, row) in enumerate(zip(names, shown, counts, strict=True)):
        middle, total = _CELL_PX * (index + 0.5), sum(row)
        above = (left + middle, top - 8)
        y = top + middle + 4
        parts.append(_column_label(above, label, name, is_slanted=is_slanted))
        parts.append(svg_text(left - 8, y, label, style="label end", title=name))
        for predicted, count in enumerate(row):
            corner = (left + _CELL_PX * predicted, top + _CELL_PX * index)
            text = f"{name} taken for {names[predicted]}: {count:,}"
            share, is_right = count / max(total, 1), predicted == index
            parts.append(
                _draw_cell(corner, count, share, is_right=is_right, title=text)
            )
        correct = f"{100 * row[index] / total:.1f} %" if total else MISSING
        parts.append(svg_text(right + 60, y, correct, style="count end"))
    legend = legend_entry("right", "right") + legend_entry("wrong", "wrong")
    width = right + max(64.0, overhang_px)
    drawing = svg(width, bottom + 26, title, *parts)
    body = figure(title, legend, drawing, style="confusion")
    return element("div", {"style": f"flex:0 1 {width + 34:.0f}px"}, body)


def _column_label(
    place: tuple[float, float], label: str, title: str, *, is_slanted: bool
) -> str:
    transform = f"translate({place[0]:g} {place[1]:g})"
    style = "label" if is_slanted else "label middle"
    if is_slanted:
        transform += " rotate(-45)"
    attributes = {"class": style, "transform": transform}
    return element("text", attributes, escape(label), tooltip(title))


def _draw_cell(
    corner: tuple[float, float], count: int, share: float, *, is_right: bool, title: str
) -> str:
    # The root makes single mistakes visible beside hundreds of right answers.
    opacity = share if is_right else math.sqrt(share)
    (x, y), side_px = corner, _CELL_PX - 2
    box = {"x": x + 1, "y": y + 1, "width": side_px, "height": side_px, "rx": 3}
    color = {"class": "right" if is_right else "wrong", "fill-opacity": opacity}
    parts = [
        tooltip(title),
        element("rect", {**box, "class": "empty"}),
        element("rect", {**box, **color}),
    ]
    if count:
        tone = " on-color" if opacity > 0.6 else ""
        size = " small" if count > 9999 else ""
        middle = _CELL_PX / 2
        style = f"cell middle{tone}{size}"
        parts.append(svg_text(x + middle, y + middle + 4, str(count), style=style))
    return element("g", None, *parts)


def _shorten(name: str) -> str:
    if len(name) <= _MAX_NAME_LETTERS:
        return name
    return f"{name[: _MAX_NAME_LETTERS - 1]}…"
