import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilenas_tf.layers.gates import (
    HARD_LOGIT,
    BatchNormScaleGate,
    HardConcreteGate,
    LogisticSigmoidGate,
)
from mobilenas_tf.layers.norms import FusedBatchNormalization
from tests.layers.check_layer import check_layer

GATES = [LogisticSigmoidGate, HardConcreteGate]
IMAGES = np.zeros((2, 3, 3, 4), "float32")


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-np.asarray(x, np.float64)))


def built(kind, logits, **options):
    gate = kind(len(logits), **options)
    gate.build()
    gate.logits.assign(np.asarray(logits))
    return gate


def masks(gate, count):
    """Returns `count` samples, `[count, C]`."""
    sample = tf.function(lambda: gate(tf.zeros([1]), training=True))
    return np.stack([sample().numpy() for _ in range(count)])


def following(*scales, dtype=None, **options):
    """Returns a gate that follows batch norms of given scales, and these."""
    norms = []
    for scale in scales:
        norm = FusedBatchNormalization(dtype=dtype)
        norm.build((None, 1, 1, len(scale)))
        norm.gamma.assign(np.asarray(scale, norm.dtype))
        norms.append(norm)
    gate = BatchNormScaleGate(len(scales[0]), dtype=dtype, **options)
    gate.follow(lambda: norms)
    return gate, norms


def test_logistic_sigmoid_gate_keeps_the_contract(tmp_path):
    check_layer(
        lambda **options: LogisticSigmoidGate(
            4,
            temperature=0.3,
            estimator="straight_through",
            initial_logit=-1.0,
            seed=5,
            **options,
        ),
        IMAGES,
        tmp_path,
        num_trainable=1,
        num_non_trainable=1,
    )


def test_hard_concrete_gate_keeps_the_contract(tmp_path):
    check_layer(
        lambda **options: HardConcreteGate(4, initial_logit=0.5, seed=5, **options),
        IMAGES,
        tmp_path,
        num_trainable=1,
    )


@pytest.mark.parametrize("kind", GATES)
def test_config_holds_every_argument(kind):
    arguments = {"channels": 4, "initial_logit": 0.25, "seed": 3, "name": "gate"}
    if kind is LogisticSigmoidGate:
        arguments |= {"temperature": 0.7, "estimator": "straight_through"}
    config = kind(**arguments).get_config()
    assert {key: config[key] for key in arguments} == arguments


@pytest.mark.parametrize("estimator", ["soft", "straight_through"])
def test_mean_of_1000_masks_is_the_keep_probability(estimator):
    # The test of morph_net's activation_gating: 0.996, 0.6, 0.004, 1 and 0 within 0.07.
    logits = [5.5, 0.5, -5.5, 1000.0, -1000.0]
    gate = built(LogisticSigmoidGate, logits, temperature=0.01, estimator=estimator)
    mean = masks(gate, 1000).mean(axis=0)
    np.testing.assert_allclose(mean, [0.996, 0.6, 0.004, 1.0, 0.0], atol=0.07)
    p = sigmoid(np.clip(logits, -50, 50))
    # At temperature 0.01 the mean differs from p by less than 1e-4.
    tolerance = 4 * np.sqrt(p * (1 - p) / 1000) + 1e-4
    assert np.all(np.abs(mean - p) <= tolerance)


def test_share_of_zeros_and_ones_of_hard_concrete_masks():
    logits = np.array([-4.6, -2.0, 0.0, 2.0, 4.6])
    z = masks(built(HardConcreteGate, logits), 1000)
    for share, p in (
        (np.mean(z == 0.0, axis=0), sigmoid(-logits - 1.59860)),
        (np.mean(z == 1.0, axis=0), sigmoid(logits - 1.59860)),
    ):
        assert np.all(np.abs(share - p) <= 4 * np.sqrt(p * (1 - p) / 1000))
    assert z.min() == 0.0
    assert z.max() == 1.0


