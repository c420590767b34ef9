"""What an evaluation leaves in a folder: numbers, detections and a contact sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from detection.coco_eval import DetectionEvaluation
from detection.coco_results import write_results
from detection.data import DetectionData
from detection.evaluation_document import DOCUMENT_FILE, evaluation_document
from detection.pictures import CELL_PX, CONTACT_SHEET_FILE, write_contact_sheet
from mobilenas_tf.json_io import write_json

RESULTS_FILE = "coco_results.json"
_SHOWN_IMAGES = 9
# Without a suggested threshold nothing was found: nothing would be drawn either.
_ANY_SCORE = 0.0


def write_evaluation(
    folder: Path,
    evaluation: DetectionEvaluation,
    results: list[dict[str, Any]],
    data: DetectionData,
) -> None:
    """Writes the evaluation of the test images.

    `detection_evaluation.json` is the numbers, `coco_results.json` the detections as
    COCO has them, `contact_sheet.jpg` the first images with the detections above the
    suggested score threshold.
    """
    write_json(folder / DOCUMENT_FILE, evaluation_document(evaluation))
    write_results(folder / RESULTS_FILE, results)
    shown = data.test_split.scenes[:_SHOWN_IMAGES]
    ids = {scene.image_id for scene in shown}
    truth = data.ground_truth("test")
    threshold = evaluation.threshold
    write_contact_sheet(
        folder / CONTACT_SHEET_FILE,
        # At its own size a photo may be larger than is decoded.
        {scene.image_id: scene.read_pixels(CELL_PX) for scene in shown},
        {
            **truth,
            "images": [image for image in truth["images"] if image["id"] in ids],
            "annotations": [a for a in truth["annotations"] if a["image_id"] in ids],
        },
        [result for result in results if result["image_id"] in ids],
        min_score=threshold.score if threshold else _ANY_SCORE,
    )
