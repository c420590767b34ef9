"""Boxes as offsets from anchors, what the network predicts, and back.

With centres and sizes (y, x, h, w) of a box and (y_a, x_a, h_a, w_a) of its anchor:

    t_y = 10 (y - y_a) / h_a    t_x = 10 (x - x_a) / w_a
    t_h = 5 log(h / h_a)        t_w = 5 log(w / w_a)

Source: Ren et al., Faster R-CNN, arXiv:1506.01497, equation 2; the factors are those of
its code, and of SSD's (there as variances 0.1 and 0.2).
"""

from __future__ import annotations

import math

import tensorflow as tf
from keras import ops

from detection.boxes import centers_to_corners, corners_to_centers

CENTER_SCALE = 10.0
SIZE_SCALE = 5.0

MIN_SIDE = 1e-8
"""Shorter sides of a box are encoded as this one (faster_rcnn_box_coder.py of the
TensorFlow Object Detection API)."""

MAX_LOG_SIZE = math.log(1000.0 / 16)
"""Decoded sides end at 62.5 times the anchor's, beyond any image (Detectron's
BBOX_XFORM_CLIP), so that an untrained network cannot make them infinite."""


def encode_boxes(boxes: tf.Tensor, anchors: tf.Tensor) -> tf.Tensor:
    """Returns encodings `[t_y, t_x, t_h, t_w]`, `[..., A, 4]`, of one box an anchor.

    Args:
        boxes: `[..., A, 4]`, corners. Of no area they have encodings far off, but
            finite ones.
        anchors: `[A, 4]`, corners, with sides above 0.
    """
    boxes = corners_to_centers(boxes)
    anchors = corners_to_centers(ops.convert_to_tensor(anchors, dtype=boxes.dtype))
    anchor_sizes = anchors[..., 2:]
    offsets = (boxes[..., :2] - anchors[..., :2]) / anchor_sizes
    sizes = ops.log(ops.maximum(boxes[..., 2:], MIN_SIDE) / anchor_sizes)
    return ops.concatenate([CENTER_SCALE * offsets, SIZE_SCALE * sizes], axis=-1)


def decode_boxes(encodings: tf.Tensor, anchors: tf.Tensor) -> tf.Tensor:
    """Returns the corner boxes `[..., A, 4]` that the encodings stand for, not clipped.

    Args:
        encodings: `[..., A, 4]`. A t_h or t_w above `5 MAX_LOG_SIZE` counts as that.
        anchors: `[A, 4]`, corners.
    """
    encodings = ops.convert_to_tensor(encodings)
    anchors = corners_to_centers(ops.convert_to_tensor(anchors, dtype=encodings.dtype))
    anchor_sizes = anchors[..., 2:]
    centers = encodings[..., :2] / CENTER_SCALE * anchor_sizes + anchors[..., :2]
    log_sizes = ops.minimum(encodings[..., 2:] / SIZE_SCALE, MAX_LOG_SIZE)
    sizes = ops.exp(log_sizes) * anchor_sizes
    return centers_to_corners(ops.concatenate([centers, sizes], axis=-1))