def test_logistic_sigmoid_gate_decides_by_its_logit_outside_training():
    gate = built(LogisticSigmoidGate, [-0.01, 0.0, 0.01, 1000.0, -1000.0])
    for options in ({}, {"training": False}, {"training": None}):
        np.testing.assert_array_equal(gate(IMAGES, **options), [0, 0, 1, 1, 0])


def test_hard_concrete_gate_takes_its_mode_outside_training():
    gate = built(HardConcreteGate, [-HARD_LOGIT, -1.0, 0.0, 1.0, HARD_LOGIT])
    inner = 1.2 * sigmoid([-1.0, 0.0, 1.0]) - 0.1
    np.testing.assert_allclose(
        gate(IMAGES, training=False), [0.0, *inner, 1.0], rtol=1e-6
    )
    assert np.array(gate(IMAGES)).tolist() == np.array(gate(IMAGES)).tolist()


@pytest.mark.parametrize("kind", GATES)
def test_masks_follow_from_the_seed(kind):
    logits = np.zeros(64)
    first, same, other = (
        masks(built(kind, logits, seed=seed), 3) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, same)
    assert np.any(first != other)
    # Every step draws anew.
    assert np.any(first[0] != first[1])


def test_soft_masks_lie_between_and_straight_through_masks_at_the_ends():
    soft = masks(built(LogisticSigmoidGate, np.zeros(256)), 1)
    assert np.all((soft > 0.0) & (soft < 1.0))
    hard = masks(
        built(LogisticSigmoidGate, np.zeros(256), estimator="straight_through"), 1
    )
    assert set(np.unique(hard)) == {0.0, 1.0}
    # The same seed: the hard mask is the soft one, rounded.
    np.testing.assert_array_equal(hard, soft > 0.5)


def test_the_temperature_variable_is_what_counts():
    warm, cooled = (built(LogisticSigmoidGate, np.zeros(256)) for _ in range(2))
    cooled.temperature.assign(0.001)
    # P(0.01 < z < 0.99) = 2 sigmoid(tau logit(0.99)) - 1.
    for gate, temperature in ((warm, 0.5), (cooled, 0.001)):
        p = 2 * sigmoid(temperature * math.log(99)) - 1
        z = masks(gate, 1)
        undecided = np.mean((z > 0.01) & (z < 0.99))
        assert undecided == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / 256))


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("logit", [-100.0, 100.0])
def test_one_channel_at_the_extremes_has_finite_gradients(kind, logit):
    gate = built(kind, [logit])
    if kind is LogisticSigmoidGate:
        gate.temperature.assign(1e-3)
    with tf.GradientTape() as tape:
        mask = gate(IMAGES, training=True)
        value = tf.reduce_sum(mask) + tf.reduce_sum(gate.keep_probabilities())
    assert float(mask[0]) == float(logit > 0)
    assert np.all(np.isfinite(tape.gradient(value, gate.logits)))


@pytest.mark.parametrize(
    ("kind", "shift"), [(LogisticSigmoidGate, 0.0), (HardConcreteGate, 1.59860)]
)
@pytest.mark.parametrize("method", ["keep_probabilities", "priced_channels"])
def test_keep_probabilities_are_what_is_priced(kind, shift, method):
    logits = [-2.0, 0.0, 1.5]
    gate = built(kind, logits)
    with tf.GradientTape() as tape:
        probabilities = getattr(gate, method)()
    p = sigmoid(np.array(logits) + shift)
    np.testing.assert_allclose(probabilities, p, rtol=1e-5)
    gradient = tape.gradient(probabilities, gate.logits)
    np.testing.assert_allclose(gradient, p * (1 - p), rtol=1e-5)


@pytest.mark.parametrize("kind", GATES)
def test_gates_start_at_their_initial_logit(kind):
    gate = kind(3)
    gate.build()
    np.testing.assert_array_equal(gate.logits, [2.5, 2.5, 2.5])
    # morph_net's log_odds_init of 2.5 is p = 0.924.
    assert kind is HardConcreteGate or np.allclose(
        gate.keep_probabilities(), 0.924, atol=5e-4
    )


