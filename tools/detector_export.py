"""The bundle of a detector, and what COCO says of its file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.config import ExportConfig
from tools import run_flags

if TYPE_CHECKING:
    from detection.coco_eval import DetectionEvaluation
    from detection.config import PostprocessConfig
    from detection.data import DetectionData
    from export.bundle import ExportedFile
    from export.conversion import FineTuned


def export_and_evaluate(
    run_path: Path,
    data: DetectionData,
    config: ExportConfig,
    postprocess: PostprocessConfig,
    *,
    float_ap: float | None,
    fine_tuned: FineTuned | None = None,
) -> tuple[ExportedFile, DetectionEvaluation, list[dict[str, Any]]]:
    """Exports the trained detector of a run.

    Args:
        run_path: Folder of a finished training.
        data: Calibration images come from its training; its test images are judged.
        config: How to convert.
        postprocess: What counts as a detection.
        float_ap: mAP of the network itself on the test images, in [0, 1].
        fine_tuned: Makes the file of `int8_qat`.

    Returns:
        The file, what COCO says of it, and its detections as COCO results.

    Raises:
        ValueError: If the file loses more mAP than it may.
    """
    from detection.boxes import corners_to_centers
    from detection.heads import detector_anchors, detector_head
    from detection.task import file_detector
    from detection.trainer import evaluate_detector
    from export.bundle import check_drop, write_bundle
    from export.bundle_facts import BundleFacts
    from export.detector_conversion import (
        BoxPostprocess,
        convert_detector,
        detector_kind,
    )
    from export.detector_file import open_detector_file
    from mobilenas_tf.models.layer_set import STOCK
    from mobilenas_tf.models.network_io import load_network

    detector, network = load_network(run_path, layer_set=STOCK)
    config = dataclasses.replace(
        config, calibration_images=min(config.calibration_images, data.num_train)
    )
    boxes = BoxPostprocess(
        corners_to_centers(detector_anchors(detector)).numpy(),
        detector_head(detector).score_activation,
        **dataclasses.asdict(postprocess),
    )
    content = convert_detector(
        network,
        config,
        data.calibration_images,
        boxes,
        class_names=data.class_names,
        fine_tuned=fine_tuned,
    )
    detect = file_detector(open_detector_file(content), detector, config=postprocess)
    evaluation, results = evaluate_detector(detect, data)
    parity = {
        "num_images": data.num_test,
        "keras_ap": float_ap or 0.0,
        "tflite_ap": evaluation.metrics["ap"] or 0.0,
    }
    parity["ap_drop_points"] = 100 * (parity["keras_ap"] - parity["tflite_ap"])
    check_drop(config, parity["ap_drop_points"])
    kind = detector_kind(config)
    facts = BundleFacts(
        kind,
        config,
        detector,
        tuple(data.class_names),
        data_config=data.config,
        parity=parity,
        decoding=boxes.to_json(config) if kind == "raw_detector" else None,
        detections=dataclasses.asdict(postprocess) if kind == "detector" else None,
    )
    file = write_bundle(run_path, content, facts, command=run_flags.command())
    return file, evaluation, results
