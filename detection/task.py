"""Detection as a task: its loss, a network's detections, and its mean precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from detection.coco_eval import evaluate_detections
from detection.coco_results import batch_results
from detection.config import DetectionLossConfig, PostprocessConfig
from detection.data import DetectionData, EvaluationSplit
from detection.heads import detector_anchors, detector_head
from detection.losses import detection_loss
from detection.postprocess import select_detections
from detection.targets import assign_targets
from mobilenas_tf.spec import Architecture
from mobilenas_tf.training.task import Objective, Task

Tensors = Mapping[str, Any]
# Images [B, S, S, 3] in [-1, 1] to what `select_detections` returns.
Detect = Callable[[Any], Tensors]


def detection_task(
    detector: Architecture,
    data: DetectionData,
    *,
    loss: DetectionLossConfig,
    postprocess: PostprocessConfig,
) -> Task:
    """Returns the task of finding the data's objects.

    Args:
        detector: A detector, or the largest one of a space: their anchors are the same.
        data: Its validation images are what networks are judged by.
        loss: Of training.
        postprocess: Of evaluation.
    """
    truth = data.ground_truth("validation")

    def evaluator(network: keras.Model) -> Callable[[], dict[str, float]]:
        detect = network_detector(network, detector, config=postprocess)

        def evaluate() -> dict[str, float]:
            results = collect_results(detect, data, "validation")
            metrics = evaluate_detections(truth, results).metrics
            return {
                "validation_ap": metrics["ap"] or 0.0,
                "validation_ap50": metrics["ap50"] or 0.0,
            }

        return evaluate

    return Task(
        detection_objective(detector, config=loss),
        evaluator,
        score="validation_ap",
    )


def detection_objective(
    detector: Architecture, *, config: DetectionLossConfig
) -> Objective:
    """Returns the loss of batches `(images, targets)` of `DetectionData`.

    Args:
        detector: As of `detection_task`.
        config: Of the loss.
    """
    anchors = detector_anchors(detector)
    score_activation = detector_head(detector).score_activation

    def loss(
        outputs: Tensors, targets: Tensors
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        assigned = assign_targets(targets, tf.constant(anchors), config=config)
        return detection_loss(
            outputs, assigned, score_activation=score_activation, config=config
        )

    return Objective(loss, ("class_loss", "box_loss"))


def network_detector(
    network: keras.Model, detector: Architecture, *, config: PostprocessConfig
) -> Detect:
    """Returns a compiled function of images to detections.

    Make it once for a network: each call of this function traces anew.

    Args:
        network: A network or supernet.
        detector: As of `detection_task`.
        config: Thresholds, and the number of detections.
    """
    select = _selector(detector, config)
    size_px = detector.image_size_px

    @tf.function(
        input_signature=[tf.TensorSpec([None, size_px, size_px, 3], tf.float32)]
    )
    def detect(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return select(network(images, training=False))

    return detect.get_concrete_function()


def file_detector(
    outputs_of: Callable[[np.ndarray], Tensors],
    detector: Architecture,
    *,
    config: PostprocessConfig,
) -> Detect:
    """Returns a function of images to detections, of an exported network.

    Args:
        outputs_of: Images `[B, S, S, 3]` in [-1, 1] to the outputs of the file; they
            may be detections already.
        detector: What was exported.
        config: Thresholds, and the number of detections; a file that gives detections
            has its own.
    """
    select = tf.function(_selector(detector, config), reduce_retracing=True)

    def detect(images: Any) -> Tensors:
        outputs = outputs_of(np.asarray(images))
        if "num_detections" in outputs:
            return outputs
        return select({name: tf.constant(x) for name, x in outputs.items()})

    return detect


def _selector(
    detector: Architecture, config: PostprocessConfig
) -> Callable[[Tensors], dict[str, tf.Tensor]]:
    """Returns the function of a detector's outputs to detections."""
    anchors = detector_anchors(detector)
    score_activation = detector_head(detector).score_activation
    return lambda outputs: select_detections(
        outputs,
        tf.constant(anchors),
        score_activation=score_activation,
        config=config,
    )


def collect_results(
    detect: Detect, data: DetectionData, split: EvaluationSplit
) -> list[dict[str, Any]]:
    """Returns the detections on all images of a split as COCO results."""
    batches = data.validation() if split == "validation" else data.test()
    image_ids = data.image_ids(split).tolist()
    sizes = data.image_sizes(split).tolist()
    results: list[dict[str, Any]] = []
    start = 0
    for images, _ in batches:
        found = {name: np.asarray(x) for name, x in detect(images).items()}
        rows = slice(start, start + len(images))
        start += len(images)
        results += batch_results(
            found["boxes_normalized"],
            found["scores"],
            found["classes"],
            found["num_detections"],
            image_ids=image_ids[rows],
            heights_px=[height for height, _ in sizes[rows]],
            widths_px=[width for _, width in sizes[rows]],
            category_ids=data.category_ids,
        )
    return results
