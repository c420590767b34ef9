import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.layers.gates import HardConcreteGate, LogisticSigmoidGate
from mobilenas_tf.models.compact import build_network
from mobilenas_tf.models.supernet import build_supernet_model
from mobilenas_tf.space import SearchSpace, removable_kernels, width_space
from mobilenas_tf.spec import (
    Architecture,
    Branch,
    Convolution,
    Head,
    InvertedResidual,
    Stage,
)
from tests.models.random_networks import (
    batch_norm_scale_gate,
    hard_concrete_gate,
    logistic_sigmoid_gate,
    open_supernet,
    random_images,
    random_probabilities,
    set_probabilities,
    set_scales,
    small_normed_space,
    small_space,
)

# Every width; two groups are written by several blocks.
_CHANNELS = {
    "stem/output": 8,
    "stage1/block2/kernel3": 8,
    "stage1/block2/kernel5": 8,
    "stage2/block0/kernel3": 8,
    "stage2/block0/kernel5": 8,
    "stage2/block0/squeeze_excite": 4,
    "stage2/block0/output": 12,
    "stage2/block1/kernel3": 8,
    "stage2/block1/kernel5": 8,
    "stage2/block1/squeeze_excite": 4,
    "stage2/block3/kernel3": 8,
    "stage2/block3/kernel5": 8,
    "stage2/block4/output": 12,
    "head/conv": 16,
    "head/hidden": 8,
}


# The batch norms that make the channels of every width that has some.
_NORMS = {
    "stem/output": ("stem", "stage1.block0.project", "stage1.block2.project"),
    "stage2/block0/output": (
        "stage2.block0.project",
        "stage2.block1.project",
        "stage2.block3.project",
    ),
    "stage2/block4/output": ("stage2.block4",),
    "head/conv": ("head",),
    **{
        f"{stage}/{block}/kernel{size}": (f"{stage}.{block}.kernel{size}.depthwise",)
        for stage, block in (
            ("stage1", "block2"),
            ("stage2", "block0"),
            ("stage2", "block1"),
            ("stage2", "block3"),
        )
        for size in (3, 5)
    },
}


@pytest.fixture(scope="module")
def normed():
    """A supernet with batch-norm scale gates; every test sets the scales it needs."""
    return build_supernet_model(small_normed_space(), batch_norm_scale_gate)


@pytest.fixture(scope="module")
def supernet():
    return open_supernet(small_space())


def tiny_space():
    """Returns a space of three gates: the stem and a block that can vanish, tied."""
    block = InvertedResidual(2, (Branch(3, 1), Branch(5, 1)), has_residual=True)
    architecture = Architecture("tiny", 4, Convolution(2), (Stage((block,)),), Head(2))
    return width_space("tiny", architecture, channel_divisor=1)


def only(space, *paths):
    """Returns the space with no decisions but the named ones."""
    choices = tuple(choice for choice in space.choices if choice.path in paths)
    return SearchSpace(space.name, space.supernet, choices, space.channel_divisor)


def test_every_open_width_has_a_gate(supernet):
    channels = {path: gate.channels for path, gate in supernet.gates.items()}
    assert channels == _CHANNELS


def test_gates_come_from_the_factory_with_seeds_of_their_own():
    made = []

    def make_gate(choice, name, seed):
        made.append((choice.values[-1], name, seed))
        return HardConcreteGate(choice.values[-1], seed=seed, name=name)

    build_supernet_model(tiny_space(), make_gate, seed=70)
    assert made == [
        (2, "stem.output.gate", 70),
        (1, "stage1.block0.kernel3.gate", 71),
        (1, "stage1.block0.kernel5.gate", 72),
    ]


def test_variables_are_divided_between_weights_and_architecture(supernet):
    logits = supernet.architecture_variables
    assert [tuple(v.shape) for v in logits] == [(c,) for c in _CHANNELS.values()]
    assert all(
        variable is gate.logits
        for variable, gate in zip(logits, supernet.gates.values(), strict=True)
    )
    weights = supernet.weight_variables
    both = {id(v) for v in logits} | {id(v) for v in weights}
    assert both == {id(v) for v in supernet.model.trainable_variables}
    assert len(both) == len(logits) + len(weights)
    trained = sum(int(np.prod(v.shape)) for v in weights)
    assert trained == network_cost(supernet.space.supernet).params


