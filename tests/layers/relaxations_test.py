"""Relaxed gates against their closed forms.

Expectations are taken over a fine even grid of noise instead of random numbers: a
share of `GRID` values is then exact to 1 / GRID, and a mean of values that rise with
the noise from 0 to 1 too.
"""

import math

import numpy as np
import pytest
import tensorflow as tf

from mobilenas_tf.layers import relaxations

GRID = 100_000
LOGITS = (-6.0, -2.5, -0.5, 0.0, 0.5, 2.5, 6.0)
EXTREME_LOGITS = (-1000.0, -100.0, 0.0, 100.0, 1000.0)
EXTREME_NOISE = (0.0, 1e-12, 0.5, 1.0 - 1e-12, 1.0)


def sigmoid(x):
    return 1.0 / (1.0 + math.exp(-x))


def grid():
    return tf.constant((np.arange(GRID) + 0.5) / GRID, tf.float64)


def samples(logit, temperature):
    logits = tf.constant(logit, tf.float64)
    z = relaxations.logistic_sigmoid_sample(logits, grid(), temperature)
    return z.numpy()


def hard_concrete_samples(logit):
    return relaxations.hard_concrete_sample(tf.constant(logit, tf.float64), grid())


def test_logistic_noise_is_the_inverse_of_the_logistic_function():
    uniform = np.array([0.01, 0.25, 0.5, 0.9])
    noise = relaxations.logistic_noise(tf.constant(uniform)).numpy()
    assert [sigmoid(value) for value in noise] == pytest.approx(list(uniform))


def test_logistic_noise_is_finite_where_uniform_noise_ends():
    noise = relaxations.logistic_noise(tf.constant([0.0, 1.0], tf.float64)).numpy()
    # The logit of 1e-6, and of 1 - 1e-6.
    assert noise == pytest.approx([-13.815510, 13.815510])


@pytest.mark.parametrize("logit", LOGITS)
@pytest.mark.parametrize("temperature", [0.001, 0.5, 2.0])
def test_share_of_samples_above_a_threshold_is_the_closed_form(logit, temperature):
    z = samples(logit, temperature)
    for threshold in (0.1, 0.5, 0.9):
        # P(z >= t) = sigmoid(a - tau logit(t))
        expected = sigmoid(logit - temperature * math.log(threshold / (1 - threshold)))
        assert np.mean(z >= threshold) == pytest.approx(expected, abs=1.0 / GRID)


@pytest.mark.parametrize("logit", LOGITS)
def test_mean_tends_to_the_keep_probability_as_temperature_falls(logit):
    probability = float(relaxations.keep_probability(tf.constant(logit, tf.float64)))
    assert probability == pytest.approx(sigmoid(logit))
    errors = [abs(samples(logit, tau).mean() - probability) for tau in (1.0, 0.1, 1e-3)]
    assert errors[-1] < 1e-6 + 1.0 / GRID
    assert logit == 0.0 or errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize(
    ("temperature", "mean"), [(0.5, 0.900), (2 / 3, 0.884), (1.0, 0.846)]
)
def test_mean_of_a_warm_gate_falls_short_of_its_probability(temperature, mean):
    # Integrals of sigmoid((2.5 + l) / tau) over the logistic density; p is 0.924. At
    # tau = 1 it is e^a (e^a - 1 - a) / (e^a - 1)^2.
    odds = math.exp(2.5)
    exact = odds * (odds - 1 - 2.5) / (odds - 1) ** 2
    assert temperature != 1.0 or mean == pytest.approx(exact, abs=5e-4)
    assert samples(2.5, temperature).mean() == pytest.approx(mean, abs=5e-4)


@pytest.mark.parametrize("temperature", [0.01, 0.05])
def test_second_moment_of_the_gradient_grows_as_temperature_falls(temperature):
    logits = tf.fill((GRID,), tf.constant(0.5, tf.float64))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        z = relaxations.logistic_sigmoid_sample(logits, grid(), temperature)
    gradients = tape.gradient(z, logits).numpy()
    p = sigmoid(0.5)
    # Mean p (1 - p), second moment p (1 - p) / (6 tau), both as tau tends to 0.
    assert gradients.mean() == pytest.approx(p * (1 - p), rel=0.01)
    second = np.mean(gradients**2)
    assert second == pytest.approx(p * (1 - p) / (6 * temperature), rel=0.02)


@pytest.mark.parametrize(
    "function",
    [
        lambda logits: relaxations.logistic_sigmoid_sample(logits, _NOISE, 0.5),
        relaxations.keep_probability,
        lambda logits: relaxations.hard_concrete_sample(logits, _NOISE),
        relaxations.hard_concrete_mode,
        relaxations.hard_concrete_keep_probability,
        lambda logits: relaxations.union_probability(tf.sigmoid(logits)),
    ],
)
def test_gradients_are_finite_differences(function):
    logits = tf.constant([[-1.5, -0.3, 0.0, 0.7], [1.9, 0.2, -0.8, 0.1]], tf.float64)
    analytic, numeric = tf.test.compute_gradient(function, [logits], delta=1e-5)
    np.testing.assert_allclose(analytic[0], numeric[0], atol=1e-7)
    assert np.abs(numeric[0]).max() > 0.01


_NOISE = np.array([[0.3, 0.8, 0.55, 0.4], [0.2, 0.6, 0.5, 0.7]])


