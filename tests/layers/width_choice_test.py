import numpy as np
import pytest
import tensorflow as tf

from mobilenas_tf.layers.width_choice import WidthChoiceGate
from tests.layers.check_layer import check_layer

WIDTHS = (0, 2, 3)
X = np.zeros((1, 4, 4, 3), np.float32)


def built(logits, **options):
    gate = WidthChoiceGate(WIDTHS, **options)
    gate.build()
    gate.logits.assign(logits)
    return gate


def test_it_keeps_the_contract(tmp_path):
    check_layer(
        lambda **options: WidthChoiceGate(WIDTHS, temperature=0.5, seed=3, **options),
        X,
        tmp_path,
        num_trainable=1,
        num_non_trainable=1,
    )


def test_outside_training_the_likeliest_count_of_channels_is_open():
    for index, mask in enumerate(([0, 0, 0], [1, 1, 0], [1, 1, 1])):
        gate = built(np.eye(3)[index])
        np.testing.assert_array_equal(gate(X, training=False), mask)


def test_keep_probabilities_are_those_of_more_channels_and_sum_to_the_mean():
    p = np.array([0.2, 0.5, 0.3])
    gate = built(np.log(p))
    # P(count > 0) = P(2) + P(3), the same for the second channel, P(3) for the third.
    np.testing.assert_allclose(gate.keep_probabilities(), [0.8, 0.8, 0.3], rtol=1e-6)
    mean = float(np.sum(gate.keep_probabilities()))
    assert mean == pytest.approx(0.5 * 2 + 0.3 * 3)


def test_samples_are_falling_and_open_channels_as_often_as_is_likely():
    p = np.array([0.2, 0.5, 0.3])
    gate = built(np.log(p), temperature=0.01)
    masks = np.array([gate(X, training=True) for _ in range(1000)])
    assert np.all(np.diff(masks, axis=1) <= 1e-6)
    expected = np.array([0.8, 0.8, 0.3])
    bound = 4 * np.sqrt(expected * (1 - expected) / 1000) + 0.01
    assert np.all(np.abs(masks.mean(axis=0) - expected) < bound)


def test_warm_samples_mix_the_prefixes():
    masks = np.array([built([0, 0, 0], temperature=5.0)(X, training=True)])
    assert np.all((masks > 0.05) & (masks < 0.95))


@pytest.mark.parametrize("logit", [-100.0, 100.0])
def test_extreme_logits_have_finite_gradients(logit):
    gate = built([logit, 0, 0], temperature=0.1)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(gate(X, training=True)) + tf.reduce_sum(
            gate.keep_probabilities()
        )
    assert np.all(np.isfinite(tape.gradient(loss, gate.logits.value)))


def test_config_holds_every_argument():
    gate = WidthChoiceGate(WIDTHS, temperature=2.0, seed=3, name="a")
    again = WidthChoiceGate.from_config(gate.get_config())
    assert again.get_config() == gate.get_config()
    assert (again.widths, again.initial_temperature, again.seed) == (WIDTHS, 2.0, 3)


@pytest.mark.parametrize("widths", [(), (3, 2), (2, 2), (0,)])
def test_counts_that_are_none_are_refused(widths):
    with pytest.raises(ValueError, match="widths must be one or more distinct counts"):
        WidthChoiceGate(widths)


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(ValueError, match="temperature must be above 0"):
        WidthChoiceGate(WIDTHS, temperature=0.0)
