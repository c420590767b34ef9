"""Training and evaluating one detector in a run folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from detection.coco_eval import DetectionEvaluation, evaluate_detections
from detection.config import DetectionLossConfig, PostprocessConfig
from detection.data import DetectionData
from detection.task import (
    Detect,
    collect_results,
    detection_task,
    network_detector,
)
from mobilenas_tf.spec import Architecture
from mobilenas_tf.training.config import OptimizerConfig, TrainingConfig
from mobilenas_tf.training.fit import train_network
from mobilenas_tf.training.run_dir import RunDir


def train_detector(
    detector: Architecture,
    data: DetectionData,
    run: RunDir,
    *,
    loss: DetectionLossConfig,
    postprocess: PostprocessConfig,
    optimizer: OptimizerConfig,
    training: TrainingConfig,
    initialize: Callable[[keras.Model], None] | None = None,
) -> keras.Model:
    """Trains a detector; see `train_network`."""
    return train_network(
        detector,
        detection_task(detector, data, loss=loss, postprocess=postprocess),
        data,
        run,
        optimizer=optimizer,
        training=training,
        initialize=initialize,
    )


def evaluate_network(
    network: keras.Model,
    detector: Architecture,
    data: DetectionData,
    postprocess: PostprocessConfig,
) -> tuple[DetectionEvaluation, list[dict[str, Any]]]:
    """Returns what COCO says of a network on the test images, and its detections."""
    detect = network_detector(network, detector, config=postprocess)
    return evaluate_detector(detect, data)


def evaluate_detector(
    detect: Detect, data: DetectionData
) -> tuple[DetectionEvaluation, list[dict[str, Any]]]:
    """Returns what COCO says of the detections on the test images, and these."""
    results = collect_results(detect, data, "test")
    return evaluate_detections(data.ground_truth("test"), results), results
