"""The exported file of a detector, and what COCO says of it."""

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


def export_and_evaluate(
    run_path: Path,
    data: DetectionData,
    config: ExportConfig,
    postprocess: PostprocessConfig,
) -> tuple[Path, DetectionEvaluation, list[dict[str, Any]]]:
    """Exports the trained detector of a run.

    Args:
        run_path: Folder of a finished training.
        data: Calibration images come from its training; its test images are judged.
        config: How to convert.
        postprocess: What counts as a detection.

    Returns:
        The file, what COCO says of it, and its detections as COCO results.
    """
    from detection.task import file_detector
    from detection.trainer import evaluate_detector
    from export.bundle import export_detector
    from export.detector_file import open_detector_file
    from mobilenas_tf.architecture_source import open_architecture

    config = dataclasses.replace(
        config, calibration_images=min(config.calibration_images, data.num_train)
    )
    path = export_detector(
        run_path,
        data.calibration_images,
        config,
        data_config=data.config,
        command=run_flags.command(),
    )
    detect = file_detector(
        open_detector_file(path), open_architecture(run_path), config=postprocess
    )
    return path, *evaluate_detector(detect, data)
