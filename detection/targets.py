"""What every anchor has to predict, from the ground truth of a batch.

Overlaps, matches and encodings come from `boxes`, `matcher` and `box_coder`; what a
wrong prediction costs is left to `losses`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf
from keras import ops

from detection.box_coder import encode_boxes
from detection.boxes import coverage, iou
from detection.config import DetectionLossConfig
from detection.matcher import BACKGROUND, NEITHER, match
from detection.shapes import check_shape

IGNORED_COVERAGE = 0.5
"""An anchor that lies in an ignored box with this share of its area is left out."""


class AssignedTargets(NamedTuple):
    """Targets of all anchors of a batch.

    Attributes:
        classes: `[B, A]` int32, 0..K - 1, or -1 for background.
        encodings: `[B, A, 4]`, of the matched box; 0 where there is none.
        class_weights: `[B, A]`; 0 for an anchor that is neither an object nor
            background, else 1.
        box_weights: `[B, A]`; 1 for a matched anchor, else 0.
        num_matches: `[B]` int32, matched anchors of each image.
    """

    classes: tf.Tensor
    encodings: tf.Tensor
    class_weights: tf.Tensor
    box_weights: tf.Tensor
    num_matches: tf.Tensor


def assign_targets(
    targets: Mapping[str, tf.Tensor], anchors: tf.Tensor, *, config: DetectionLossConfig
) -> AssignedTargets:
    """Returns what each anchor has to predict in each image.

    An anchor without a match counts for nothing if the thresholds leave it between
    object and background, or if an ignored box covers at least half of it.

    Args:
        targets: `boxes_normalized` `[B, G, 4]`, `labels` `[B, G]` int32 (-1 is padding)
            and `is_ignored` `[B, G]` bool. An ignored box needs no label.
        anchors: `[A, 4]`, normalised corners, as of `anchors.build_anchors`.
        config: Its thresholds of the matcher.
    """
    num_boxes = targets["boxes_normalized"].shape[1]
    check_shape(targets["boxes_normalized"], (None, None, 4), "boxes_normalized")
    check_shape(targets["labels"], (None, num_boxes), "labels")
    check_shape(targets["is_ignored"], (None, num_boxes), "is_ignored")
    check_shape(anchors, (None, 4), "anchors")
    boxes, labels, is_ignored = _without_shared_padding(targets)
    anchors = ops.convert_to_tensor(anchors, dtype=boxes.dtype)

    matches = match(
        iou(anchors, boxes),
        (labels >= 0) & ~is_ignored,
        positive_iou=config.positive_iou,
        negative_iou=config.negative_iou,
    )
    is_matched = matches >= 0
    ignored_coverage = ops.where(is_ignored[:, None, :], coverage(anchors, boxes), 0.0)
    is_covered = ops.max(ignored_coverage, axis=-1) >= IGNORED_COVERAGE
    counts = is_matched | ((matches != NEITHER) & ~is_covered)

    indices = ops.maximum(matches, 0)
    matched_labels = ops.take_along_axis(labels, indices, axis=1)
    matched_boxes = ops.take_along_axis(boxes, indices[..., None], axis=1)
    encodings = encode_boxes(matched_boxes, anchors)
    return AssignedTargets(
        classes=ops.where(is_matched, matched_labels, BACKGROUND),
        encodings=ops.where(is_matched[..., None], encodings, 0.0),
        class_weights=ops.cast(counts, boxes.dtype),
        box_weights=ops.cast(is_matched, boxes.dtype),
        num_matches=ops.sum(ops.cast(is_matched, "int32"), axis=-1),
    )


def _without_shared_padding(
    targets: Mapping[str, tf.Tensor],
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns boxes, labels and `is_ignored` up to the last box of any image.

    Matching costs time for every place: with room for 100 boxes and 12 in use it took
    as long as the rest of a small network's step.
    """
    labels, is_ignored = targets["labels"], targets["is_ignored"]
    places = ops.cumsum(ops.ones_like(labels), axis=1)
    last = ops.max(ops.where((labels >= 0) | is_ignored, places, 0))
    last = ops.maximum(last, 1)
    return targets["boxes_normalized"][:, :last], labels[:, :last], is_ignored[:, :last]