def test_hard_concrete_logits_stay_in_the_published_range_under_an_optimizer():
    gate = built(HardConcreteGate, [0.0, 0.0, 0.0])
    optimizer = keras.optimizers.SGD(1.0)
    gradients = tf.constant([1000.0, -1000.0, 0.5])
    optimizer.apply([gradients], [gate.logits])
    np.testing.assert_allclose(
        gate.logits, [math.log(1e-2), math.log(1e2), -0.5], rtol=1e-6
    )


@pytest.mark.parametrize("kind", GATES)
def test_batch_norm_behind_an_open_gate_is_batch_norm(kind):
    # morph_net: gated batch norm with logits of 100 equals batch norm.
    images = np.random.default_rng(0).normal(size=(4, 3, 3, 4)).astype("float32")
    gate = built(kind, [HARD_LOGIT] * 4)
    for training in (False, True):
        gated, plain = (FusedBatchNormalization() for _ in range(2))
        mask = gate(images, training=training)
        np.testing.assert_array_equal(
            np.array(gated(images, training=training, channel_scale=mask)),
            np.array(plain(images, training=training)),
        )


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(ValueError, match="must be above 0. Received: temperature=0"):
        LogisticSigmoidGate(3, temperature=0)


def test_an_unknown_estimator_is_refused():
    message = "must be soft or straight_through. Received: estimator='hard'"
    with pytest.raises(ValueError, match=message):
        LogisticSigmoidGate(3, estimator="hard")


def test_a_batch_norm_scale_gate_has_no_variables_of_its_own():
    gate, (norm,) = following([1.0, 0.5])
    gate(IMAGES)
    assert gate.variables == []
    assert len(norm.variables) == 4


def test_config_of_a_batch_norm_scale_gate_holds_every_argument():
    arguments = {"channels": 4, "threshold": 0.05, "name": "gate"}
    config = BatchNormScaleGate(**arguments).get_config()
    assert {key: config[key] for key in arguments} == arguments
    assert BatchNormScaleGate.from_config(config).get_config() == config


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_batch_norm_scale_gate_keeps_the_rest_of_the_contract(dtype):
    # `check_layer` cannot follow batch norms through a saved file.
    gate, _ = following([1.0, 0.0, -1.0, 0.005], dtype=dtype)
    in_graph = tf.function(lambda: gate(tf.zeros(IMAGES.shape, dtype)))
    for mask in (gate(IMAGES.astype(dtype)), in_graph()):
        assert mask.shape == gate.compute_output_shape(IMAGES.shape)
        assert mask.dtype == dtype
        np.testing.assert_array_equal(mask, [1, 0, 1, 0])
    assert gate.priced_channels().dtype == gate.keep_probabilities().dtype == dtype


def test_a_channel_lives_while_its_scale_is_above_the_threshold():
    gate, _ = following([1.0, 0.26, 0.25, 0.24, 0.0, -0.24, -0.26], threshold=0.25)
    for options in ({}, {"training": False}, {"training": True}):
        np.testing.assert_array_equal(gate(IMAGES, **options), [1, 1, 0, 0, 0, 0, 1])


def test_a_channel_lives_while_any_of_its_producers_does():
    scales = [1.0, -1.0, 0.001, -0.001], [0.001, 0.0, -2.0, 0.002]
    gate, _ = following(*scales)
    np.testing.assert_array_equal(gate(IMAGES), [1, 1, 1, 0])
    np.testing.assert_allclose(gate.scales(), [1.0, 1.0, 2.0, 0.002])


def test_producers_may_come_after_the_gate_was_told_of_them():
    gate, norms = following([0.0])
    np.testing.assert_array_equal(gate(IMAGES), [0])
    norms.extend(following([1.0])[1])
    np.testing.assert_array_equal(gate(IMAGES), [1])