def test_the_masked_model_shows_the_masks_of_the_same_network(supernet):
    set_probabilities(
        supernet, random_probabilities(supernet.space, np.random.default_rng(0))
    )
    images = random_images(supernet.space.supernet, np.random.default_rng(1))
    logits, masks = supernet.masked_model(images)
    np.testing.assert_array_equal(np.array(logits), np.array(supernet.model(images)))
    for path, gate in supernet.gates.items():
        np.testing.assert_array_equal(
            np.array(masks[path]), np.array(gate.logits) > 0.0
        )


@pytest.mark.parametrize("make_gate", [logistic_sigmoid_gate, hard_concrete_gate])
def test_masks_are_samples_in_training_only(make_gate):
    supernet = build_supernet_model(tiny_space(), make_gate)
    for gate in supernet.gates.values():
        gate.logits.assign(np.zeros(gate.channels))
    images = random_images(supernet.space.supernet, np.random.default_rng(1))

    def masks(training):
        _, by_path = supernet.masked_model(images, training=training)
        return np.concatenate([np.array(mask) for mask in by_path.values()])

    np.testing.assert_array_equal(masks(False), masks(False))
    assert np.any(masks(True) != masks(True))
    assert len(np.unique(masks(True))) > 2


def test_an_open_supernet_is_the_plain_network(supernet):
    for gate in supernet.gates.values():
        gate.logits.assign(np.full(gate.channels, 100.0))
    plain = build_network(supernet.space.supernet)
    plain.set_weights(
        [
            weight
            for layer in supernet.model.layers
            if not isinstance(layer, LogisticSigmoidGate)
            for weight in layer.get_weights()
        ]
    )
    images = random_images(supernet.space.supernet, np.random.default_rng(1))
    expected = np.array(plain(images))
    np.testing.assert_allclose(
        np.array(supernet.model(images)), expected, rtol=1e-5, atol=1e-6
    )


def test_closed_channels_are_exactly_zero(supernet):
    for gate in supernet.gates.values():
        gate.logits.assign(np.full(gate.channels, 1.0))
    closed = {"stage2/block0/kernel5": [1, 4], "stem/output": [0, 7]}
    for path, channels in closed.items():
        logits = np.full(supernet.gates[path].channels, 1.0)
        logits[channels] = -1.0
        supernet.gates[path].logits.assign(logits)
    model = supernet.model
    names = ("stage2.block0.kernel5.depthwise.bn", "stage1.block2.add")
    inner = keras.Model(
        model.inputs[0], [model.get_layer(name).output for name in names]
    )
    images = random_images(supernet.space.supernet, np.random.default_rng(1))
    for outputs, channels in zip(inner(images), closed.values(), strict=True):
        is_zero = np.all(np.array(outputs) == 0.0, axis=(0, 1, 2))
        assert np.flatnonzero(is_zero).tolist() == channels


def test_a_block_without_channels_adds_nothing(supernet):
    for path, gate in supernet.gates.items():
        is_closed = path.startswith("stage2/block1/kernel")
        gate.logits.assign(np.full(gate.channels, -1.0 if is_closed else 1.0))
    block = keras.Model(
        supernet.model.inputs[0],
        supernet.model.get_layer("stage2.block1.project.bn").output,
    )
    images = random_images(supernet.space.supernet, np.random.default_rng(1))
    assert np.all(np.array(block(images)) == 0.0)


def test_keep_probabilities_are_the_gates_own(supernet):
    p = random_probabilities(supernet.space, np.random.default_rng(0))
    set_probabilities(supernet, p)
    kept = supernet.keep_probabilities()
    assert list(kept) == list(_CHANNELS)
    for path, probabilities in kept.items():
        np.testing.assert_allclose(probabilities, p[path], atol=2e-6)


