import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilenas_tf.layers.quantizers import (
    LEAST_STEP,
    StepQuantizer,
    fake_quantize,
    first_step,
    integer_range,
    kernel_step_range,
)
from tests.layers.check_layer import check_layer


def gradients(x, step, **options):
    x, step = tf.constant(x), tf.constant(step)
    with tf.GradientTape() as tape:
        tape.watch([x, step])
        outputs = fake_quantize(x, step, **options)
        loss = tf.reduce_sum(outputs)
    return outputs, *tape.gradient(loss, [x, step])


def test_ranges_are_those_of_twos_complement():
    assert integer_range(2, is_signed=True) == (-2, 1)
    assert integer_range(8, is_signed=True) == (-128, 127)
    assert integer_range(4, is_signed=False) == (0, 15)


def test_values_become_the_nearest_multiple_within_the_range():
    x = np.array([-9.0, -0.9, 0.2, 0.3, 0.6, 9.0], np.float32)
    outputs, of_x, _ = gradients(x, 0.5, lowest=-2, highest=1)
    # x / 0.5 = -18, -1.8, 0.4, 0.6, 1.2, 18 -> -2, -2, 0, 1, 1 (cut), 1 (cut)
    np.testing.assert_allclose(outputs, [-1.0, -1.0, 0.0, 0.5, 0.5, 0.5])
    np.testing.assert_array_equal(of_x, [0, 1, 1, 1, 0, 0])


def test_the_gradient_of_the_step_is_the_papers():
    x = np.array([-9.0, -0.9, 0.2, 0.3, 0.6, 9.0], np.float32)
    # -2; -2 + 1.8; 0 - 0.4; 1 - 0.6; 1; 1
    expected = -2 - 0.2 - 0.4 + 0.4 + 1 + 1
    _, _, of_step = gradients(x, 0.5, lowest=-2, highest=1, gradient_scale=0.25)
    assert float(of_step) == pytest.approx(0.25 * expected, abs=1e-5)


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e6])
@pytest.mark.parametrize("step", [LEAST_STEP, 1e4])
def test_extremes_are_finite(size, step):
    x = np.array([-size, 0.0, size], np.float32)
    for values in gradients(x, np.float32(step), lowest=-8, highest=7):
        assert np.all(np.isfinite(values))


def test_a_first_step_ends_at_the_largest_value_or_cuts_what_is_rare():
    x = np.array([-1.0, 1.0, 2.0, 8.0], np.float32)  # mean size 3
    # 2 * 3 / sqrt(127) = 0.532, 8 / 127 = 0.063
    assert float(first_step(x, highest=127)) == pytest.approx(8 / 127)
    # 2 * 3 / sqrt(1) = 6, 8 / 1 = 8
    assert float(first_step(x, highest=1)) == pytest.approx(6.0)
    assert float(first_step(0 * x, highest=7)) == pytest.approx(LEAST_STEP)


def test_the_first_values_of_training_set_the_step():
    layer = StepQuantizer(4, is_signed=False)
    first, other = (
        np.random.default_rng(seed).uniform(0, 1 + seed, (2, 4, 4, 3)).astype("float32")
        for seed in range(2)
    )
    layer(other)
    assert float(layer.step) == 0.0  # inference sets nothing
    outputs = layer(first, training=True)
    step = float(layer.step)
    assert step == pytest.approx(float(first_step(first, highest=15)))
    np.testing.assert_array_equal(outputs, layer(first))
    layer(other, training=True)
    assert float(layer.step) == step
    assert len(np.unique(outputs)) <= 16


@pytest.mark.parametrize(
    ("bits", "has_batch_axis", "scale"),
    [
        (3, True, 1 / np.sqrt(4 * 4 * 3 * 3)),  # N = 4 * 4 * 3 of an example, Q = 3
        (3, False, 1 / np.sqrt(5 * 4 * 4 * 3 * 3)),  # 3^2 / 16 is below sqrt(3)
        (8, False, 16 / (np.sqrt(5 * 4 * 4 * 3) * 127**2)),
    ],
)
def test_the_steps_gradient_is_scaled_by_its_values(bits, has_batch_axis, scale):
    x = np.random.default_rng(0).normal(size=(5, 4, 4, 3)).astype("float32")
    layer = StepQuantizer(bits, has_batch_axis=has_batch_axis)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x, training=True))
    (found,) = tape.gradient(loss, [layer.step.value])
    lowest, highest = integer_range(bits, is_signed=True)
    step = np.float32(layer.step.value)
    _, _, expected = gradients(x, step, lowest=lowest, highest=highest)
    assert float(found) == pytest.approx(scale * float(expected), rel=1e-3)


def test_a_first_step_is_of_few_examples_but_of_a_whole_kernel():
    x = np.ones((20, 3), np.float32)
    x[10:] = 5.0
    for has_batch_axis, seen in ((True, x[:8]), (False, x)):
        layer = StepQuantizer(8, has_batch_axis=has_batch_axis)
        layer(x, training=True)
        expected = float(first_step(seen, highest=127))
        assert float(layer.step) == pytest.approx(expected)


def test_a_negative_step_works_like_its_size():
    x = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
    layer = StepQuantizer(4)
    layer(x, training=True)
    outputs = layer(x)
    layer.step.assign(-layer.step.value)
    np.testing.assert_array_equal(layer(x), outputs)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("factor", [1e-4, 1e4])
def test_a_kernels_step_comes_back_into_its_range(bits, factor):
    kernel = np.random.default_rng(0).normal(size=(3, 3, 8, 1)).astype("float32")
    layer = StepQuantizer(bits, has_batch_axis=False)
    layer(kernel, training=True)
    layer.step.assign(factor * layer.step.value)
    assert len(np.unique(layer(kernel))) <= 2  # all cut off, or all 0
    outputs = layer(kernel, training=True)
    least, largest = kernel_step_range(kernel, highest=layer.highest)
    assert float(layer.step) == pytest.approx(float(least if factor < 1 else largest))
    assert len(np.unique(outputs)) >= 3


@pytest.mark.parametrize("bits", [1, 9])
def test_bits_out_of_range_are_refused(bits):
    with pytest.raises(ValueError, match=f"2 to 8. Received: bits={bits}"):
        StepQuantizer(bits)


@pytest.mark.parametrize("options", [{}, {"is_signed": False}])
def test_the_layer_keeps_the_contract(options, tmp_path):
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype("float32")

    def make_layer(**more) -> keras.layers.Layer:
        return StepQuantizer(4, **options, **more)

    # The saved copy has the step that is set.
    check_layer(make_layer, x, tmp_path, num_trainable=1)
