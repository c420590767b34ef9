import numpy as np
import pytest
import tensorflow as tf

from mobilenas_tf.layers.choices import OperatorChoice
from mobilenas_tf.layers.relaxations import gumbel_softmax, one_hot_straight_through
from tests.layers.check_layer import check_layer

LOGITS = np.log([0.5, 0.3, 0.2]).astype("float32")


def choice_of(logits, **options):
    layer = OperatorChoice(len(logits), **options)
    layer.build()
    layer.logits.assign(logits)
    return layer


def test_the_layer_keeps_the_contract(tmp_path):
    def make_layer(**options):
        return OperatorChoice(3, **options)

    check_layer(
        make_layer,
        np.zeros((1, 3), np.float32),
        tmp_path,
        num_trainable=1,
        num_non_trainable=1,
    )


@pytest.mark.parametrize("sampling", ["mixture", "path"])
def test_samples_sum_to_one_and_are_largest_as_often_as_they_are_likely(sampling):
    layer = choice_of(LOGITS, temperature=0.7, sampling=sampling)
    draw = tf.function(lambda: layer(None, training=True))
    samples = np.array([draw() for _ in range(3000)])
    np.testing.assert_allclose(samples.sum(axis=1), 1, atol=1e-6)
    shares = np.bincount(samples.argmax(axis=1)) / len(samples)
    # Three standard deviations of a share of 3,000.
    np.testing.assert_allclose(shares, [0.5, 0.3, 0.2], atol=0.028)
    if sampling == "path":
        assert set(np.unique(samples.round(6))) == {0.0, 1.0}
    np.testing.assert_allclose(layer.probabilities(), [0.5, 0.3, 0.2], rtol=1e-6)


def test_the_likeliest_decides_when_it_is_not_trained():
    layer = choice_of(LOGITS)
    np.testing.assert_array_equal(layer(None, training=False), [1, 0, 0])


def test_samples_sharpen_as_the_temperature_falls():
    uniform = np.array([0.2, 0.7, 0.4], np.float32)
    entropies = []
    for temperature in (5.0, 1.0, 0.1):
        p = np.array(gumbel_softmax(LOGITS, uniform, temperature))
        entropies.append(-np.sum(p * np.log(p + 1e-12)))
    assert entropies == sorted(entropies, reverse=True)
    expected = LOGITS - np.log(-np.log(uniform))
    expected = np.exp(expected) / np.exp(expected).sum()
    np.testing.assert_allclose(
        gumbel_softmax(LOGITS, uniform, 1.0), expected, rtol=1e-5
    )


def test_a_hard_sample_has_the_gradient_of_the_soft_one():
    logits = tf.constant(LOGITS)
    values = tf.constant([1.0, 2.0, 5.0])
    gradients = []
    for estimate in (lambda soft: soft, one_hot_straight_through):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = tf.reduce_sum(estimate(tf.nn.softmax(logits)) * values)
        gradients.append(tape.gradient(loss, logits))
    np.testing.assert_allclose(gradients[0], gradients[1], rtol=1e-6)
    hard = one_hot_straight_through(tf.nn.softmax(logits))
    np.testing.assert_allclose(hard, [1, 0, 0], atol=1e-7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"sampling": "all"}, "sampling must be mixture or path"),
    ],
)
def test_options_that_are_off_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        OperatorChoice(3, **options)
