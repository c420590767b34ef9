"""Detections against a ground truth, in the numbers that COCO uses.

How detections are written is left to `coco_results`, the score threshold to
`score_threshold`, and what it looks like to the report and to `pictures`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import faster_coco_eval
import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detection.coco_results import DetectionColumns, to_columns
from detection.evaluation_truth import check_ground_truth, check_same_set
from detection.score_threshold import ScoreThreshold, suggest_threshold

Backend = Literal["faster-coco-eval", "pycocotools"]
DEFAULT_BACKEND: Backend = "faster-coco-eval"
NUM_RECALLS = 101
_ALL, _SMALL, _MEDIUM, _LARGE = range(4)  # COCO's order of areas
_MAX_1, _MAX_10, _MAX_100 = range(3)  # and of the numbers of detections
_IOU_50, _IOU_75 = 0, 5  # of 0.50, 0.55 ... 0.95
_EVERY = slice(None)
# Each number is the mean over some of precision's or recall's IoU, area and count.
_PRECISIONS = {
    "ap": (_EVERY, _ALL),
    "ap50": (_IOU_50, _ALL),
    "ap75": (_IOU_75, _ALL),
    "ap_small": (_EVERY, _SMALL),
    "ap_medium": (_EVERY, _MEDIUM),
    "ap_large": (_EVERY, _LARGE),
}
_RECALLS = {
    "ar1": (_ALL, _MAX_1),
    "ar10": (_ALL, _MAX_10),
    "ar100": (_ALL, _MAX_100),
    "ar_small": (_SMALL, _MAX_100),
    "ar_medium": (_MEDIUM, _MAX_100),
    "ar_large": (_LARGE, _MAX_100),
}
METRICS = (*_PRECISIONS, *_RECALLS)


@dataclasses.dataclass(frozen=True)
class PrecisionCurve:
    """Precision at the recalls 0, 0.01 ... 1, as COCO interpolates it.

    That is the highest precision at this recall or a higher one, 0 where it is not
    reached. `mean` is that of the IoUs 0.50, 0.55 ... 0.95.
    """

    iou50: tuple[float, ...]
    mean: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class DetectionEvaluation:
    """What COCO says of a detector.

    Metrics are by name (`METRICS`): average precision over the IoUs 0.50 to 0.95, at
    IoU 0.50 and 0.75, and of small (below 32x32 px), medium and large objects (above
    96x96 px); average recall with 1, 10 and 100 detections of a class in an image, and
    of small, medium and large objects. None stands where there is nothing to find.

    Attributes:
        metrics: The twelve numbers, means over the classes that have objects.
        metrics_by_class: The same of each class alone, by its name.
        curve: Mean over the classes that have objects; None if none has.
        curves_by_class: Those of the classes that have objects.
        threshold: Suggested score threshold; None if nothing was found.
        num_images: How many images were looked at.
        num_objects_by_class: How many objects there are to find (no crowds).
        num_detections: How many detections were given.
        backend: What counted.
    """

    metrics: Mapping[str, float | None]
    metrics_by_class: Mapping[str, Mapping[str, float | None]]
    curve: PrecisionCurve | None
    curves_by_class: Mapping[str, PrecisionCurve]
    threshold: ScoreThreshold | None
    num_images: int
    num_objects_by_class: Mapping[str, int]
    num_detections: int
    backend: str


def evaluate_detections(
    ground_truth: Mapping[str, Any],
    detections: Sequence[Mapping[str, Any]] | np.ndarray,
    *,
    backend: Backend = DEFAULT_BACKEND,
) -> DetectionEvaluation:
    """Returns how good detections are. What comes in is not changed.

    Differs: pycocotools takes an annotation with the id 0 for a missed one, and fails
    without detections. Here annotations are numbered anew, and every number of a class
    without detections is 0.

    Args:
        ground_truth: `images`, `annotations` and `categories` of a COCO file. An
            annotation without `area` has that of its box, one without `iscrowd` is no
            crowd; `ignore` is not looked at, as pycocotools does not either.
        detections: COCO results, or an array `[N, 7]` of image id, left, top, width,
            height, score and category id; boxes in pixels of the original images.
        backend: `pycocotools` is the reference, `faster-coco-eval` as good and quicker.

    Raises:
        ValueError: If either is malformed, or the detections are of other images or
            categories.
    """
    if backend not in _BACKENDS:
        raise ValueError(
            f"backend must be one of {', '.join(_BACKENDS)}. "
            f"Received: backend={backend!r}"
        )
    truth = check_ground_truth(ground_truth)
    columns = to_columns(detections)
    check_same_set(truth, columns)
    precision, recall = _BACKENDS[backend](
        truth.coco_document(), _result_annotations(columns)
    )
    names = list(truth.category_names.values())
    num_objects = truth.count_objects()
    found = [index for index, name in enumerate(names) if num_objects[name]]
    return DetectionEvaluation(
        metrics=_numbers(precision, recall),
        metrics_by_class={
            name: _numbers(precision[:, :, [index]], recall[:, [index]])
            for index, name in enumerate(names)
        },
        curve=_curve(precision[:, :, found]) if found else None,
        curves_by_class={
            names[index]: _curve(precision[:, :, [index]]) for index in found
        },
        threshold=suggest_threshold(truth, columns),
        num_images=len(truth.image_ids),
        num_objects_by_class=num_objects,
        num_detections=len(columns.scores),
        backend=backend,
    )


def _result_annotations(columns: DetectionColumns) -> list[dict[str, Any]]:
    """Returns detections as both backends keep them inside."""
    return [
        {
            "id": index,
            "image_id": image_id,
            "category_id": category_id,
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": 0,
            "score": score,
        }
        for index, (image_id, category_id, box, score) in enumerate(
            zip(
                columns.image_ids.tolist(),
                columns.category_ids.tolist(),
                columns.boxes_xywh.tolist(),
                columns.scores.tolist(),
                strict=True,
            ),
            start=1,
        )
    ]


def _run_pycocotools(
    document: dict[str, Any], results: list[dict[str, Any]]
) -> tuple[np.ndarray, np.ndarray]:
    with contextlib.redirect_stdout(io.StringIO()):
        truth, detections = (
            _index({**document, "annotations": annotations})
            for annotations in (document["annotations"], results)
        )
        evaluator = COCOeval(truth, detections, "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator.eval["precision"], evaluator.eval["recall"]


def _index(document: dict[str, Any]) -> COCO:
    """Returns a document as pycocotools holds it.

    Its own way for detections, `loadRes`, refuses an empty list and changes the others.
    """
    indexed: Any = COCO()
    indexed.dataset = document
    indexed.createIndex()
    return indexed


def _run_faster_coco_eval(
    document: dict[str, Any], results: list[dict[str, Any]]
) -> tuple[np.ndarray, np.ndarray]:
    truth, detections = (
        faster_coco_eval.COCO({**document, "annotations": annotations})
        for annotations in (document["annotations"], results)
    )
    evaluator = faster_coco_eval.COCOeval_faster(
        truth, detections, "bbox", print_function=_say_nothing
    )
    evaluator.evaluate()
    evaluator.accumulate()
    return evaluator.eval["precision"], evaluator.eval["recall"]


def _say_nothing(*_: object) -> None:
    pass


# Each returns precision [IoU, recall, class, area, count] and recall without recall;
# -1 where there is nothing to find.
_BACKENDS: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
    "faster-coco-eval": _run_faster_coco_eval,
    "pycocotools": _run_pycocotools,
}


def _numbers(precision: np.ndarray, recall: np.ndarray) -> dict[str, float | None]:
    """Returns COCO's numbers over the classes in precision and recall."""
    precisions = {
        name: _mean(precision[iou, :, :, area, _MAX_100])
        for name, (iou, area) in _PRECISIONS.items()
    }
    recalls = {
        name: _mean(recall[:, :, area, count])
        for name, (area, count) in _RECALLS.items()
    }
    return {**precisions, **recalls}


def _mean(values: np.ndarray) -> float | None:
    known = values[values > -1]
    return float(known.mean()) if known.size else None


def _curve(precision: np.ndarray) -> PrecisionCurve:
    """Returns the mean over the given classes, which all have objects."""
    by_iou = precision[:, :, :, _ALL, _MAX_100].mean(axis=2)
    return PrecisionCurve(
        tuple(by_iou[_IOU_50].tolist()), tuple(by_iou.mean(0).tolist())
    )
