import math

import numpy as np
import pytest
import tensorflow as tf

from detection.config import DetectionLossConfig
from detection.losses import (
    detection_loss,
    select_hard_negatives,
    sigmoid_cross_entropy,
    sigmoid_focal_loss,
    smooth_l1,
)
from detection.targets import AssignedTargets, assign_targets
from tests.reference import detection as slow

FOCAL = DetectionLossConfig()
MINING = DetectionLossConfig(class_loss="hard_negative_mining")
# Every kind of loss with every activation that it takes.
KINDS = [(FOCAL, "sigmoid"), (MINING, "sigmoid"), (MINING, "softmax")]


def assigned_targets(classes, encodings=None, class_weights=None, dtype=tf.float64):
    classes = np.array(classes, "int32")
    is_matched = classes >= 0
    if encodings is None:
        encodings = np.zeros((*classes.shape, 4))
    if class_weights is None:
        class_weights = np.ones(classes.shape)
    return AssignedTargets(
        classes=tf.constant(classes),
        encodings=tf.constant(encodings, dtype),
        class_weights=tf.constant(class_weights, dtype),
        box_weights=tf.constant(is_matched, dtype),
        num_matches=tf.constant(is_matched.sum(axis=1), tf.int32),
    )


def outputs(logits, encodings=None, dtype=tf.float64):
    if encodings is None:
        encodings = np.zeros((*np.shape(logits)[:2], 4))
    return {
        "class_logits": tf.constant(logits, dtype),
        "box_encodings": tf.constant(encodings, dtype),
    }


def loss(prediction, assigned, config, score_activation="sigmoid"):
    total, parts = detection_loss(
        prediction, assigned, score_activation=score_activation, config=config
    )
    return float(total), {name: float(part) for name, part in parts.items()}


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("alpha", [0.25, 0.75])
def test_focal_loss_is_its_formula(alpha, gamma):
    logits = [-7.0, -1.5, 0.0, 0.3, 6.0]
    for label in (0, 1):
        expected = [slow.focal_loss(logit, label, alpha, gamma) for logit in logits]
        result = sigmoid_focal_loss(
            tf.constant(logits, tf.float64), float(label), alpha=alpha, gamma=gamma
        )
        np.testing.assert_allclose(result, expected, rtol=1e-9)


def test_focal_loss_at_even_odds_is_a_quarter_of_the_weighted_cross_entropy():
    result = sigmoid_focal_loss(
        tf.zeros(2), tf.constant([1.0, 0.0]), alpha=0.75, gamma=2.0
    )
    expected = [0.75 * 0.25 * math.log(2), 0.25 * 0.25 * math.log(2)]
    np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_smooth_l1_is_a_parabola_then_a_line():
    errors = [-3.0, -1.0, -0.5, 0.0, 0.2, 1.0, 10.0]
    expected = [2.5, 0.5, 0.125, 0.0, 0.02, 0.5, 9.5]
    result = smooth_l1(tf.constant(errors, tf.float64))
    np.testing.assert_allclose(result, expected, rtol=1e-12)
    np.testing.assert_allclose(result, [slow.smooth_l1(error) for error in errors])


@pytest.mark.parametrize(
    "function",
    [
        lambda x: sigmoid_cross_entropy(x, tf.constant([[1.0], [0.0]], tf.float64)),
        lambda x: sigmoid_focal_loss(
            x, tf.constant([[1.0], [0.0]], tf.float64), alpha=0.75, gamma=2.0
        ),
        smooth_l1,
    ],
)
def test_gradients_of_the_terms_are_finite_differences(function):
    x = tf.constant([[-2.3, -0.7, 0.1, 0.8, 3.1]] * 2, tf.float64)
    analytic, numeric = tf.test.compute_gradient(function, [x], delta=1e-5)
    np.testing.assert_allclose(analytic[0], numeric[0], atol=1e-8)
    assert np.abs(numeric[0]).max() > 0.1


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_terms_are_finite_at_extreme_logits_with_finite_gradients(gamma):
    logits = tf.constant([[-1000.0, -100.0, 0.0, 100.0, 1000.0]] * 2)
    labels = tf.constant([[1.0], [0.0]])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logits)
        focal = sigmoid_focal_loss(logits, labels, alpha=0.75, gamma=gamma)
        values = [focal, sigmoid_cross_entropy(logits, labels), smooth_l1(logits)]
    for value in values:
        assert np.all(np.isfinite(value))
        assert np.all(np.isfinite(tape.gradient(value, logits)))
    # Far on the wrong side it is alpha_t |logit|, on the right side 0.
    np.testing.assert_allclose(focal[0], [750, 75, focal[0, 2], 0, 0], atol=1e-6)
    np.testing.assert_allclose(focal[1], [0, 0, focal[1, 2], 25, 250], atol=1e-6)


