import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilenas_tf.costs.network import cost_function, layer_costs, network_cost
from mobilenas_tf.costs.ops import Cost
from mobilenas_tf.spaces import TABLES, named_space
from mobilenas_tf.spec import (
    Architecture,
    Branch,
    Convolution,
    Head,
    InvertedResidual,
    Pooling,
    SqueezeExcite,
    Stage,
)
from mobilenas_tf.widths import resize, width_groups

_BLOCK = InvertedResidual(
    out_channels=4,
    branches=(Branch(3, 6), Branch(5, 2)),
    has_residual=True,
    squeeze_excite=SqueezeExcite(2),
)
_NETWORK = Architecture(
    name="small",
    image_size_px=8,
    stem=Convolution(4, 3, 2),
    stages=(Stage((_BLOCK,)),),
    head=Head(3, conv_channels=8, hidden_channels=5),
)


def _presence(supernet, widths):
    """Returns 0 or 1 by `<block>/presence` for every block that can vanish."""
    alive = {}
    for group in width_groups(supernet):
        if group.operator is not None:
            path = f"{group.operator}/presence"
            alive[path] = max(alive.get(path, 0), int(widths[group.path] > 0))
    return alive


def _closing_genotypes(space, seed):
    """Yields the smallest genotype and one with about half of the kernels closed."""
    rng = np.random.default_rng(seed)
    yield space.smallest()
    yield space.repair(
        {
            path: 0 if "kernel" in path and rng.random() < 0.7 else width
            for path, width in space.sample(rng).items()
        }
    )


def test_layers_cost_what_their_formulas_say():
    stem, block, head = layer_costs(_NETWORK)
    # 3x3 on RGB to 4 channels, 4x4 positions; batch norm 2 * 4.
    assert stem.cost == Cost(macs=108 * 16, params=108 + 8)
    # Expansion 4 * 8, kernels 9 * 6 + 25 * 2, projection 8 * 4, each with batch norm;
    # squeeze-excite 8 * 2 and back, with biases.
    assert block.cost == Cost(
        macs=(32 + 104 + 32) * 16 + 16 + 16,
        params=(32 + 16) + (104 + 16) + (32 + 8) + (16 + 2) + (16 + 8),
    )
    # 1x1 to 8 with batch norm, dense 5 and 3 with biases.
    assert head.cost == Cost(
        macs=32 * 16 + 40 + 15, params=(32 + 16) + (40 + 5) + (15 + 3)
    )
    assert [layer.path for layer in (stem, block, head)] == [
        "stem",
        "stage1/block0",
        "head",
    ]
    assert [layer.out_size_px for layer in (stem, block, head)] == [4, 4, 1]
    assert [layer.out_channels for layer in (stem, block, head)] == [4, 4, 3]


def test_the_network_costs_what_its_layers_cost():
    assert network_cost(_NETWORK) == Cost(macs=1728 + 2720 + 567, params=477)


def test_strides_pooling_and_plain_convolutions_are_counted_at_their_output():
    network = Architecture(
        name="small",
        image_size_px=9,
        stem=Convolution(4, 3, 2),
        stages=(
            Stage((Pooling("max", 3, 2), Convolution(6, 3, 2))),
            Stage(
                (InvertedResidual(8, (Branch(3, 6),), stride=2, has_expansion=False),)
            ),
        ),
        head=Head(3),
    )
    layers = layer_costs(network)
    assert [layer.out_size_px for layer in layers] == [5, 3, 2, 1, 1]
    assert [layer.out_channels for layer in layers] == [4, 4, 6, 8, 3]
    assert [layer.cost for layer in layers[1:]] == [
        Cost(),
        Cost(macs=9 * 4 * 6 * 4, params=9 * 4 * 6 + 12),
        Cost(macs=9 * 6 + 6 * 8, params=(9 * 6 + 12) + (6 * 8 + 16)),
        Cost(macs=24, params=24 + 3),
    ]


