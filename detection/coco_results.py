"""Detections as COCO writes them: a list of results, its file, and its columns.

How good they are is left to `coco_eval`.
"""

from __future__ import annotations

import dataclasses
import json
import numbers
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mobilenas_tf.json_io import read_json
from mobilenas_tf.json_text import shown
from mobilenas_tf.options import require
from mobilenas_tf.whole_files import write_bytes_atomically

_KEYS = ("image_id", "category_id", "bbox", "score")


@dataclasses.dataclass(frozen=True)
class DetectionColumns:
    """N detections by column, in the order in which they were given.

    `image_ids` and `category_ids` are `[N]` int64, `boxes_xywh` `[N, 4]` float64 in
    pixels (left, top, width, height), `scores` `[N]` float64.
    """

    image_ids: np.ndarray
    category_ids: np.ndarray
    boxes_xywh: np.ndarray
    scores: np.ndarray


def batch_results(
    boxes_normalized: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray,
    num_detections: np.ndarray,
    *,
    image_ids: Sequence[int],
    heights_px: Sequence[int],
    widths_px: Sequence[int],
    category_ids: Sequence[int],
) -> list[dict[str, Any]]:
    """Returns a batch of post-processed detections as COCO results.

    What of a box lies outside the image is cut off.

    Args:
        boxes_normalized: `[B, M, 4]`, y_min, x_min, y_max, x_max.
        scores: `[B, M]`.
        classes: `[B, M]`, indices into `category_ids`.
        num_detections: `[B]`, how many of the M are detections; the others are unused.
        image_ids: B ids of the data set.
        heights_px: B heights of the original images.
        widths_px: B widths of the original images.
        category_ids: K ids of the data set by class index.

    Raises:
        ValueError: If shapes differ, a detection is not finite, its corners are in the
            wrong order, or a class has no category.
    """
    boxes = np.asarray(boxes_normalized, np.float64)
    scores, classes = np.asarray(scores, np.float64), np.asarray(classes)
    shape = (len(image_ids), *boxes.shape[1:2])
    for name, values, expected in (
        ("boxes_normalized", boxes, (*shape, 4)),
        ("scores", scores, shape),
        ("classes", classes, shape),
        ("num_detections", num_detections, shape[:1]),
        ("heights_px", heights_px, shape[:1]),
        ("widths_px", widths_px, shape[:1]),
    ):
        given = np.shape(values)
        require(given == expected, f"{list(expected)}", f"{name}.shape", given)
    results: list[dict[str, Any]] = []
    for row, image_id in enumerate(image_ids):
        kept = slice(int(num_detections[row]))
        _check_row(boxes[row, kept], scores[row, kept], image_id)
        _check_classes(classes[row, kept], len(category_ids))
        sides_px = np.array([heights_px[row], widths_px[row]] * 2, np.float64)
        corners = np.clip(boxes[row, kept], 0, 1) * sides_px
        results += [
            {
                "image_id": int(image_id),
                "category_id": int(category_ids[int(index)]),
                "bbox": [x_min, y_min, x_max - x_min, y_max - y_min],
                "score": score,
            }
            for (y_min, x_min, y_max, x_max), score, index in zip(
                corners.tolist(),
                scores[row, kept].tolist(),
                classes[row, kept].tolist(),
                strict=True,
            )
        ]
    return results


def _check_classes(classes: np.ndarray, num_classes: int) -> None:
    is_known = (classes >= 0) & (classes < num_classes) & (classes == np.round(classes))
    if not is_known.all():
        raise ValueError(
            f"classes must be indices into the {num_classes} category_ids. "
            f"Received: {classes[np.argmin(is_known)]}"
        )


def _check_row(boxes: np.ndarray, scores: np.ndarray, image_id: int) -> None:
    """Refuses an image's detections that are not finite or have swapped corners."""
    is_finite = np.isfinite(boxes).all(axis=1) & np.isfinite(scores)
    is_ordered = (boxes[:, 2:] >= boxes[:, :2]).all(axis=1)
    for is_fine, expected in (
        (is_finite, "finite"),
        (is_ordered, "y_min, x_min, y_max, x_max with y_min <= y_max, x_min <= x_max"),
    ):
        if not is_fine.all():
            index = int(np.argmin(is_fine))
            raise ValueError(
                f"boxes_normalized and scores must be {expected}. Received: "
                f"box {boxes[index].tolist()} with score {scores[index]} in the image "
                f"{image_id}"
            )


def write_results(
    path: str | os.PathLike[str], results: Sequence[Mapping[str, Any]]
) -> None:
    """Writes a COCO results file, whole or not at all."""
    text = json.dumps(list(results), allow_nan=False, separators=(",", ":"))
    write_bytes_atomically(path, text.encode() + b"\n")


