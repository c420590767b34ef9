"""Losses of a one-stage detector, as pure functions on `keras.ops`.

What each anchor has to predict comes from `targets`.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf
from keras import ops

from detection.config import DetectionLossConfig, check_loss
from detection.shapes import check_shape
from detection.targets import AssignedTargets
from mobilenas_tf.detection_spec import ScoreActivation
from mobilenas_tf.layers.replicas import num_replicas, replica_mean


def sigmoid_cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns `-log(p_t)` of each logit, where p_t is the probability of its label.

    Args:
        logits: `[...]`, log-odds.
        labels: `[...]`, 0 or 1, of the logits' dtype.
    """
    return ops.softplus((1.0 - 2.0 * labels) * logits)


def sigmoid_focal_loss(
    logits: tf.Tensor, labels: tf.Tensor, *, alpha: float, gamma: float
) -> tf.Tensor:
    """Returns `-alpha_t (1 - p_t)^gamma log(p_t)` of each logit.

    p_t is the probability of the label, alpha_t is alpha for label 1 and 1 - alpha for
    label 0.

    Source: Lin et al., Focal loss for dense object detection, arXiv:1708.02002,
    equation 5.

    Args:
        logits: `[...]`, log-odds.
        labels: `[...]`, 0 or 1, of the logits' dtype.
        alpha: Weight of label 1, in [0, 1].
        gamma: Focusing exponent, 0 or more; at 0 this is weighted cross-entropy.
    """
    wrongness = (1.0 - 2.0 * labels) * logits  # log-odds of the other label
    cross_entropy = ops.softplus(wrongness)
    # log(1 - p_t) = log sigmoid(w) = w - softplus(w); a power of 1 - p_t itself has no
    # finite gradient where it underflows.
    modulation = ops.exp(gamma * (wrongness - cross_entropy))
    alpha_t = 1.0 - alpha + (2.0 * alpha - 1.0) * labels
    return alpha_t * modulation * cross_entropy


def smooth_l1(errors: tf.Tensor) -> tf.Tensor:
    """Returns `e^2 / 2` for |e| < 1 and `|e| - 1/2` beyond, of each error.

    Source: Girshick, Fast R-CNN, arXiv:1504.08083, equation 3.
    """
    sizes = ops.abs(errors)
    small = ops.minimum(sizes, 1.0)
    return small * (sizes - 0.5 * small)


def select_hard_negatives(
    losses: tf.Tensor, is_negative: tf.Tensor, num_selected: tf.Tensor
) -> tf.Tensor:
    """Returns which anchors are the negatives with the greatest losses, `[B, A]` bool.

    Source: Liu et al., SSD, arXiv:1512.02325, section 2.2, "Hard negative mining".

    Args:
        losses: `[B, A]`, 0 or more. Of equal ones the first is taken.
        is_negative: `[B, A]`, bool.
        num_selected: `[B]`, int; where an image has fewer negatives all are taken.
    """
    sort_keys = ops.where(is_negative, -losses, 1.0)
    ranks = ops.argsort(ops.argsort(sort_keys, axis=-1), axis=-1)
    return is_negative & (ops.cast(ranks, "int32") < num_selected[:, None])


def detection_loss(
    outputs: Mapping[str, tf.Tensor],
    assigned: AssignedTargets,
    *,
    score_activation: ScoreActivation,
    config: DetectionLossConfig,
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Returns the loss `[]` of a batch, and its parts `class_loss` and `box_loss`.

    Both parts are sums over all anchors that count, divided by the number of matches in
    the batch, or by 1 where there is none; the loss is `class_loss + box_loss_weight *
    box_loss`. An anchor's box loss is the sum of its four smooth L1 terms. (Liu et al.,
    SSD, arXiv:1512.02325, equations 1 and 2.) On several replicas the matches are those
    of the whole batch: the mean of the replicas' losses is the batch's loss.

    Args:
        outputs: `class_logits` `[B, A, K]` (sigmoid) or `[B, A, K + 1]` (softmax,
            background first) and `box_encodings` `[B, A, 4]`.
        assigned: What they should have been.
        score_activation: Of the head; focal loss needs sigmoid.
        config: Kind and weights of the losses.
    """
    logits, encodings = outputs["class_logits"], outputs["box_encodings"]
    num_anchors = assigned.classes.shape[1]
    check_shape(logits, (None, num_anchors, None), "class_logits")
    check_shape(encodings, (None, num_anchors, 4), "box_encodings")
    check_loss(config, score_activation)
    if config.class_loss == "focal":
        class_losses = _focal_losses(logits, assigned, config)
    else:
        class_losses = _mined_losses(logits, assigned, score_activation, config)
    box_losses = ops.sum(smooth_l1(encodings - assigned.encodings), axis=-1)

    matches = ops.cast(ops.sum(assigned.num_matches), logits.dtype)
    scale = 1.0 / ops.maximum(replica_mean(matches), 1.0 / num_replicas())
    class_loss = scale * ops.sum(assigned.class_weights * class_losses)
    box_loss = scale * ops.sum(assigned.box_weights * box_losses)
    total = class_loss + config.box_loss_weight * box_loss
    return total, {"class_loss": class_loss, "box_loss": box_loss}


def _focal_losses(
    logits: tf.Tensor, assigned: AssignedTargets, config: DetectionLossConfig
) -> tf.Tensor:
    """Returns each anchor's focal loss `[B, A]`, summed over the classes."""
    losses = sigmoid_focal_loss(
        logits,
        _one_hot(assigned.classes, logits),
        alpha=config.focal_alpha,
        gamma=config.focal_gamma,
    )
    return ops.sum(losses, axis=-1)


def _mined_losses(
    logits: tf.Tensor,
    assigned: AssignedTargets,
    score_activation: ScoreActivation,
    config: DetectionLossConfig,
) -> tf.Tensor:
    """Returns the cross-entropy `[B, A]` of objects and hard negatives; 0 elsewhere."""
    if score_activation == "sigmoid":
        labels = _one_hot(assigned.classes, logits)
        losses = ops.sum(sigmoid_cross_entropy(logits, labels), axis=-1)
    else:
        losses = ops.sparse_categorical_crossentropy(
            assigned.classes + 1, logits, from_logits=True
        )
    is_hard = select_hard_negatives(
        losses,
        (assigned.classes < 0) & (assigned.class_weights > 0),
        config.negatives_per_positive * assigned.num_matches,
    )
    return ops.where((assigned.classes >= 0) | is_hard, losses, 0.0)


def _one_hot(classes: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns labels like `logits`; a row of zeros for background."""
    return ops.one_hot(classes, logits.shape[-1], dtype=logits.dtype)
