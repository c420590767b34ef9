"""Detections from the outputs of a network: decoding, scores, non-maximum suppression.

In TensorFlow's own kernels. What a network's outputs are is left to its head; how good
detections are, to the evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from detection.box_coder import decode_boxes
from detection.boxes import clip_boxes
from detection.config import PostprocessConfig
from detection.shapes import check_shape
from mobilenas_tf.detection_spec import ScoreActivation


def score_classes(logits: tf.Tensor, score_activation: ScoreActivation) -> tf.Tensor:
    """Returns the scores `[..., K]` of the foreground classes, in [0, 1].

    Args:
        logits: `[..., K]` for sigmoid, `[..., K + 1]` for softmax, background first.
        score_activation: Of the head.
    """
    if score_activation == "sigmoid":
        return tf.sigmoid(logits)
    return tf.nn.softmax(logits)[..., 1:]


def select_detections(
    outputs: Mapping[str, tf.Tensor],
    anchors: tf.Tensor,
    *,
    score_activation: ScoreActivation,
    config: PostprocessConfig,
) -> dict[str, tf.Tensor]:
    """Returns the detections of a batch, the classes each suppressed on its own.

    In each class the box with the highest score stands, and those of lower scores whose
    IoU with it is above `nms_iou_threshold` fall; then the next that is left. Boxes are
    clipped to the image afterwards. Of all classes' detections those with the highest
    scores come back, highest first. One anchor may be detected as several classes.

    Args:
        outputs: `box_encodings` `[B, A, 4]` and `class_logits`, `[B, A, K]` (sigmoid)
            or `[B, A, K + 1]` (softmax, background first); or, of an exported file,
            `class_scores` `[B, A, K]`.
        anchors: `[A, 4]`, normalised corners.
        score_activation: Of the head.
        config: Thresholds, and the number of detections M.

    Returns:
        `boxes_normalized` `[B, M, 4]`, `scores` `[B, M]`, `classes` `[B, M]` int32,
        `num_detections` `[B]` int32. Beyond `num_detections`, boxes and scores are 0
        and classes -1.
    """
    boxes, scores = _decode(outputs, anchors, score_activation)
    kept = tf.image.combined_non_max_suppression(
        boxes[:, :, None, :],
        scores,
        max_output_size_per_class=config.max_detections,
        max_total_size=config.max_detections,
        iou_threshold=config.nms_iou_threshold,
        score_threshold=config.score_threshold,
        clip_boxes=True,
    )
    return _pad(
        kept.nmsed_boxes, kept.nmsed_scores, kept.nmsed_classes, kept.valid_detections
    )


def select_detections_class_agnostic(
    outputs: Mapping[str, tf.Tensor],
    anchors: tf.Tensor,
    *,
    score_activation: ScoreActivation,
    config: PostprocessConfig,
) -> dict[str, tf.Tensor]:
    """Returns the detections of a batch, suppressed without regard to their classes.

    Each anchor has its best class only, and a box falls to any better one. This is what
    `TFLite_Detection_PostProcess` does unless told to use its regular suppression:
    quick, and somewhat worse where objects of different classes overlap.

    Differs: the operator does not clip boxes.

    Args and results are those of `select_detections`.
    """
    boxes, scores = _decode(outputs, anchors, score_activation)
    best_scores = tf.reduce_max(scores, axis=-1)

    def suppress(image: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.image.non_max_suppression_padded(
            *image,
            max_output_size=config.max_detections,
            iou_threshold=config.nms_iou_threshold,
            score_threshold=config.score_threshold,
            pad_to_max_output_size=True,
        )

    indices, num_detections = tf.map_fn(
        suppress, (boxes, best_scores), fn_output_signature=(tf.int32, tf.int32)
    )
    indices = tf.ensure_shape(indices, (None, config.max_detections))
    return _pad(
        clip_boxes(tf.gather(boxes, indices, batch_dims=1)),
        tf.gather(best_scores, indices, batch_dims=1),
        tf.gather(tf.argmax(scores, axis=-1), indices, batch_dims=1),
        num_detections,
    )


def _decode(
    outputs: Mapping[str, tf.Tensor],
    anchors: tf.Tensor,
    score_activation: ScoreActivation,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns boxes `[B, A, 4]`, not clipped, and scores `[B, A, K]`."""
    encodings = outputs["box_encodings"]
    check_shape(anchors, (None, 4), "anchors")
    check_shape(encodings, (None, anchors.shape[0], 4), "box_encodings")
    name = "class_scores" if "class_scores" in outputs else "class_logits"
    check_shape(outputs[name], (None, anchors.shape[0], None), name)
    scores = outputs[name]
    if name == "class_logits":
        scores = score_classes(scores, score_activation)
    return decode_boxes(encodings, anchors), scores


def _pad(
    boxes: tf.Tensor, scores: tf.Tensor, classes: tf.Tensor, num_detections: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Returns the detections with the places beyond their number blanked."""
    is_detection = tf.sequence_mask(num_detections, scores.shape[1])
    return {
        "boxes_normalized": tf.where(is_detection[..., None], boxes, 0.0),
        "scores": tf.where(is_detection, scores, 0.0),
        "classes": tf.where(is_detection, tf.cast(classes, tf.int32), -1),
        "num_detections": num_detections,
    }