def test_grouped_pointwise_convolutions_divide_their_weights():
    block = InvertedResidual(
        8, (Branch(3, 12),), expansion_groups=2, projection_groups=4, has_shuffle=True
    )
    network = Architecture(
        "small", 8, Convolution(4, 3, 2), (Stage((block,)),), Head(3)
    )
    _, layer, _ = layer_costs(network)
    assert layer.cost == Cost(
        macs=(4 * 12 // 2 + 9 * 12 + 12 * 8 // 4) * 16,
        params=(24 + 24) + (108 + 24) + (24 + 16),
    )


def test_a_head_without_bias_in_its_hidden_layer():
    def params(**options):
        head = Head(3, hidden_channels=5, **options)
        return network_cost(
            Architecture("small", 8, Convolution(4, 3, 2), (), head)
        ).params

    assert params() - params(has_hidden_bias=False) == 5


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("seed", range(3))
def test_cost_at_integer_widths_is_that_of_the_resized_network(name, seed):
    space = named_space(name)
    for genotype in _closing_genotypes(space, seed):
        presence = _presence(space.supernet, genotype)
        widths = {**genotype, **presence}
        expected = network_cost(resize(space.supernet, genotype))
        assert network_cost(space.supernet, widths) == expected


@pytest.mark.parametrize("name", TABLES)
def test_some_blocks_vanish_in_the_smallest_network(name):
    space = named_space(name)
    assert 0 in _presence(space.supernet, space.smallest()).values()


@pytest.mark.parametrize("name", TABLES)
def test_cost_over_tensors_equals_cost_over_integers(name):
    space = named_space(name)
    for genotype in _closing_genotypes(space, seed=0):
        widths = {**genotype, **_presence(space.supernet, genotype)}
        expected = network_cost(space.supernet, widths)
        exact = network_cost(
            space.supernet,
            {path: tf.constant(w, tf.float64) for path, w in widths.items()},
        )
        assert float(exact.macs) == expected.macs
        assert float(exact.params) == expected.params
        # float32 keeps 24 bits; a few hundred sums lose some of them.
        rounded = network_cost(
            space.supernet,
            {
                path: keras.ops.convert_to_tensor(width, "float32")
                for path, width in widths.items()
            },
        )
        assert float(rounded.macs) == pytest.approx(expected.macs, rel=1e-5)
        assert float(rounded.params) == pytest.approx(expected.params, rel=1e-5)


def test_expected_cost_under_independent_gates_is_the_mean_over_all_networks():
    # Ungated stem, so that no group meets itself; every outcome of eight gates.
    probabilities = {
        "stage1/block0/kernel3": (0.9, 0.2, 0.6),
        "stage1/block0/kernel5": (0.5, 0.3),
        "stage1/block0/output": (0.7, 0.8, 0.4),
    }
    network = Architecture(
        name="small",
        image_size_px=8,
        stem=Convolution(4, 3, 2),
        stages=(Stage((InvertedResidual(3, (Branch(3, 3), Branch(5, 2))),)),),
        head=Head(3, conv_channels=8),
    )
    mean_macs = mean_params = total = 0.0
    gates = [p for group in probabilities.values() for p in group]
    for outcome in itertools.product((0, 1), repeat=len(gates)):
        chance = np.prod(
            [p if is_open else 1 - p for is_open, p in zip(outcome, gates, strict=True)]
        )
        cost = network_cost(
            network,
            {
                "stage1/block0/kernel3": sum(outcome[:3]),
                "stage1/block0/kernel5": sum(outcome[3:5]),
                "stage1/block0/output": sum(outcome[5:]),
            },
        )
        mean_macs += chance * cost.macs
        mean_params += chance * cost.params
        total += chance
    expected = network_cost(
        network, {path: sum(group) for path, group in probabilities.items()}
    )
    assert total == pytest.approx(1.0)
    assert expected.macs == pytest.approx(mean_macs)
    assert expected.params == pytest.approx(mean_params)


@pytest.mark.parametrize("metric", ["macs", "params"])
def test_gradients_with_respect_to_widths_are_finite_differences(metric):
    space = named_space("figs_mobilenet_v3_32")
    function = cost_function(space.supernet, metric)
    widths = {
        path: tf.Variable(0.5 * width, dtype=tf.float64)
        for path, width in space.largest().items()
    }
    with tf.GradientTape() as tape:
        cost = function(widths)
    gradients = tape.gradient(cost, widths)
    values = {path: variable.numpy() for path, variable in widths.items()}
    for path, gradient in gradients.items():
        # Central differences are exact for the quadratic terms of tied groups.
        higher = function({**values, path: values[path] + 1.0})
        lower = function({**values, path: values[path] - 1.0})
        assert float(gradient) == pytest.approx((higher - lower) / 2.0, rel=1e-9)
        assert float(gradient) > 0


def test_groups_that_are_not_named_keep_their_channels():
    assert network_cost(_NETWORK, {}) == network_cost(_NETWORK)
    narrow = network_cost(_NETWORK, {"head/conv": 4})
    assert narrow == network_cost(resize(_NETWORK, {"head/conv": 4}))


def test_presence_weighs_what_is_not_in_proportion_to_the_kernels():
    widths = {"stage1/block0/presence": 0.25}
    _, block, _ = layer_costs(_NETWORK)
    _, gated, _ = layer_costs(_NETWORK, widths)
    assert gated.cost.macs == block.cost.macs
    constants = 2 * 4 + 2  # batch norm of the projection, biases of the 2 hidden
    assert gated.cost.params == block.cost.params - 0.75 * constants


def test_cost_function_picks_the_metric():
    assert cost_function(_NETWORK, "macs")({}) == 5015
    assert cost_function(_NETWORK, "params")({}) == 477


def test_an_unknown_metric_is_refused():
    with pytest.raises(
        ValueError, match="metric must be macs or params. Received: metric='flops'"
    ):
        cost_function(_NETWORK, "flops")