def test_the_mask_of_a_batch_norm_scale_gate_has_no_gradient():
    gate, (norm,) = following([1.0, -1.0])
    with tf.GradientTape() as tape:
        mask = gate(IMAGES, training=True)
    assert tape.gradient(mask, norm.gamma.value) is None


def test_scales_are_probabilities_that_are_half_at_the_threshold():
    # s / (s + t) and its gradient sign(gamma) t / (s + t)^2 for t = 0.25.
    gate, (norm,) = following([0.75, -0.25, 0.0, 1.0], threshold=0.25)
    with tf.GradientTape() as tape:
        probabilities = gate.keep_probabilities()
    np.testing.assert_allclose(probabilities, [0.75, 0.5, 0.0, 0.8])
    np.testing.assert_allclose(
        tape.gradient(probabilities, norm.gamma.value),
        [0.25 / 1.0**2, -0.25 / 0.5**2, 0.0, 0.25 / 1.25**2],
        rtol=1e-6,
    )


def test_probabilities_are_above_half_where_the_mask_is_open():
    rng = np.random.default_rng(0)
    gate, _ = following(*rng.normal(0.0, 0.01, (3, 512)))
    mask = np.array(gate(IMAGES))
    assert 0 < mask.mean() < 1
    np.testing.assert_array_equal(np.array(gate.keep_probabilities()) > 0.5, mask)


def test_priced_channels_are_scales_up_to_1_with_the_gradient_of_the_largest():
    scales = [0.5, -0.5, 0.002, -0.002, 2.0], [0.1, 0.2, -0.003, 0.001, -3.0]
    gate, norms = following(*scales)
    weights = tf.constant([1.0, 2.0, 3.0, 4.0, 5.0])
    with tf.GradientTape() as tape:
        priced = gate.priced_channels()
        total = tf.reduce_sum(weights * priced)
    np.testing.assert_allclose(priced, [0.5, 0.5, 0.003, 0.002, 1.0], atol=1e-6)
    # sign(gamma) of the larger producer, dead or alive, and nothing for the other.
    first, second = tape.gradient(total, [norm.gamma.value for norm in norms])
    np.testing.assert_array_equal(first, [1.0, -2.0, 0.0, -4.0, 0.0])
    np.testing.assert_array_equal(second, [0.0, 0.0, -3.0, 0.0, -5.0])


def test_equal_producers_share_the_gradient():
    gate, norms = following([1.0], [-1.0])
    with tf.GradientTape() as tape:
        priced = gate.priced_channels()
    gradients = tape.gradient(priced, [norm.gamma.value for norm in norms])
    assert [float(gradient[0]) for gradient in gradients] == [0.5, -0.5]


@pytest.mark.parametrize("scale", [0.0, 1e-30, -100.0, 100.0])
@pytest.mark.parametrize("num_producers", [1, 2])
def test_one_channel_at_the_extremes_of_its_scale(scale, num_producers):
    gate, norms = following(*[[scale]] * num_producers)
    with tf.GradientTape() as tape:
        priced = gate.priced_channels()
        value = tf.reduce_sum(priced + gate.keep_probabilities())
    is_open = abs(scale) > 1
    assert np.array(gate(IMAGES, training=True)) == [is_open]
    np.testing.assert_allclose(priced, [min(abs(scale), 1.0)], atol=1e-5)
    np.testing.assert_allclose(gate.keep_probabilities(), [is_open], atol=1e-3)
    for gradient in tape.gradient(value, [norm.gamma.value for norm in norms]):
        assert np.all(np.isfinite(gradient))
        assert np.all(np.sign(gradient) == np.sign(scale))


@pytest.mark.parametrize("threshold", [0.0, -0.1])
def test_a_threshold_that_no_scale_is_below_is_refused(threshold):
    message = f"threshold must be above 0. Received: threshold={threshold}"
    with pytest.raises(ValueError, match=message):
        BatchNormScaleGate(3, threshold=threshold)
