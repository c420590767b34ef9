"""Random COCO documents with detections that meet every special case."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

CATEGORY_IDS = (3, 7, 18, 44, 90)
NEVER_DETECTED, NEVER_THERE = 44, 90


def make_scenes(seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns ground truth and results of 12 images.

    Image 5 has no objects, 6 no detections, 7 neither; class 44 is never detected, 90
    never there. There are crowds, equal scores, the same detection twice, and 120
    detections of class 3 in image 1.
    """
    rng = np.random.default_rng(seed)
    annotations, results = [], []
    for image_id in range(1, 13):
        boxes, classes = _random_boxes(rng, rng.integers(4, 10))
        for box, category_id in zip(boxes, classes, strict=True):
            is_crowd = rng.random() < 0.15
            if image_id not in (5, 7) and category_id != NEVER_THERE:
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image_id,
                        "category_id": int(category_id),
                        "bbox": box.tolist(),
                        # Less than the box, as of a segmentation.
                        "area": float(box[2] * box[3] * rng.uniform(0.6, 1.0)),
                        "iscrowd": int(is_crowd),
                    }
                )
            near = box + rng.normal(0, 0.08, (4, 4)) * box[[2, 3, 2, 3]]
            near[:, 2:] = np.maximum(near[:, 2:], 1.0)
            for other in near[: rng.integers(0, 5)]:
                wrong = int(rng.choice(CATEGORY_IDS))
                named = wrong if rng.random() < 0.2 else int(category_id)
                results.append(_result(rng, image_id, named, other))
        noise, classes = _random_boxes(rng, 120 if image_id == 1 else 5)
        for box, category_id in zip(noise, classes, strict=True):
            named = 3 if image_id == 1 else int(category_id)
            results.append(_result(rng, image_id, named, box))
    results = [
        row
        for row in results
        if row["image_id"] not in (6, 7) and row["category_id"] != NEVER_DETECTED
    ]
    results += [dict(row) for row in results[::9]]
    document = {
        "images": [{"id": image_id} for image_id in range(1, 13)],
        "annotations": annotations,
        "categories": [{"id": key, "name": f"class {key}"} for key in CATEGORY_IDS],
    }
    return document, results


def _random_boxes(rng: np.random.Generator, count: int) -> tuple[Any, Any]:
    corners = rng.uniform(0, 300, (count, 2))
    sides = np.exp(rng.uniform(np.log(8), np.log(200), (count, 2)))
    return np.hstack([corners, sides]), rng.choice(CATEGORY_IDS, count)


def _result(
    rng: np.random.Generator, image_id: int, category_id: int, box: np.ndarray
) -> dict[str, Any]:
    score = round(float(rng.random()), 1 if rng.random() < 0.5 else 4)
    return {
        "image_id": image_id,
        "category_id": category_id,
        "bbox": box.tolist(),
        "score": score,
    }


def run_reference(
    document: dict[str, Any], results: list[dict[str, Any]], **params: Any
) -> COCOeval:
    """Returns pycocotools' evaluation, made as its own examples do it."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = document
        truth.createIndex()
        detections = truth.loadRes([dict(row) for row in results])
        evaluator = COCOeval(truth, detections, "bbox")
        for name, value in params.items():
            setattr(evaluator.params, name, value)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator
