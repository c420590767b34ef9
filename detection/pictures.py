"""Contact sheets: images with their ground truth and what was detected in them.

Curves and tables are left to the report.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from detection.box_drawing import (
    BOX_LINE_PX,
    Color,
    DrawnDetection,
    Rectangle,
    class_color,
    draw_detections,
    draw_labels,
    draw_object,
    draw_text,
    shorten,
    text_px,
)
from detection.coco_results import DetectionColumns, to_columns
from detection.evaluation_truth import (
    GroundTruth,
    check_ground_truth,
    check_same_set,
)
from mobilenas_tf.whole_files import replace_when_whole

CONTACT_SHEET_FILE = "contact_sheet.jpg"
CELL_PX = 480
"""Longer side of an image in a sheet."""

_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
_PAPER, _INK, _MIDDLE_GREY = "#ffffff", "#1b2330", "#8a93a0"
_LINE_PX, _GAP_PX = 24, 14


@dataclasses.dataclass(frozen=True)
class _LegendItem:
    text: str
    color: Color | None = None
    is_dashed: bool = False

    @property
    def sample_px(self) -> int:
        return 40 if self.color or self.is_dashed else 0


def write_contact_sheet(
    path: str | os.PathLike[str],
    images: Mapping[int, np.ndarray],
    ground_truth: Mapping[str, Any],
    detections: Sequence[Mapping[str, Any]] | np.ndarray,
    *,
    min_score: float,
) -> None:
    """Writes `draw_contact_sheet` as `.jpg` or `.png`, whole or not at all."""
    ending = Path(path).suffix.lower()
    if ending not in _FORMATS:
        raise ValueError(
            f"path must end in {', '.join(_FORMATS)}. Received: path={str(path)!r}"
        )
    sheet = draw_contact_sheet(images, ground_truth, detections, min_score=min_score)
    with replace_when_whole(path) as temporary:
        sheet.save(temporary, _FORMATS[ending], quality=88)


def draw_contact_sheet(
    images: Mapping[int, np.ndarray],
    ground_truth: Mapping[str, Any],
    detections: Sequence[Mapping[str, Any]] | np.ndarray,
    *,
    min_score: float,
    num_columns: int = 3,
    cell_px: int = CELL_PX,
) -> Image.Image:
    """Returns images side by side with dashed objects and coloured detections.

    Args:
        images: `[H, W, 3]` uint8 by image id, drawn in this order. They may be
            stretched: each is drawn with the `width` and `height` that the ground truth
            has for it (its own where that has none), the longer side `cell_px`.
        ground_truth: A COCO document; boxes in pixels of its `width` and `height`.
        detections: COCO results or an array `[N, 7]`, as for an evaluation.
        min_score: Detections below are not drawn.
        num_columns: Images in a row.
        cell_px: Longer side of a drawn image.

    Raises:
        ValueError: If there are no images, or one is of another shape or unknown.
    """
    truth, columns = check_ground_truth(ground_truth), to_columns(detections)
    check_same_set(truth, columns)
    records = {record["id"]: record for record in ground_truth["images"]}
    _check_images(images, records)
    is_shown = np.isin(columns.image_ids, list(images)) & (columns.scores >= min_score)
    columns = _select(columns, is_shown)
    cells = [
        _draw_cell(records[image_id], pixels, truth, columns, cell_px)
        for image_id, pixels in images.items()
    ]
    captions = [
        str(records[image_id].get("file_name", f"image {image_id}"))
        for image_id in images
    ]
    classes = [
        (name, class_color(index))
        for index, (category_id, name) in enumerate(truth.category_names.items())
        if category_id in columns.category_ids
    ]
    width = num_columns * (cell_px + _GAP_PX) + _GAP_PX
    legend = _draw_legend(width, classes, min_score)
    return _lay_out(legend, cells, captions, num_columns, cell_px)


def _check_images(
    images: Mapping[int, np.ndarray], records: Mapping[int, Mapping[str, Any]]
) -> None:
    if not images:
        raise ValueError("images must have at least one image. Received: none")
    for image_id, pixels in images.items():
        if image_id not in records:
            raise ValueError(
                "images must have image ids of the ground truth only. "
                f"Received: {image_id}"
            )
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise ValueError(
                f"images must be [H, W, 3] uint8. Received: {pixels.dtype} of shape "
                f"{pixels.shape} for the image {image_id}"
            )


def _select(columns: DetectionColumns, is_kept: np.ndarray) -> DetectionColumns:
    """Returns some detections, the best first."""
    rows = np.flatnonzero(is_kept)
    rows = rows[np.argsort(-columns.scores[rows], kind="stable")]
    return DetectionColumns(
        columns.image_ids[rows],
        columns.category_ids[rows],
        columns.boxes_xywh[rows],
        columns.scores[rows],
    )


def _draw_cell(
    record: Mapping[str, Any],
    pixels: np.ndarray,
    truth: GroundTruth,
    columns: DetectionColumns,
    cell_px: int,
) -> Image.Image:
    """Returns one image with its boxes; the best detection chooses its label first."""
    width = record.get("width", pixels.shape[1])
    height = record.get("height", pixels.shape[0])
    scale = cell_px / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
    category_ids = list(truth.category_names)
    detections = []
    for row in np.flatnonzero(columns.image_ids == record["id"]):
        index = category_ids.index(columns.category_ids[row])
        name = shorten(truth.category_names[category_ids[index]])
        detections.append(
            DrawnDetection(
                _to_rectangle(columns.boxes_xywh[row], scale, size),
                f"{name}: {columns.scores[row]:.2f}",
                class_color(index),
            )
        )
    draw = ImageDraw.Draw(image)
    draw_detections(draw, detections)
    for row in np.flatnonzero(truth.box_image_ids == record["id"]):
        rectangle = _to_rectangle(truth.boxes_xywh[row], scale, size)
        draw_object(draw, rectangle, is_crowd=bool(truth.is_crowd[row]))
    draw_labels(draw, detections, size)
    return image


def _to_rectangle(box: np.ndarray, scale: float, size: tuple[int, int]) -> Rectangle:
    """Returns left, top, right and bottom, inside the drawn image."""
    left, top, width, height = (scale * value for value in box.tolist())
    rights, bottoms = size[0] - 1.0, size[1] - 1.0
    return (
        min(max(left, 0.0), rights),
        min(max(top, 0.0), bottoms),
        min(max(left + width, 0.0), rights),
        min(max(top + height, 0.0), bottoms),
    )


def _draw_legend(
    width: int, classes: Sequence[tuple[str, Color]], min_score: float
) -> Image.Image:
    """Returns what dashes and colours mean, in as many lines as it takes."""
    items = [
        _LegendItem("ground truth", is_dashed=True),
        _LegendItem(f"detections with a score of at least {min_score:.3g}:"),
        *(_LegendItem(shorten(name), color) for name, color in classes),
    ]
    places: list[tuple[float, float]] = []
    x, y = float(_GAP_PX), 6.0
    for item in items:
        needed = text_px(item.text) + item.sample_px
        if x + needed > width:
            x, y = float(_GAP_PX), y + _LINE_PX
        places.append((x, y))
        x += needed + 18
    image = Image.new("RGB", (width, round(y) + _LINE_PX + 6), _PAPER)
    draw = ImageDraw.Draw(image)
    for item, (x, y) in zip(items, places, strict=True):
        sample = (x, y + 3, x + 32, y + 15)
        if item.is_dashed:
            draw.rectangle(sample, fill=_MIDDLE_GREY)
            draw_object(draw, sample)
        if item.color:
            draw.rectangle(sample, outline=item.color, width=BOX_LINE_PX)
        draw_text(draw, (x + item.sample_px, y), item.text, _INK)
    return image


def _lay_out(
    legend: Image.Image,
    cells: Sequence[Image.Image],
    captions: Sequence[str],
    num_columns: int,
    cell_px: int,
) -> Image.Image:
    """Returns the sheet: legend, then rows of images over their captions."""
    row_starts = range(0, len(cells), num_columns)
    heights = [
        max(cell.height for cell in cells[start : start + num_columns])
        for start in row_starts
    ]
    total = legend.height + sum(height + _LINE_PX + _GAP_PX for height in heights)
    sheet = Image.new("RGB", (legend.width, total), _PAPER)
    sheet.paste(legend, (0, 0))
    draw = ImageDraw.Draw(sheet)
    top = legend.height
    for start, height in zip(row_starts, heights, strict=True):
        for index in range(start, min(start + num_columns, len(cells))):
            left = _GAP_PX + (index - start) * (cell_px + _GAP_PX)
            sheet.paste(cells[index], (left, top))
            below = (left, top + cells[index].height + 2)
            draw_text(draw, below, captions[index], _INK)
        top += height + _LINE_PX + _GAP_PX
    return sheet