def test_straight_through_is_hard_forward_and_soft_backward():
    logits = tf.constant([-1.0, -0.2, 0.0, 0.2, 1.0], tf.float64)
    noise = np.array([0.6, 0.7, 0.5, 0.2, 0.5])

    def soft(a):
        return relaxations.logistic_sigmoid_sample(a, noise, 0.5)

    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logits)
        z = soft(logits)
        hard = relaxations.straight_through(z)
    # 1[a + l > 0], with l = log u - log(1 - u); in the middle a + l = 0 exactly.
    np.testing.assert_array_equal(hard, [0, 1, 0, 0, 1])
    # dz/da = z (1 - z) / tau
    expected = z.numpy() * (1 - z.numpy()) / 0.5
    np.testing.assert_allclose(tape.gradient(hard, logits), expected, rtol=1e-12)


@pytest.mark.parametrize("temperature", [1e-3, 0.5])
@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_extremes_are_finite_with_finite_gradients(temperature, dtype):
    grids = np.meshgrid(EXTREME_LOGITS, EXTREME_NOISE)
    logits, uniform = (tf.constant(values.ravel(), dtype) for values in grids)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logits)
        sample = relaxations.logistic_sigmoid_sample(logits, uniform, temperature)
        values = [
            sample,
            relaxations.straight_through(sample),
            relaxations.keep_probability(logits),
            relaxations.hard_concrete_sample(logits, uniform),
            relaxations.hard_concrete_mode(logits),
            relaxations.hard_concrete_keep_probability(logits),
            relaxations.union_probability(tf.reshape(tf.sigmoid(logits), (5, 5))),
        ]
    for value in values:
        assert np.all((value.numpy() >= 0.0) & (value.numpy() <= 1.0))
        assert np.all(np.isfinite(tape.gradient(value, logits).numpy()))


def test_beyond_doubt_a_sample_is_what_its_logit_says():
    uniform = tf.constant(EXTREME_NOISE, tf.float32)
    for logit, expected in ((-100.0, 0.0), (100.0, 1.0)):
        logits = tf.fill((5,), logit)
        for sample in (
            relaxations.logistic_sigmoid_sample(logits, uniform, 0.5),
            relaxations.hard_concrete_sample(logits, uniform),
            relaxations.hard_concrete_mode(logits),
        ):
            np.testing.assert_allclose(sample, np.full(5, expected), atol=1e-30)


@pytest.mark.parametrize("logit", (-4.605, -1.0, 0.0, 1.0, 4.605))
def test_hard_concrete_has_its_published_mass_on_both_ends(logit):
    z = hard_concrete_samples(logit).numpy()
    # z = 0 iff s <= 1/12, z = 1 iff s >= 11/12, where logit(11/12) = log 11.
    shift = 2 / 3 * math.log(11)
    assert np.mean(z == 0.0) == pytest.approx(sigmoid(-logit - shift), abs=1 / GRID)
    assert np.mean(z == 1.0) == pytest.approx(sigmoid(logit - shift), abs=1 / GRID)
    keep = relaxations.hard_concrete_keep_probability(tf.constant(logit, tf.float64))
    assert float(keep) == pytest.approx(sigmoid(logit + 1.59860), abs=1e-6)
    assert np.mean(z != 0.0) == pytest.approx(float(keep), abs=1.0 / GRID)


def test_hard_concrete_probabilities_of_the_reference_code():
    keep = relaxations.hard_concrete_keep_probability(tf.constant([0.0, -4.605]))
    np.testing.assert_allclose(keep, [0.8318, 0.0471], atol=5e-5)
    assert np.mean(hard_concrete_samples(0.0) == 1.0) == pytest.approx(0.168, abs=1e-3)


def test_hard_concrete_samples_between_the_ends_are_the_stretched_sigmoid():
    uniform = np.array([0.35, 0.5, 0.6])
    z = relaxations.hard_concrete_sample(tf.constant(0.2, tf.float64), uniform)
    for value, u in zip(z.numpy(), uniform, strict=True):
        s = sigmoid((math.log(u) - math.log(1 - u) + 0.2) / (2 / 3))
        assert 0 < value < 1
        assert value == pytest.approx(s * 1.2 - 0.1)


def test_hard_concrete_mode_is_exact_beyond_its_published_limits():
    # sigmoid(a) = 1/12 and 11/12: a = -+log 11 = -+2.3979.
    logits = tf.constant([-100.0, -2.3980, -2.3978, 0.0, 2.3978, 2.3980, 100.0])
    mode = relaxations.hard_concrete_mode(logits).numpy()
    assert mode[0] == mode[1] == 0.0
    assert 0.0 < mode[2] < mode[3] < mode[4] < 1.0
    assert mode[3] == pytest.approx(0.5)
    assert mode[5] == mode[6] == 1.0


def test_union_is_the_grouping_of_the_reference_code():
    # Values of morph_net's probabilistic_grouping_regularizer_test.
    probabilities = [[0.1, 0.3, 0.6, 0.2], [0.2, 0.4, 0.5, 0.1], [0.3, 0.2, 0.0, 0.25]]
    union = relaxations.union_probability(probabilities)
    np.testing.assert_allclose(union, [0.496, 0.664, 0.8, 0.46], rtol=1e-6)


def test_union_of_hard_gates_is_or_with_finite_gradients():
    probabilities = tf.constant([[0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    with tf.GradientTape() as tape:
        tape.watch(probabilities)
        union = relaxations.union_probability(probabilities)
    np.testing.assert_array_equal(union, [0.0, 1.0, 1.0, 1.0])
    # d/dp_k = prod over the others of (1 - p)
    np.testing.assert_array_equal(
        tape.gradient(union, probabilities), [[1, 1, 0, 0], [1, 0, 1, 0]]
    )


def test_union_of_one_gate_is_its_probability():
    union = relaxations.union_probability(tf.constant([[0.3, 0.7]]))
    np.testing.assert_allclose(union, [0.3, 0.7], rtol=1e-6)
