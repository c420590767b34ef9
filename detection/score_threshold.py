"""Which score a detection should have to be shown."""

from __future__ import annotations

import dataclasses

import numpy as np
from pycocotools import mask

from detection.coco_results import DetectionColumns
from detection.evaluation_truth import GroundTruth

_MIN_IOU = 0.5
_MAX_DETECTIONS = 100  # of a class in an image, as COCO counts
_WRONG, _RIGHT, _NEITHER = 0, 1, 2


@dataclasses.dataclass(frozen=True)
class ScoreThreshold:
    """A detection is kept if its score is at least `score`.

    `precision`, `recall` and `f1` are what the kept detections of all classes together
    reach at IoU 0.5.
    """

    score: float
    precision: float
    recall: float
    f1: float


def suggest_threshold(
    truth: GroundTruth, columns: DetectionColumns
) -> ScoreThreshold | None:
    """Returns the threshold of the best F1 at IoU 0.5, or None if nothing is found.

    One threshold is for all classes, whose detections and objects are counted together:
    a frequent class weighs more. Detections are matched as COCO does: best score first,
    each with the free object of its class that it overlaps most; what covers a crowd is
    neither right nor wrong. Of thresholds with equal F1 it is the highest.
    """
    num_objects = int(np.count_nonzero(~truth.is_crowd))
    outcomes = match_detections(truth, columns)
    is_counted = outcomes != _NEITHER
    scores = columns.scores[is_counted]
    order = np.argsort(-scores, kind="stable")
    is_right = outcomes[is_counted][order] == _RIGHT
    if not num_objects or not is_right.any():
        return None
    scores = scores[order]
    # A threshold keeps all detections of one score or none.
    ends = np.flatnonzero(np.append(scores[:-1] != scores[1:], True))
    num_right, num_kept = np.cumsum(is_right)[ends], ends + 1
    f1 = 2 * num_right / (num_kept + num_objects)
    best = int(np.argmax(f1))
    return ScoreThreshold(
        score=float(scores[ends[best]]),
        precision=float(num_right[best] / num_kept[best]),
        recall=float(num_right[best] / num_objects),
        f1=float(f1[best]),
    )


def match_detections(truth: GroundTruth, columns: DetectionColumns) -> np.ndarray:
    """Returns `[N]`: 1 for a right detection, 0 for a wrong one, 2 for neither.

    Neither are those that match a crowd, and those of a class in an image beyond the
    100 of the highest scores.
    """
    outcomes = np.full(len(columns.scores), _WRONG)
    objects: dict[tuple[int, int], list[int]] = {}
    box_keys = zip(
        truth.box_image_ids.tolist(), truth.box_category_ids.tolist(), strict=True
    )
    for index, key in enumerate(box_keys):
        objects.setdefault(key, []).append(index)
    # Each image's detections of a class together, best score first.
    order = np.lexsort((-columns.scores, columns.category_ids, columns.image_ids))
    images, categories = columns.image_ids[order], columns.category_ids[order]
    is_new = (images[1:] != images[:-1]) | (categories[1:] != categories[:-1])
    starts = np.flatnonzero(np.append(True, is_new)[: len(order)])
    sizes = np.diff(np.append(starts, len(order)))
    rank = np.arange(len(order)) - np.repeat(starts, sizes)
    outcomes[order[rank >= _MAX_DETECTIONS]] = _NEITHER
    keys = zip(images[starts].tolist(), categories[starts].tolist(), strict=True)
    for start, size, key in zip(starts.tolist(), sizes.tolist(), keys, strict=True):
        if key not in objects:
            continue
        group = order[start : start + min(size, _MAX_DETECTIONS)]
        # Objects come before crowds, which take what no object takes.
        candidates = sorted(objects[key], key=truth.is_crowd.__getitem__)
        outcomes[group] = _match_group(
            columns.boxes_xywh[group],
            truth.boxes_xywh[candidates],
            truth.is_crowd[candidates],
        )
    return outcomes


def _match_group(
    boxes: np.ndarray, objects: np.ndarray, is_crowd: np.ndarray
) -> np.ndarray:
    """Returns the outcomes of one class's detections in an image, best score first.

    Args:
        boxes: `[D, 4]` left, top, width, height.
        objects: `[G, 4]`, crowds last.
        is_crowd: `[G]`. The IoU with a crowd is the share of the detection in it.
    """
    ious = mask.iou(boxes, objects, is_crowd.astype(np.uint8).tolist())
    is_free = np.ones(len(objects), bool)
    outcomes = np.full(len(boxes), _WRONG)
    for index, row in enumerate(ious):
        for is_kind, outcome in ((~is_crowd, _RIGHT), (is_crowd, _NEITHER)):
            possible = np.where(is_kind & is_free, row, -1.0)
            # Of equal ones the last, as COCO takes.
            best = len(possible) - 1 - int(np.argmax(possible[::-1]))
            if possible[best] >= _MIN_IOU:
                outcomes[index] = outcome
                is_free[best] = outcome == _NEITHER
                break
    return outcomes
