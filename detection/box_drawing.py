"""Boxes and labels on a picture that Pillow holds.

What is drawn, and where pictures stand on a sheet, is left to `pictures`.
"""

from __future__ import annotations

import colorsys
import dataclasses
import functools
import itertools
from collections.abc import Sequence

import numpy as np
from PIL import ImageDraw, ImageFont

FONT_PX = 16
BOX_LINE_PX = 3
_DASH_PX, _DASH_LINE_PX = 7, 2
_SMALL_PX = 50
_DARK, _LIGHT = "#000000", "#ffffff"  # the dashes' colours: seen on any picture
_MAX_NAME_LETTERS = 18

Color = tuple[int, int, int]
# Left, top, right, bottom in pixels of what is drawn on.
Rectangle = tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True)
class DrawnDetection:
    """A detection's box on the picture, its label, and the colour of both."""

    rectangle: Rectangle
    label: str
    color: Color


def class_color(index: int) -> Color:
    """Returns the colour of a class; neighbours differ in hue and in lightness."""
    hue = (0.6 + index * 0.618034) % 1  # the golden ratio spreads any number of hues
    lightness = (0.45, 0.62, 0.34)[index % 3]
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.85)
    return round(255 * red), round(255 * green), round(255 * blue)


def place_label(
    size: tuple[float, float],
    box: Rectangle,
    taken: Sequence[Rectangle],
    bounds: tuple[float, float],
) -> Rectangle:
    """Returns where a label stands: by its box, inside the image, clear of the others.

    The first free one of the places above and below the box, inside it and beside it;
    if none is free, the one that covers least of what is `taken`.

    Args:
        size: Width and height of the label.
        box: What it names.
        taken: What stands there already.
        bounds: Width and height of the image, at least those of the label.
    """
    width, height = size
    left, top, right, bottom = box
    corners = (
        (left, top - height),
        (left, bottom),
        (left, top),
        (right - width, top - height),
        (right - width, bottom),
        (right, top),
        (left - width, top),
        (left, bottom - height),
    )
    places = []
    for x, y in corners:
        x = min(max(x, 0.0), bounds[0] - width)
        y = min(max(y, 0.0), bounds[1] - height)
        places.append((x, y, x + width, y + height))
    return min(
        places, key=lambda place: sum(_shared_area(place, other) for other in taken)
    )


def _shared_area(one: Rectangle, other: Rectangle) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0.0) * max(height, 0.0)


def draw_detections(
    draw: ImageDraw.ImageDraw, detections: Sequence[DrawnDetection]
) -> None:
    """Draws the boxes of detections, the first on top."""
    for detection in reversed(detections):
        draw.rectangle(detection.rectangle, outline=detection.color, width=BOX_LINE_PX)


def draw_labels(
    draw: ImageDraw.ImageDraw,
    detections: Sequence[DrawnDetection],
    bounds: tuple[int, int],
) -> None:
    """Draws the labels of detections; the first chooses its place first, on top."""
    # Labels keep clear of small boxes, which they would hide.
    taken = [
        detection.rectangle
        for detection in detections
        if _shared_area(detection.rectangle, detection.rectangle) < _SMALL_PX**2
    ]
    places = []
    for detection in detections:
        width, height = text_px(detection.label) + 6, FONT_PX + 4
        size = (min(width, bounds[0]), min(height, bounds[1]))
        places.append(place_label(size, detection.rectangle, taken, bounds))
        taken.append(places[-1])
    for detection, place in zip(reversed(detections), reversed(places), strict=True):
        draw.rectangle(place, fill=detection.color)
        red, green, blue = detection.color
        is_light = 0.299 * red + 0.587 * green + 0.114 * blue > 140  # Rec. 601's luma
        corner = (place[0] + 3, place[1] + 1)
        draw_text(draw, corner, detection.label, _DARK if is_light else _LIGHT)


def draw_object(
    draw: ImageDraw.ImageDraw, rectangle: Rectangle, *, is_crowd: bool = False
) -> None:
    """Draws what there was to find: dashes, and the word in a crowd."""
    left, top, right, bottom = rectangle
    corners = ((left, top), (right, top), (right, bottom), (left, bottom), (left, top))
    for start, end in itertools.pairwise(corners):
        draw.line((start, end), fill=_DARK, width=_DASH_LINE_PX)
        length = max(abs(end[0] - start[0]), abs(end[1] - start[1]))
        for at in np.arange(0, length, 2 * _DASH_PX):
            dash = (
                _point_between(start, end, at / length),
                _point_between(start, end, min(at + _DASH_PX, length) / length),
            )
            draw.line(dash, fill=_LIGHT, width=_DASH_LINE_PX)
    if is_crowd:
        corner = (left + 5, top + 3)
        draw.text(corner, "crowd", _LIGHT, _font(), stroke_width=2, stroke_fill=_DARK)


def _point_between(
    start: tuple[float, float], end: tuple[float, float], share: float
) -> tuple[float, float]:
    return (
        start[0] + share * (end[0] - start[0]),
        start[1] + share * (end[1] - start[1]),
    )


def draw_text(
    draw: ImageDraw.ImageDraw, corner: tuple[float, float], text: str, ink: str
) -> None:
    """Draws one line of text; `corner` is its upper left one."""
    draw.text(corner, text, fill=ink, font=_font())


def text_px(text: str) -> float:
    """Returns how wide a text is drawn."""
    return _font().getlength(text)


@functools.cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(FONT_PX)  # comes with Pillow


def shorten(name: str) -> str:
    """Returns a class's name in one line and not too long."""
    name = " ".join(name.split())
    if len(name) <= _MAX_NAME_LETTERS:
        return name
    return f"{name[: _MAX_NAME_LETTERS - 1]}…"
