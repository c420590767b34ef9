import numpy as np
import pytest

from mobilenas_tf.costs.ops import Cost, batch_norm, convolution, depthwise, out_size


@pytest.mark.parametrize(
    ("size_px", "stride", "expected"),
    [(224, 2, 112), (7, 2, 4), (1, 2, 1), (5, 1, 5), (10, 3, 4)],
)
def test_out_size_is_that_of_same_padding(size_px, stride, expected):
    assert out_size(size_px, stride) == expected


def test_convolution_counts_every_weight_at_every_position():
    cost = convolution(16, 24, kernel_size=3, out_size_px=7)
    assert cost == Cost(macs=9 * 16 * 24 * 49, params=9 * 16 * 24)


def test_a_dense_layer_is_one_position_and_its_bias_is_no_multiply_add():
    cost = convolution(1280, 1000, has_bias=True)
    assert cost == Cost(macs=1_280_000, params=1_281_000)


def test_grouped_convolution_divides_the_weights():
    cost = convolution(16, 24, out_size_px=5, groups=2)
    assert cost == Cost(macs=192 * 25, params=192)


def test_depthwise_convolution_has_one_kernel_a_channel():
    cost = depthwise(10, kernel_size=5, out_size_px=4)
    assert cost == Cost(macs=25 * 10 * 16, params=250)


def test_batch_norm_has_scale_and_offset():
    assert batch_norm(8) == Cost(macs=0, params=16)


def test_no_channels_cost_nothing():
    assert convolution(0, 24, kernel_size=3, out_size_px=7) == Cost()
    assert depthwise(0, kernel_size=5, out_size_px=7) == Cost()
    assert batch_norm(0) == Cost()


def test_costs_add():
    assert Cost(3, 5) + Cost(10, 100) == Cost(13, 105)


def test_expected_widths_need_not_be_whole():
    widths = np.float64(2.5), np.float64(3.3)
    cost = convolution(*widths, kernel_size=3, out_size_px=2, has_bias=True)
    assert cost.macs == pytest.approx(9 * 8.25 * 4)
    assert cost.params == pytest.approx(9 * 8.25 + 3.3)
    grouped = convolution(*widths, groups=2)
    assert grouped.macs == pytest.approx(8.25 / 2)