def test_hard_negatives_are_those_with_the_greatest_losses():
    losses = [[0.1, 0.9, 0.5, 0.7], [0.3, 0.3, 0.3, 9.0], [0.0, 0.0, 1.0, 1.0]]
    is_negative = [[True, False, True, True], [True] * 3 + [False], [True] * 4]
    hard = select_hard_negatives(
        tf.constant(losses), tf.constant(is_negative), tf.constant([2, 5, 0])
    )
    expected = [[False, False, True, True], [True] * 3 + [False], [False] * 4]
    np.testing.assert_array_equal(hard, expected)


def test_of_equal_negatives_the_first_are_selected():
    hard = select_hard_negatives(
        tf.zeros([1, 5]), tf.fill([1, 5], True), tf.constant([2])
    )
    np.testing.assert_array_equal(hard, [[True, True, False, False, False]])


def test_focal_loss_of_a_batch_is_the_sum_over_all_that_counts_per_match():
    rng = np.random.default_rng(1)
    logits, predicted, wanted = (
        rng.normal(0.0, 2.0, (2, 5, size)) for size in (3, 4, 4)
    )
    classes = [[2, -1, 0, -1, -1], [-1, -1, 1, -1, -1]]
    weights = [[1, 1, 1, 0, 1], [0, 1, 1, 1, 1]]
    class_sum = box_sum = 0.0
    for image in range(2):
        for anchor in range(5):
            label = classes[image][anchor]
            for k in range(3):
                class_sum += weights[image][anchor] * slow.focal_loss(
                    logits[image, anchor, k], int(k == label), 0.75, 2.0
                )
            if label >= 0:
                errors = predicted[image, anchor] - wanted[image, anchor]
                box_sum += sum(slow.smooth_l1(error) for error in errors)
    total, parts = loss(
        outputs(logits, predicted),
        assigned_targets(classes, wanted, weights),
        DetectionLossConfig(box_loss_weight=0.25),
    )
    assert parts["class_loss"] == pytest.approx(class_sum / 3)
    assert parts["box_loss"] == pytest.approx(box_sum / 3)
    assert total == pytest.approx((class_sum + 0.25 * box_sum) / 3)


@pytest.mark.parametrize("score_activation", ["sigmoid", "softmax"])
def test_mined_loss_is_that_of_objects_and_their_share_of_negatives(score_activation):
    rng = np.random.default_rng(2)
    num_logits = 3 if score_activation == "sigmoid" else 4
    logits = rng.normal(0.0, 2.0, (2, 9, num_logits))
    # One match in the first image, none in the second.
    classes = [[-1, 1, -1, -1, -1, -1, -1, -1, -1], [-1] * 9]
    weights = np.ones((2, 9))
    weights[0, :3] = [0, 1, 1]

    def cross_entropy(logits, label):
        if score_activation == "softmax":
            return -math.log(slow.softmax(logits)[label + 1])
        # At alpha 1/2 and gamma 0, focal loss is half of it.
        return sum(
            2 * slow.focal_loss(logit, int(k == label), 0.5, 0.0)
            for k, logit in enumerate(logits)
        )

    negatives = [cross_entropy(logits[0, anchor], -1) for anchor in range(2, 9)]
    expected = cross_entropy(logits[0, 1], 1) + sum(sorted(negatives)[-2:])
    config = DetectionLossConfig(
        class_loss="hard_negative_mining", negatives_per_positive=2
    )
    assigned = assigned_targets(classes, class_weights=weights)
    _, parts = loss(outputs(logits), assigned, config, score_activation)
    assert parts["class_loss"] == pytest.approx(expected)