def read_results(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Reads a COCO results file.

    Raises:
        ValueError: If it is no JSON list of results; names the file and the place.
    """
    results = read_json(path)
    if not isinstance(results, list):
        hint = ""
        if isinstance(results, dict) and "annotations" in results:
            hint = ", which is a file of annotations"
        raise ValueError(
            f"{path} must be a JSON list of results. Received: a JSON value of type "
            f"{type(results).__name__}{hint}"
        )
    to_columns(results, where=str(path))
    return results


def to_columns(
    detections: Sequence[Mapping[str, Any]] | np.ndarray, *, where: str = "detections"
) -> DetectionColumns:
    """Returns detections by column, checked.

    Args:
        detections: COCO results, or an array `[N, 7]` of image id, left, top, width,
            height, score and category id.
        where: Names them in errors.

    Raises:
        ValueError: On another shape, a missing key, or a value that is no number, not
            finite or a negative size.
    """
    if isinstance(detections, np.ndarray):
        columns = _columns_of_array(detections, where)
    else:
        for index, result in enumerate(detections):
            _check_result(result, f"{where}[{index}]")
        columns = DetectionColumns(
            np.array([row["image_id"] for row in detections], np.int64),
            np.array([row["category_id"] for row in detections], np.int64),
            np.array([row["bbox"] for row in detections], np.float64).reshape(-1, 4),
            np.array([row["score"] for row in detections], np.float64),
        )
    boxes, scores = columns.boxes_xywh, columns.scores
    for is_fine, expected, values in (
        (np.isfinite(boxes).all(axis=1), "boxes of finite numbers", boxes),
        (np.isfinite(scores), "finite scores", scores),
        ((boxes[:, 2:] >= 0).all(axis=1), "boxes with sizes of 0 or more", boxes),
    ):
        if not is_fine.all():
            index = int(np.argmin(is_fine))
            raise ValueError(
                f"{where} must have {expected}. Received: {values[index].tolist()} at "
                f"index {index}, in the image {columns.image_ids[index]}"
            )
    return columns


def _columns_of_array(detections: np.ndarray, where: str) -> DetectionColumns:
    is_number = np.issubdtype(detections.dtype, np.number)
    if detections.ndim != 2 or detections.shape[1] != 7 or not is_number:
        raise ValueError(
            f"{where} must be an array of numbers of shape [N, 7]: image id, left, "
            "top, width, height, score, category id. Received: an array of "
            f"{detections.dtype} and shape {detections.shape}"
        )
    ids = detections[:, [0, 6]]
    is_whole = np.isfinite(ids) & (ids == np.round(ids))
    if not is_whole.all():
        raise ValueError(
            f"{where} must have whole numbers as image and category ids. "
            f"Received: {ids[np.argmin(is_whole.all(axis=1))].tolist()}"
        )
    return DetectionColumns(
        ids[:, 0].astype(np.int64),
        ids[:, 1].astype(np.int64),
        detections[:, 1:5].astype(np.float64),
        detections[:, 5].astype(np.float64),
    )


def _check_result(result: Any, where: str) -> None:
    if not isinstance(result, Mapping) or not all(key in result for key in _KEYS):
        got = sorted(result) if isinstance(result, Mapping) else result
        raise ValueError(
            f"{where} must be an object with the keys {', '.join(_KEYS)}. "
            f"Received: {shown(got)}"
        )
    for key in ("image_id", "category_id"):
        check_id(result[key], f"{where}/{key}")
    check_box(result["bbox"], f"{where}/bbox")
    if not _is_real(result["score"]):
        raise ValueError(
            f"{where}/score must be a number. Received: {shown(result['score'])}"
        )


def check_id(value: Any, where: str) -> None:
    """Refuses what is no integer of 64 bits; `where` names it."""
    is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_integer or abs(int(value)) >= 2**63:
        raise ValueError(
            f"{where} must be an integer of 64 bits. Received: {shown(value)}"
        )


def check_box(box: Any, where: str) -> None:
    """Refuses what are not four numbers; `where` names them."""
    is_row = isinstance(box, (list, tuple, np.ndarray)) and len(box) == 4
    if not is_row or not all(map(_is_real, box)):
        raise ValueError(
            f"{where} must be four numbers: left, top, width and height. "
            f"Received: {shown(box)}"
        )


def check_area(area: Any, where: str) -> None:
    """Refuses what is no number, or below 0; `where` names it."""
    if not _is_real(area) or area < 0:
        raise ValueError(
            f"{where} must be a number of 0 or more. Received: {shown(area)}"
        )


def _is_real(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
