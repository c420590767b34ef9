"""An evaluation as plain JSON: what the report shows, and other tools may read."""

from __future__ import annotations

from typing import Any

from detection.coco_eval import NUM_RECALLS, DetectionEvaluation, PrecisionCurve

DOCUMENT_FILE = "detection_evaluation.json"
_CURVE_DECIMALS = 6


def evaluation_document(evaluation: DetectionEvaluation) -> dict[str, Any]:
    """Returns an evaluation as JSON values; see `DetectionEvaluation` for what is what.

    `classes` has a row for each class: its name under `class`, `num_objects`, and the
    twelve numbers. `curves` are precisions over `recalls`: under `all` and by class
    name under `by_class`, each with `iou50` and `mean`.
    """
    threshold = evaluation.threshold
    return {
        "backend": evaluation.backend,
        "num_images": evaluation.num_images,
        "num_detections": evaluation.num_detections,
        "metrics": dict(evaluation.metrics),
        "threshold": threshold
        and {
            "score": threshold.score,
            "f1": threshold.f1,
            "precision": threshold.precision,
            "recall": threshold.recall,
        },
        "classes": [
            {
                "class": name,
                "num_objects": evaluation.num_objects_by_class[name],
                **metrics,
            }
            for name, metrics in evaluation.metrics_by_class.items()
        ],
        "recalls": [index / (NUM_RECALLS - 1) for index in range(NUM_RECALLS)],
        "curves": {
            "all": evaluation.curve and _plain_curve(evaluation.curve),
            "by_class": {
                name: _plain_curve(curve)
                for name, curve in evaluation.curves_by_class.items()
            },
        },
    }


def _plain_curve(curve: PrecisionCurve) -> dict[str, list[float]]:
    return {
        "iou50": [round(value, _CURVE_DECIMALS) for value in curve.iou50],
        "mean": [round(value, _CURVE_DECIMALS) for value in curve.mean],
    }