@pytest.mark.parametrize(("config", "score_activation"), KINDS)
def test_gradients_of_the_loss_are_finite_differences(config, score_activation):
    rng = np.random.default_rng(3)
    logits, encodings, wanted = (
        rng.normal(0.0, 1.5, (2, 4, size)) for size in (3, 4, 4)
    )
    num_classes = 3 if score_activation == "sigmoid" else 2
    classes = rng.integers(0, num_classes, (2, 4))
    classes[0, 1:] = classes[1, 3] = -1
    assigned = assigned_targets(classes, wanted)

    @tf.function
    def total(logits, encodings):
        prediction = {"class_logits": logits, "box_encodings": encodings}
        return detection_loss(
            prediction, assigned, score_activation=score_activation, config=config
        )[0]

    analytic, numeric = tf.test.compute_gradient(
        total, [tf.constant(logits), tf.constant(encodings)], delta=1e-6
    )
    for one, other in zip(analytic, numeric, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-7)
        assert np.abs(other).max() > 0.01


ODD_TARGETS = {
    "no ground truth": [],
    "everything ignored": [((0.0, 0.0, 1.0, 1.0), 0, True)],
    "duplicate boxes": [((0.1, 0.1, 0.6, 0.6), 1, False)] * 3,
    "boxes at the border": [
        ((0.0, 0.0, 0.5, 0.5), 0, False),
        ((0.99, 0.99, 1.0, 1.0), 1, False),
    ],
    "boxes of no area": [((0.3, 0.3, 0.3, 0.3), 0, False)],
}
ODD_ANCHORS = [[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], [0, 0, 1, 1], [-0.1, -0.1, 0.2, 0.2]]


@pytest.mark.parametrize(("config", "score_activation"), KINDS)
@pytest.mark.parametrize("triples", ODD_TARGETS.values(), ids=ODD_TARGETS)
@pytest.mark.parametrize("logit", [-100.0, 0.0, 100.0])
def test_loss_and_gradients_are_finite(config, score_activation, triples, logit):
    boxes, labels, is_ignored = np.zeros((1, 3, 4)), np.full((1, 3), -1), [[False] * 3]
    for place, triple in enumerate(triples):
        boxes[0, place], labels[0, place], is_ignored[0][place] = triple
    batch = {
        "boxes_normalized": tf.constant(boxes, tf.float32),
        "labels": tf.constant(labels, tf.int32),
        "is_ignored": tf.constant(is_ignored),
    }
    assigned = assign_targets(batch, np.array(ODD_ANCHORS), config=config)
    logits = np.full((1, 4, 3), logit)
    logits[..., 0] = -logit
    prediction = outputs(logits, np.full((1, 4, 4), logit), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(prediction)
        total, parts = detection_loss(
            prediction, assigned, score_activation=score_activation, config=config
        )
    assert all(np.isfinite(value) for value in (total, *parts.values()))
    gradients = tape.gradient(total, prediction)
    for gradient in gradients.values():
        assert np.all(np.isfinite(gradient))
    if not np.any(assigned.num_matches):
        assert float(parts["box_loss"]) == 0.0
        assert not np.any(gradients["box_encodings"])


def test_without_matches_the_focal_loss_of_the_background_is_divided_by_one():
    _, parts = loss(outputs(np.zeros((1, 4, 2))), assigned_targets([[-1] * 4]), FOCAL)
    # Eight logits at even odds.
    assert parts["class_loss"] == pytest.approx(8 * 0.25 * 0.25 * math.log(2))


def test_everything_left_out_costs_nothing():
    for config, score_activation in KINDS:
        assigned = assigned_targets([[-1] * 4], class_weights=np.zeros((1, 4)))
        logits = np.random.default_rng(4).normal(size=(1, 4, 3))
        assert loss(outputs(logits), assigned, config, score_activation)[0] == 0.0


def test_focal_loss_refuses_softmax():
    with pytest.raises(ValueError, match="must be sigmoid for class_loss=focal"):
        loss(outputs(np.zeros((1, 1, 2))), assigned_targets([[0]]), FOCAL, "softmax")


def test_outputs_for_other_anchors_are_refused():
    with pytest.raises(ValueError, match=r"class_logits must have the shape \(None, 2"):
        loss(outputs(np.zeros((1, 3, 2))), assigned_targets([[0, -1]]), FOCAL)