def test_expected_widths_are_the_mean_over_all_outcomes():
    supernet = build_supernet_model(tiny_space(), logistic_sigmoid_gate)
    probabilities = {
        "stem/output": [0.9, 0.3],
        "stage1/block0/kernel3": [0.6],
        "stage1/block0/kernel5": [0.25],
    }
    flat = [p for group in probabilities.values() for p in group]
    mean = dict.fromkeys(("stem/output", "kernel3", "kernel5", "presence"), 0.0)
    for outcome in itertools.product((0, 1), repeat=4):
        chance = np.prod(
            [p if is_open else 1 - p for p, is_open in zip(flat, outcome, strict=True)]
        )
        stem, (kernel3, kernel5) = outcome[:2], outcome[2:]
        is_there = kernel3 or kernel5
        mean["stem/output"] += chance * sum(stem)
        mean["kernel3"] += chance * kernel3
        mean["kernel5"] += chance * kernel5
        mean["presence"] += chance * is_there
    widths = supernet.expected_widths(
        {path: tf.constant(p, tf.float64) for path, p in probabilities.items()}
    )
    by_name = {
        path.removeprefix("stage1/block0/"): float(width)
        for path, width in widths.items()
    }
    assert by_name == pytest.approx(mean)


def test_gradients_of_expected_widths_are_finite_differences():
    supernet = build_supernet_model(tiny_space(), logistic_sigmoid_gate)
    paths = list(supernet.gates)

    def total(*probabilities):
        widths = supernet.expected_widths(dict(zip(paths, probabilities, strict=True)))
        return tf.add_n([(i + 1.0) * w for i, w in enumerate(widths.values())])

    probabilities = [tf.constant(p, tf.float64) for p in ([0.9, 0.3], [0.6], [0.25])]
    analytic, numeric = tf.test.compute_gradient(total, probabilities, delta=1e-5)
    for ours, theirs in zip(analytic, numeric, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_expected_widths_of_hard_gates_have_finite_gradients(supernet):
    for gate in supernet.gates.values():
        gate.logits.assign(np.where(np.arange(gate.channels) % 2, 100.0, -100.0))
    with tf.GradientTape() as tape:
        widths = supernet.expected_widths(supernet.keep_probabilities())
        total = tf.add_n(list(widths.values()))
    for gradient in tape.gradient(total, supernet.architecture_variables):
        assert np.all(np.isfinite(gradient))


def test_only_blocks_whose_kernels_are_all_open_can_vanish():
    space = tiny_space()
    kernels = ["stage1/block0/kernel3", "stage1/block0/kernel5"]
    removable = removable_kernels(only(space, *kernels))
    assert {path: [k.path for k in v] for path, v in removable.items()} == {
        "stage1/block0": kernels
    }
    assert removable_kernels(only(space, kernels[0])) == {}
    assert removable_kernels(only(space, "stem/output")) == {}


def scales_of(supernet):
    return {
        layer.name.removesuffix(".bn"): layer.gamma
        for layer in supernet.model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    }


def images_of(supernet):
    return random_images(supernet.space.supernet, np.random.default_rng(1))


def test_with_batch_norm_scale_gates_all_variables_are_weights(normed):
    assert normed.architecture_variables == []
    ours = [id(variable) for variable in normed.weight_variables]
    assert ours == [id(variable) for variable in normed.model.trainable_variables]
    trained = sum(int(np.prod(v.shape)) for v in normed.weight_variables)
    assert trained == network_cost(normed.space.supernet).params
    plain = build_network(normed.space.supernet)
    assert len(normed.model.variables) == len(plain.variables)


def test_a_batch_norm_opens_the_channels_that_it_makes(normed):
    scales = scales_of(normed)
    assert _NORMS.keys() == normed.gates.keys()
    assert {name for names in _NORMS.values() for name in names} < scales.keys()
    images = images_of(normed)
    for opened in scales:
        for name, gamma in scales.items():
            gamma.assign(np.full(gamma.shape, 0.0 if name != opened else -1.0))
        _, masks = normed.masked_model(images)
        for path, mask in masks.items():
            np.testing.assert_array_equal(np.array(mask), opened in _NORMS[path])


def test_batch_norm_scale_gates_do_not_sample(normed):
    kept = {
        path: p > 0.5
        for path, p in random_probabilities(
            normed.space, np.random.default_rng(0)
        ).items()
    }
    set_scales(normed, kept, np.random.default_rng(1))
    for training in (False, True):
        _, masks = normed.masked_model(images_of(normed), training=training)
        assert masks.keys() == kept.keys()
        for path, mask in masks.items():
            np.testing.assert_array_equal(np.array(mask), kept[path])


def test_a_new_supernet_with_batch_norm_scale_gates_is_the_plain_network():
    supernet = build_supernet_model(small_normed_space(), batch_norm_scale_gate)
    plain = build_network(supernet.space.supernet)
    plain.set_weights(supernet.model.get_weights())
    images = images_of(supernet)
    np.testing.assert_allclose(
        np.array(supernet.model(images)), np.array(plain(images)), rtol=1e-5, atol=1e-6
    )


def test_channels_of_small_scale_are_exactly_zero(normed):
    for gamma in scales_of(normed).values():
        gamma.assign(np.ones(gamma.shape))
    closed = {"stage2/block0/kernel5": [1, 4], "stem/output": [0, 7]}
    for path, channels in closed.items():
        for name in _NORMS[path]:
            gamma = scales_of(normed)[name]
            gamma.assign(np.where(np.isin(np.arange(8), channels), -0.009, 1.0))
    names = ("stage2.block0.kernel5.depthwise.bn", "stage1.block2.add")
    inner = keras.Model(
        normed.model.inputs[0], [normed.model.get_layer(name).output for name in names]
    )
    outputs = inner(images_of(normed))
    for output, channels in zip(outputs, closed.values(), strict=True):
        is_zero = np.all(np.array(output) == 0.0, axis=(0, 1, 2))
        assert np.flatnonzero(is_zero).tolist() == channels


def test_the_price_of_a_channel_reaches_the_largest_scale():
    supernet = build_supernet_model(tiny_space(), batch_norm_scale_gate)
    scales = {
        "stem": [2.0, -0.5],
        "stage1.block0.project": [1.0, 0.7],
        "stage1.block0.kernel3.depthwise": [-0.3],
        "stage1.block0.kernel5.depthwise": [0.004],
    }
    for name, gamma in scales.items():
        scales_of(supernet)[name].assign(np.array(gamma))
    variables = [scales_of(supernet)[name].value for name in scales]
    prices = {
        "stem/output": 3.0,
        "stage1/block0/kernel3": 5.0,
        "stage1/block0/kernel5": 7.0,
        "stage1/block0/presence": 11.0,
    }
    with tf.GradientTape() as tape:
        widths = supernet.expected_widths(supernet.priced_channels())
        cost = tf.add_n([prices[path] * width for path, width in widths.items()])
    # Up to 1 a scale counts as a part of a channel. The block is there by
    # 1 - (1 - 0.3)(1 - 0.004), whose slopes are 1 - 0.004 and 1 - 0.3.
    presence = 1 - 0.7 * 0.996
    expected_cost = 3.0 * 1.7 + 5.0 * 0.3 + 7.0 * 0.004 + 11.0 * presence
    assert float(cost) == pytest.approx(expected_cost)
    gradients = tape.gradient(cost, variables)
    kernel3, kernel5 = 5.0 + 11.0 * 0.996, 7.0 + 11.0 * 0.7
    expected = [3.0, 0.0], [0.0, 3.0], [-kernel3], [kernel5]
    for ours, theirs in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize("scale", [0.0, 0.009, 100.0])
def test_scales_at_their_extremes_have_finite_gradients(normed, scale):
    for gamma in scales_of(normed).values():
        gamma.assign(np.full(gamma.shape, scale))
    images = images_of(normed)
    variables = [variable.value for variable in normed.weight_variables]
    with tf.GradientTape() as tape:
        logits, masks = normed.masked_model(images, training=True)
        widths = normed.expected_widths(normed.priced_channels())
        value = tf.reduce_mean(logits) + tf.add_n(list(widths.values()))
    for mask in masks.values():
        np.testing.assert_array_equal(np.array(mask), scale > 0.01)
    for gradient in tape.gradient(value, variables):
        assert gradient is not None
        assert np.all(np.isfinite(gradient))
