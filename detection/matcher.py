"""Which ground-truth box each anchor answers for.

Overlaps come from `boxes`; what an anchor then has to predict is left to `targets`.
"""

from __future__ import annotations

import tensorflow as tf
from keras import ops

from detection.shapes import check_shape

BACKGROUND = -1
NEITHER = -2


def match(
    iou: tf.Tensor,
    is_box: tf.Tensor,
    *,
    positive_iou: float = 0.5,
    negative_iou: float = 0.5,
    force_match: bool = True,
) -> tf.Tensor:
    """Returns for each anchor the index of its box, BACKGROUND or NEITHER.

    An anchor takes the box that it overlaps most, if their IoU is at least
    `positive_iou`; with less than `negative_iou` it is background, between the two
    neither. Of equal boxes it takes the first.

    A forced match gives each box one anchor whatever the thresholds: of all pairs of a
    box and an anchor the one with the greatest IoU is fixed, then the greatest of the
    boxes and anchors left, until no pair left overlaps. Of equal pairs the one with the
    first anchor, then with the first box, is fixed. So a box goes without only if all
    anchors that it overlaps went to boxes that overlap them at least as much.

    Source: Liu et al., SSD, arXiv:1512.02325, section 2.2, "Matching strategy", and the
    order in its code.

    Differs: the TensorFlow Object Detection API and torchvision let each box claim its
    best anchor; of two boxes that claim the same one is left without.

    Args:
        iou: `[..., A, G]`, in [0, 1].
        is_box: `[..., G]`, bool; False for padding and for boxes not to be matched.
        positive_iou: Least IoU of a match.
        negative_iou: IoU below which an anchor is background; at most `positive_iou`.
        force_match: Whether to force matches.

    Returns:
        `[..., A]`, int32.
    """
    check_shape(iou, (..., None, None), "iou")
    if iou.shape[-1] == 0:
        raise ValueError(
            "iou must have a place for at least one box, which may be padding. "
            f"Received: iou.shape={tuple(iou.shape)}"
        )
    iou = ops.where(is_box[..., None, :], iou, -1.0)
    best_iou = ops.max(iou, axis=-1)
    matches = ops.where(
        best_iou >= positive_iou,
        ops.argmax(iou, axis=-1),
        ops.where(best_iou < negative_iou, BACKGROUND, NEITHER),
    )
    if force_match:
        forced = _force_matches(iou)
        matches = ops.where(forced >= 0, forced, matches)
    return ops.cast(matches, "int32")


def _force_matches(iou: tf.Tensor) -> tf.Tensor:
    """Returns the index of the box that has each anchor for its own, or -1, `[..., A]`.

    Pairs are fixed many at a time: if box and anchor overlap each other more than
    anything else that is left, no greater pair can take either of them.
    """
    anchors = ops.arange(ops.shape(iou)[-2], dtype="int32")
    boxes = ops.arange(ops.shape(iou)[-1], dtype="int32")

    def has_pairs(iou: tf.Tensor, forced: tf.Tensor) -> tf.Tensor:
        return ops.any(iou > 0)

    def fix_pairs(iou: tf.Tensor, forced: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        best_box = ops.cast(ops.argmax(iou, axis=-1), "int32")
        best_anchor = ops.cast(ops.argmax(iou, axis=-2), "int32")
        is_anchor_fixed = ops.take_along_axis(best_anchor, best_box, axis=-1) == anchors
        is_anchor_fixed &= ops.max(iou, axis=-1) > 0
        is_box_fixed = ops.take_along_axis(best_box, best_anchor, axis=-1) == boxes
        forced = ops.where(is_anchor_fixed, best_box, forced)
        is_fixed = is_anchor_fixed[..., :, None] | is_box_fixed[..., None, :]
        return ops.where(is_fixed, 0.0, iou), forced

    unmatched = ops.full_like(iou[..., 0], -1, dtype="int32")
    _, forced = ops.while_loop(
        has_pairs, fix_pairs, (iou, unmatched), maximum_iterations=ops.shape(iou)[-1]
    )
    return forced
