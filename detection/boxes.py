"""Areas and overlaps of boxes, as pure functions on `keras.ops`.

Boxes are corners `[y_min, x_min, y_max, x_max]` in any unit. Which box belongs to which
anchor is left to `matcher`, encodings to `box_coder`.
"""

from __future__ import annotations

import tensorflow as tf
from keras import ops

MIN_AREA = 1e-12
"""A box of a smaller area has none: ratios to it are 0. In normalised boxes it is the
square of a millionth of the image's side; below, gradients would leave float32."""


def area(boxes: tf.Tensor) -> tf.Tensor:
    """Returns the areas `[...]` of boxes `[..., 4]`; 0 where a side is negative."""
    boxes = ops.convert_to_tensor(boxes)
    sides = ops.maximum(boxes[..., 2:] - boxes[..., :2], 0.0)
    return sides[..., 0] * sides[..., 1]


def intersection(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Returns the area `[..., M, N]` that each of `boxes` shares with each of `others`.

    Args:
        boxes: `[..., M, 4]`.
        others: `[..., N, 4]`; leading axes broadcast.
    """
    boxes, others = ops.convert_to_tensor(boxes), ops.convert_to_tensor(others)
    heights = _shared_length(boxes[..., 0::2], others[..., 0::2])
    widths = _shared_length(boxes[..., 1::2], others[..., 1::2])
    return heights * widths


def iou(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Returns intersection over union `[..., M, N]`, in [0, 1].

    Two boxes of no area have 0, also where they are the same. Value and gradient are
    finite for all finite boxes.

    Args:
        boxes: `[..., M, 4]`.
        others: `[..., N, 4]`; leading axes broadcast.
    """
    shared = intersection(boxes, others)
    union = area(boxes)[..., :, None] + area(others)[..., None, :] - shared
    return _ratio(shared, union)


def coverage(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Returns the share `[..., M, N]` of each of `boxes` that lies in each of `others`.

    It is intersection over the area of the first box, in [0, 1]; 0 for a first box of
    no area. COCO compares detections with crowds this way.

    Args:
        boxes: `[..., M, 4]`.
        others: `[..., N, 4]`; leading axes broadcast.
    """
    return _ratio(intersection(boxes, others), area(boxes)[..., :, None])


def clip_boxes(
    boxes: tf.Tensor, *, height: float = 1.0, width: float = 1.0
) -> tf.Tensor:
    """Returns boxes `[..., 4]` with their corners moved into the image.

    Args:
        boxes: `[..., 4]`. One outside the image becomes a box of no area on its border.
        height: Of the image, in the boxes' unit; the default is for normalised boxes.
        width: Likewise.
    """
    boxes = ops.convert_to_tensor(boxes)
    limits = ops.convert_to_tensor((height, width, height, width), dtype=boxes.dtype)
    return ops.minimum(ops.maximum(boxes, 0.0), limits)


def corners_to_centers(boxes: tf.Tensor) -> tf.Tensor:
    """Returns `[y_center, x_center, height, width]`, `[..., 4]`, of corner boxes."""
    boxes = ops.convert_to_tensor(boxes)
    low, high = boxes[..., :2], boxes[..., 2:]
    return ops.concatenate([(low + high) / 2.0, high - low], axis=-1)


def centers_to_corners(boxes: tf.Tensor) -> tf.Tensor:
    """Returns corner boxes `[..., 4]` of `[y_center, x_center, height, width]`."""
    boxes = ops.convert_to_tensor(boxes)
    centers, half_sizes = boxes[..., :2], boxes[..., 2:] / 2.0
    return ops.concatenate([centers - half_sizes, centers + half_sizes], axis=-1)


def _shared_length(spans: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Returns `[..., M, N]` of `[low, high]` spans `[..., M, 2]` and `[..., N, 2]`."""
    low = ops.maximum(spans[..., :, None, 0], others[..., None, :, 0])
    high = ops.minimum(spans[..., :, None, 1], others[..., None, :, 1])
    return ops.maximum(high - low, 0.0)


def _ratio(part: tf.Tensor, whole: tf.Tensor) -> tf.Tensor:
    has_area = whole > MIN_AREA
    # The inner choice keeps the gradient of the branch not taken finite.
    return ops.where(has_area, part / ops.where(has_area, whole, 1.0), 0.0)
