import numpy as np
import pytest
import tensorflow as tf

from detection.shapes import check_shape


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((2, 3, 4), (2, 3, 4)),
        ((2, 3, 4), (None, None, 4)),
        ((2, 3, 4), (..., 4)),
        ((4,), (..., 4)),
        ((3, 4), (..., None, 4)),
        ((0, 4), (None, 4)),
    ],
)
def test_a_shape_that_fits_passes(shape, expected):
    check_shape(np.zeros(shape), expected, "boxes")


@pytest.mark.parametrize(
    ("shape", "expected", "wanted"),
    [
        ((2, 3), (None, 4), r"\(None, 4\)"),
        ((2, 4), (None, None, 4), r"\(None, None, 4\)"),
        ((2, 4, 1), (None, 4), r"\(None, 4\)"),
        ((2, 3), (..., 4), r"\(..., 4\)"),
        ((), (..., 4), r"\(..., 4\)"),
    ],
)
def test_a_shape_that_does_not_fit_is_named(shape, expected, wanted):
    message = f"boxes must have the shape {wanted}.*boxes.shape="
    with pytest.raises(ValueError, match=message):
        check_shape(np.zeros(shape), expected, "boxes")


def test_an_axis_known_only_when_the_graph_runs_passes():
    @tf.function(input_signature=[tf.TensorSpec([None, 4])])
    def check(boxes):
        check_shape(boxes, (7, 4), "boxes")
        return boxes

    check(tf.zeros([3, 4]))
