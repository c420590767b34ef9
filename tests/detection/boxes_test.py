import numpy as np
import pytest
import tensorflow as tf

from detection.boxes import (
    area,
    centers_to_corners,
    clip_boxes,
    corners_to_centers,
    coverage,
    intersection,
    iou,
)
from tests.reference import detection as slow

# No area: a point, a line, and one that is inside out; at the border and outside; and
# the same box twice.
ODD_BOXES = np.array(
    [
        [0.3, 0.3, 0.3, 0.3],
        [0.2, 0.5, 0.8, 0.5],
        [0.6, 0.6, 0.4, 0.4],
        [0.0, 0.0, 1.0, 1.0],
        [0.9, 0.9, 1.0, 1.0],
        [-2.0, -2.0, -1.0, -1.0],
        [0.5, 0.5, 0.7, 0.9],
        [0.5, 0.5, 0.7, 0.9],
        [0.5, 0.5, 0.5 + 1e-7, 0.5 + 1e-7],
        [1e-20, 1e-20, 2e-20, 2e-20],
    ],
    "float32",
)


def random_boxes(rng, *shape):
    centers = rng.uniform(0.0, 1.0, (*shape, 2))
    sizes = rng.uniform(0.05, 0.6, (*shape, 2))
    return np.concatenate([centers - sizes / 2, centers + sizes / 2], axis=-1)


def test_area_is_height_times_width():
    boxes = [[1.0, 2.0, 4.0, 7.0], [0.0, 0.0, 0.0, 5.0], [3.0, 0.0, 1.0, -2.0]]
    np.testing.assert_array_equal(area(boxes), [15.0, 0.0, 0.0])


def test_overlaps_of_hand_written_boxes():
    boxes = [[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 4.0, 4.0]]
    others = [[1.0, 1.0, 3.0, 3.0], [2.0, 0.0, 4.0, 2.0], [0.0, 0.0, 4.0, 4.0]]
    # The first meets the others in 1, 0 (they touch) and 4.
    np.testing.assert_array_equal(intersection(boxes, others), [[1, 0, 4], [4, 4, 16]])
    # Of a union of 4 + 4 - 1, or of 16.
    expected = [[1 / 7, 0, 1 / 4], [1 / 4, 1 / 4, 1]]
    np.testing.assert_allclose(iou(boxes, others), expected, rtol=1e-6)
    expected = [[1 / 4, 0, 1], [1 / 4, 1 / 4, 1]]
    np.testing.assert_allclose(coverage(boxes, others), expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["intersection", "iou", "coverage"])
def test_overlaps_are_those_of_the_slow_version(name):
    rng = np.random.default_rng(1)
    boxes, others = random_boxes(rng, 2, 7), random_boxes(rng, 2, 5)
    function = {"intersection": intersection, "iou": iou, "coverage": coverage}[name]
    result = function(boxes, others)
    assert result.shape == (2, 7, 5)
    for image in range(2):
        expected = slow.all_pairs(getattr(slow, name), boxes[image], others[image])
        np.testing.assert_allclose(result[image], expected, atol=1e-14)


def test_leading_axes_broadcast():
    rng = np.random.default_rng(2)
    anchors, boxes = random_boxes(rng, 6), random_boxes(rng, 3, 4)
    result = iou(anchors, boxes)
    assert result.shape == (3, 6, 4)
    np.testing.assert_array_equal(result[1], iou(anchors, boxes[1]))


def test_a_box_of_no_area_overlaps_nothing_not_even_itself():
    point_and_line = ODD_BOXES[:2]
    everything = np.array([[0.0, 0.0, 1.0, 1.0]], "float32")
    for function in (iou, coverage):
        for others in (point_and_line, everything):
            result = function(point_and_line, others)
            np.testing.assert_array_equal(result, np.zeros(result.shape))


@pytest.mark.parametrize("function", [iou, coverage])
def test_odd_boxes_have_finite_overlaps_in_0_to_1_with_finite_gradients(function):
    boxes, others = tf.constant(ODD_BOXES), tf.constant(ODD_BOXES)
    with tf.GradientTape() as tape:
        tape.watch((boxes, others))
        result = function(boxes, others)
    assert np.all((result.numpy() >= 0) & (result.numpy() <= 1))
    for gradient in tape.gradient(result, (boxes, others)):
        assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("function", [iou, coverage])
def test_gradients_are_finite_differences(function):
    rng = np.random.default_rng(3)
    boxes = [tf.constant(random_boxes(rng, n)) for n in (3, 4)]
    analytic, numeric = tf.test.compute_gradient(function, boxes, delta=1e-6)
    for one, other in zip(analytic, numeric, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-7)
        assert np.abs(other).max() > 0.1


def test_clipping_moves_corners_into_the_image():
    boxes = [[-1.0, 0.5, 0.5, 2.0], [0.1, 0.2, 0.3, 0.4], [1.5, -3.0, 2.0, -2.0]]
    expected = [[0.0, 0.5, 0.5, 1.0], [0.1, 0.2, 0.3, 0.4], [1.0, 0.0, 1.0, 0.0]]
    np.testing.assert_allclose(clip_boxes(boxes), expected)
    pixels = clip_boxes([[-5.0, 10.0, 90.0, 300.0]], height=80, width=200)
    np.testing.assert_array_equal(pixels, [[0.0, 10.0, 80.0, 200.0]])


def test_centres_and_corners_are_each_other_s_inverse():
    np.testing.assert_array_equal(
        corners_to_centers([[1.0, 2.0, 4.0, 8.0]]), [[2.5, 5.0, 3.0, 6.0]]
    )
    np.testing.assert_array_equal(
        centers_to_corners([[2.5, 5.0, 3.0, 6.0]]), [[1.0, 2.0, 4.0, 8.0]]
    )
    boxes = random_boxes(np.random.default_rng(4), 2, 5)
    back = centers_to_corners(corners_to_centers(boxes))
    np.testing.assert_allclose(back, boxes, atol=1e-15)
