import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilenas_tf.layers.norms import FusedBatchNormalization
from tests.layers.check_layer import check_layer
from tests.reference.network import batch_norm

MOMENTUM, EPSILON = 0.9, 1e-3


def random_images(shape=(4, 3, 5, 6), seed=0):
    rng = np.random.default_rng(seed)
    return (2.0 * rng.normal(size=shape) + 1.0).astype("float32")


def random_norm(kind, num_axes=4):
    """Returns a layer for six channels whose weights are no defaults."""
    layer = kind(momentum=MOMENTUM, epsilon=EPSILON)
    layer.build((None,) * (num_axes - 1) + (6,))
    rng = np.random.default_rng(1)
    layer.set_weights(
        [
            rng.uniform(0.5, 1.5, 6),
            rng.normal(size=6),
            rng.normal(size=6),
            rng.uniform(0.5, 1.5, 6),
        ]
    )
    return layer


def both(num_axes=4):
    kinds = (FusedBatchNormalization, keras.layers.BatchNormalization)
    return [random_norm(kind, num_axes) for kind in kinds]


def test_the_layer_keeps_the_contract(tmp_path):
    check_layer(
        FusedBatchNormalization,
        random_images(),
        tmp_path,
        num_trainable=2,
        num_non_trainable=2,
    )


@pytest.mark.parametrize("training", [False, True])
def test_outputs_are_those_of_the_stock_layer(training):
    fused, stock = both()
    images = random_images()
    np.testing.assert_allclose(
        fused(images, training=training),
        stock(images, training=training),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("training", [False, True])
def test_gradients_are_those_of_the_stock_layer(training):
    images, weights = tf.constant(random_images()), random_images(seed=2)
    gradients = []
    for layer in both():
        with tf.GradientTape() as tape:
            tape.watch(images)
            value = tf.reduce_sum(layer(images, training=training) ** 2 * weights)
        gradients.append(
            tape.gradient(value, [images, *(v.value for v in layer.trainable_weights)])
        )
    for fused, stock in zip(*gradients, strict=True):
        scale = np.abs(stock).max()
        np.testing.assert_allclose(fused, stock, rtol=0, atol=2e-5 * scale)


def test_inference_is_the_formula():
    layer = random_norm(FusedBatchNormalization)
    images = random_images()
    expected = batch_norm(images, layer.get_weights(), EPSILON)
    for options in ({}, {"training": False}):
        np.testing.assert_allclose(layer(images, **options), expected, rtol=1e-5)


def test_moving_statistics_take_in_the_unbiased_variance():
    fused, stock = both()
    _, _, mean, variance = fused.get_weights()
    images = random_images()
    for layer in (fused, stock):
        layer(images, training=True)
    n = images[..., 0].size
    batch_mean = images.mean(axis=(0, 1, 2))
    batch_variance = images.var(axis=(0, 1, 2))
    new_mean = MOMENTUM * mean + (1 - MOMENTUM) * batch_mean
    np.testing.assert_allclose(fused.moving_mean, new_mean, rtol=1e-5)
    np.testing.assert_allclose(stock.moving_mean, new_mean, rtol=1e-5)
    # Differs: n / (n - 1).
    kept = MOMENTUM * variance
    np.testing.assert_allclose(
        fused.moving_variance,
        kept + (1 - MOMENTUM) * batch_variance * n / (n - 1),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        stock.moving_variance, kept + (1 - MOMENTUM) * batch_variance, rtol=1e-5
    )


@pytest.mark.parametrize("freeze", ["inference", "not trainable"])
def test_statistics_stand_still_outside_training(freeze):
    layer = random_norm(FusedBatchNormalization)
    layer.trainable = freeze == "inference"
    before = layer.get_weights()
    images = random_images()
    outputs = layer(images, training=freeze == "not trainable")
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    expected = batch_norm(images, before, EPSILON)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_channel_scale_multiplies_scale_and_offset(training):
    scale = np.array([0.0, 1.0, 0.5, 0.0, 0.25, 1.0], "float32")
    images = random_images()
    scaled, plain = (random_norm(FusedBatchNormalization) for _ in range(2))
    outputs = np.array(scaled(images, training=training, channel_scale=scale))
    gamma, beta, mean, variance = plain.get_weights()
    plain.set_weights([gamma * scale, beta * scale, mean, variance])
    np.testing.assert_allclose(
        outputs, plain(images, training=training), rtol=1e-5, atol=1e-6
    )
    assert np.all(outputs[..., [0, 3]] == 0.0)
    assert np.all(outputs[..., 1] != 0.0)


@pytest.mark.parametrize("shape", [(8, 6), (4, 3, 5, 6)])
@pytest.mark.parametrize("training", [False, True])
def test_gradient_with_respect_to_the_channel_scale(training, shape):
    images, weights = random_images(shape), random_images(shape, seed=2)
    layer = random_norm(FusedBatchNormalization, len(shape))
    scale = tf.Variable([0.0, 1.0, 0.5, 0.0, 0.25, 1.0])
    with tf.GradientTape() as tape:
        outputs = layer(images, training=training, channel_scale=scale)
        value = tf.reduce_sum(outputs * weights)
    gradient = tape.gradient(value, scale)
    # The output is linear in the scale: the derivative holds the unscaled output.
    layer = random_norm(FusedBatchNormalization, len(shape))
    unscaled = np.array(layer(images, training=training))
    axes = tuple(range(len(shape) - 1))
    np.testing.assert_allclose(
        gradient, np.sum(unscaled * weights, axes), rtol=1e-4, atol=1e-3
    )


@pytest.mark.parametrize("shape", [(8, 6), (4, 5, 6)])
def test_other_shapes_get_what_the_stock_layer_gives(shape):
    fused, stock = both(len(shape))
    inputs = random_images(shape)
    # Sums over the batch depend, in the last bit, on where in memory the images lie.
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    for training in (True, False):
        close(fused(inputs, training=training), stock(inputs, training=training))
    close(fused.moving_variance, stock.moving_variance)
    scale = np.array([0.0, 1.0, 0.5, 0.0, 0.25, 1.0], "float32")
    close(fused(inputs, channel_scale=scale), stock(inputs) * scale)


def test_a_gated_norm_survives_the_file(tmp_path):
    image = keras.Input((3, 5, 6))
    layer = FusedBatchNormalization(momentum=MOMENTUM)
    outputs = layer(image, channel_scale=keras.ops.mean(image, axis=(0, 1, 2)))
    model = keras.Model(image, outputs)
    layer.set_weights(random_norm(FusedBatchNormalization).get_weights())
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(
        tmp_path / "model.keras",
        custom_objects={"FusedBatchNormalization": FusedBatchNormalization},
    )
    np.testing.assert_array_equal(
        np.array(loaded(random_images())), np.array(model(random_images()))
    )
