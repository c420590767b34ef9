import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilenas_tf.layers.convolutions import (
    DepthwiseConvolution,
    PointwiseConvolution,
    same_padding,
)
from tests.layers.check_layer import check_layer


def _gradients(layer, images, upstream):
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = layer(images, training=True)
        loss = tf.reduce_sum(outputs * upstream)
    sources = [images, *(variable.value for variable in layer.trainable_variables)]
    return outputs, tape.gradient(loss, sources)


def _compare(ours, stock, images):
    stock.build(images.shape)
    ours.build(images.shape)
    ours.set_weights(stock.get_weights())
    upstream = tf.random.stateless_normal(stock(images).shape, [3, 4])
    our_outputs, our_gradients = _gradients(ours, images, upstream)
    stock_outputs, stock_gradients = _gradients(stock, images, upstream)
    np.testing.assert_allclose(our_outputs, stock_outputs, atol=1e-5)
    for mine, theirs in zip(our_gradients, stock_gradients, strict=True):
        scale = float(tf.reduce_max(tf.abs(theirs)))
        np.testing.assert_allclose(mine, theirs, atol=1e-5 * scale)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel_size", [1, 3, 4, 5, 7])
@pytest.mark.parametrize("size", [(8, 8), (7, 9), (2, 3)])
def test_depthwise_trains_like_the_stock_layer(kernel_size, stride, size):
    images = tf.random.stateless_normal((3, *size, 6), [1, 2])
    options = {"strides": stride, "padding": "same", "use_bias": False}
    _compare(
        DepthwiseConvolution(kernel_size, **options),
        keras.layers.DepthwiseConv2D(kernel_size, **options),
        images,
    )


@pytest.mark.parametrize("options", [{}, {"use_bias": False}, {"groups": 2}])
def test_pointwise_trains_like_the_stock_layer(options):
    images = tf.random.stateless_normal((3, 5, 4, 6), [1, 2])
    _compare(
        PointwiseConvolution(8, 1, **options),
        keras.layers.Conv2D(8, 1, **options),
        images,
    )


def test_depthwise_gradient_is_the_difference_quotient():
    layer = DepthwiseConvolution(5, padding="same", use_bias=False)
    images = tf.random.stateless_normal((2, 4, 4, 2), [1, 2])
    layer.build(images.shape)
    computed, numeric = tf.test.compute_gradient(
        lambda x: layer(x, training=True), [images], delta=1e-2
    )
    np.testing.assert_allclose(computed[0], numeric[0], atol=1e-3)


def test_same_padding_is_uneven_where_the_stride_asks_for_it():
    assert same_padding(8, 5, 1) == (2, 2)
    assert same_padding(8, 3, 2) == (0, 1)  # (4 - 1) * 2 + 3 - 8 = 1
    assert same_padding(9, 3, 2) == (1, 1)  # (5 - 1) * 2 + 3 - 9 = 2


def test_inference_is_the_stock_layers():
    images = tf.random.stateless_normal((1, 4, 4, 2), [1, 2])
    ours = DepthwiseConvolution(3, padding="valid")
    stock = keras.layers.DepthwiseConv2D(3, padding="valid")
    stock.build(images.shape)
    ours.build(images.shape)
    ours.set_weights(stock.get_weights())
    np.testing.assert_array_equal(ours(images), stock(images))


ROUNDED = {
    "pointwise": lambda **options: PointwiseConvolution(
        4, 1, use_bias=False, weight_bits=3, **options
    ),
    "grouped": lambda **options: PointwiseConvolution(
        4, 1, groups=2, weight_bits=3, **options
    ),
    "depthwise": lambda **options: DepthwiseConvolution(
        5, padding="same", weight_bits=3, **options
    ),
}


def _images(channels: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, 4, 5, channels)).astype("float32")


@pytest.mark.parametrize("kind", ROUNDED)
def test_a_rounded_kernel_is_of_few_levels(kind):
    images = _images(4)
    layer = ROUNDED[kind]()
    trained = layer(images, training=True)
    step = float(layer.kernel_quantizer.step)
    rounded = np.clip(np.round(layer.kernel.value / step), -4, 3) * step  # 3 bits
    plain = type(layer).from_config({**layer.get_config(), "weight_bits": None})
    plain.build(images.shape)
    plain.kernel.assign(rounded)
    for outputs in (trained, layer(images)):
        np.testing.assert_allclose(outputs, plain(images), atol=1e-5)


@pytest.mark.parametrize("kind", ROUNDED)
def test_kernel_and_steps_of_a_rounded_convolution_are_trained(kind):
    layer = ROUNDED[kind]()
    layer.build((None, 4, 5, 4))
    _, (_, *of_weights) = _gradients(layer, tf.constant(_images(4)), 1.0)
    for gradient in of_weights:
        assert np.any(gradient) and np.all(np.isfinite(gradient))


@pytest.mark.parametrize("kind", ["pointwise", "depthwise"])
def test_a_layer_with_a_rounded_kernel_keeps_the_contract(kind, tmp_path):
    num_trainable = 2 if kind == "pointwise" else 3  # with a bias
    check_layer(ROUNDED[kind], _images(4), tmp_path, num_trainable=num_trainable)


@pytest.mark.parametrize(
    "make_layer",
    [
        lambda **options: PointwiseConvolution(4, 1, use_bias=False, **options),
        lambda **options: DepthwiseConvolution(
            5, padding="same", use_bias=False, **options
        ),
    ],
    ids=["pointwise", "depthwise"],
)
def test_the_layer_keeps_the_contract(make_layer, tmp_path):
    images = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype("float32")
    check_layer(make_layer, images, tmp_path, num_trainable=1)
