import math

import numpy as np
import pytest
import tensorflow as tf

from detection.box_coder import MAX_LOG_SIZE, decode_boxes, encode_boxes
from tests.reference import detection as slow

ANCHOR = np.array([[0.4, 0.3, 0.6, 0.7]])  # 0.2 high, 0.4 wide, around (0.5, 0.5)
BOX = np.array([[0.4, 0.3, 0.8, 0.5]])  # 0.4 high, 0.2 wide, around (0.6, 0.4)
# 10 * 0.1 / 0.2, 10 * -0.1 / 0.4, 5 log 2, 5 log 1/2
ENCODING = [[5.0, -2.5, 5 * math.log(2), -5 * math.log(2)]]


def random_boxes(rng, *shape):
    low = rng.uniform(-0.2, 0.8, (*shape, 2))
    return np.concatenate([low, low + rng.uniform(0.01, 0.7, (*shape, 2))], axis=-1)


def test_a_box_encoded_and_decoded_by_hand():
    np.testing.assert_allclose(encode_boxes(BOX, ANCHOR), ENCODING, atol=1e-12)
    np.testing.assert_allclose(decode_boxes(ENCODING, ANCHOR), BOX, atol=1e-6)


def test_the_anchor_itself_is_zero():
    np.testing.assert_allclose(encode_boxes(ANCHOR, ANCHOR), [[0.0] * 4], atol=1e-14)


def test_both_ways_are_those_of_the_slow_version():
    rng = np.random.default_rng(1)
    anchors, boxes = random_boxes(rng, 6), random_boxes(rng, 3, 6)
    encodings = encode_boxes(boxes, anchors)
    decoded = decode_boxes(encodings, anchors)
    for image in range(3):
        for index, anchor in enumerate(anchors):
            expected = slow.encode(boxes[image, index], anchor)
            np.testing.assert_allclose(encodings[image, index], expected, atol=1e-12)
            expected = slow.decode(encodings[image, index].numpy(), anchor)
            np.testing.assert_allclose(decoded[image, index], expected, atol=1e-12)
    np.testing.assert_allclose(decoded, boxes, atol=1e-12)


def test_float32_boxes_come_back_to_a_millionth():
    rng = np.random.default_rng(2)
    anchors, boxes = random_boxes(rng, 100), random_boxes(rng, 100).astype("float32")
    back = decode_boxes(encode_boxes(boxes, anchors), anchors)
    assert back.dtype == tf.float32
    np.testing.assert_allclose(back, boxes, atol=1e-6)


def test_boxes_of_no_area_have_finite_encodings_and_gradients():
    boxes = tf.constant([[0.5, 0.5, 0.5, 0.5], [0.2, 0.9, 0.1, 0.3]], tf.float32)
    anchors = np.repeat(ANCHOR, 2, axis=0).astype("float32")
    with tf.GradientTape() as tape:
        tape.watch(boxes)
        encodings = encode_boxes(boxes, anchors)
    assert np.all(np.isfinite(encodings))
    # 5 log(1e-8 / 0.2)
    assert encodings.numpy()[0, 2] == pytest.approx(-84.056, abs=1e-3)
    assert np.all(np.isfinite(tape.gradient(encodings, boxes)))


def test_decoded_sides_are_finite_and_at_most_62_5_anchors():
    assert math.exp(MAX_LOG_SIZE) == pytest.approx(62.5)
    encodings = tf.constant([[0.0, 0.0, 1e6, 1e6], [0.0, 0.0, -1e6, -1e6]])
    anchors = np.repeat(ANCHOR, 2, axis=0)
    with tf.GradientTape() as tape:
        tape.watch(encodings)
        boxes = decode_boxes(encodings, anchors)
    # 0.5 -+ 62.5 * 0.2 / 2 and 0.5 -+ 62.5 * 0.4 / 2, and a point
    expected = [[-5.75, -12.0, 6.75, 13.0], [0.5, 0.5, 0.5, 0.5]]
    np.testing.assert_allclose(boxes, expected, rtol=1e-6)
    assert np.all(np.isfinite(tape.gradient(boxes, encodings)))


@pytest.mark.parametrize("function", [encode_boxes, decode_boxes])
def test_gradients_are_finite_differences(function):
    rng = np.random.default_rng(3)
    anchors, boxes = random_boxes(rng, 4), tf.constant(random_boxes(rng, 4))
    analytic, numeric = tf.test.compute_gradient(
        lambda x: function(x, anchors), [boxes], delta=1e-6
    )
    np.testing.assert_allclose(analytic[0], numeric[0], rtol=1e-5, atol=1e-6)
