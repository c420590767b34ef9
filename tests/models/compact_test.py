import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.models.compact import build_network
from mobilenas_tf.models.layer_maker import layer_name
from mobilenas_tf.models.layer_set import STOCK
from mobilenas_tf.spaces import TABLES, named_space, space_image_size
from mobilenas_tf.spec import (
    Architecture,
    BitWidths,
    Branch,
    Convolution,
    Head,
    InvertedResidual,
    Pooling,
    SqueezeExcite,
    Stage,
)
from mobilenas_tf.zoo import ZOO, zoo_architecture
from tests.models.random_networks import (
    random_images,
    randomize,
    small_supernet_architecture,
)
from tests.reference.network import run_network

SMALL_SPACES = [name for name in TABLES if space_image_size(name) <= 32]
# Width multipliers only repeat MobileNetV2, and others of the family FBNet.
ZOO_NETWORKS = [
    name
    for name in ZOO
    if not name.startswith(("mobilenet_v2_", "fbnet"))
    or name in ("fbnet_a", "fbnet_v2_f1", "fbnet_v3_a")
]


def random_network(architecture, **options):
    network = build_network(architecture, **options)
    rng = np.random.default_rng(0)
    randomize(network, random_images(architecture, rng), rng)
    return network


def one_block(block, stem_activation="linear", image_size_px=8, **options):
    return Architecture(
        name="one_block",
        image_size_px=image_size_px,
        stem=Convolution(8, 3, 1, stem_activation),
        stages=(Stage((block,)),),
        head=Head(4),
        **options,
    )


def check_reference(architecture):
    network = random_network(architecture)
    images = random_images(architecture, np.random.default_rng(1), count=2)
    weights = {layer.name: layer.get_weights() for layer in network.layers}
    expected = run_network(architecture, weights, images)
    assert np.ptp(expected, axis=0).max() > 0.01  # the logits depend on the image
    np.testing.assert_allclose(
        np.array(network(images)), expected, rtol=1e-4, atol=1e-5
    )


def num_trained(network):
    return sum(int(np.prod(v.shape)) for v in network.trainable_variables)


@pytest.mark.parametrize("name", ZOO_NETWORKS)
def test_zoo_networks_have_the_parameters_that_the_cost_says(name):
    # At a small size, where the weights are made faster: it has no part in them.
    architecture = zoo_architecture(name, image_size_px=64)
    network = build_network(architecture)
    assert num_trained(network) == network_cost(architecture).params
    assert network.output_shape == (None, 1000)
    assert network.input_shape == (None, 64, 64, 3)


@pytest.mark.parametrize("name", SMALL_SPACES)
@pytest.mark.parametrize("is_smallest", [False, True])
def test_networks_of_a_space_have_the_parameters_that_the_cost_says(name, is_smallest):
    space = named_space(name, num_classes=7)
    genotype = (
        space.smallest() if is_smallest else space.sample(np.random.default_rng(0))
    )
    architecture = space.resolve(genotype)
    network = build_network(architecture)
    assert num_trained(network) == network_cost(architecture).params
    assert network.output_shape == (None, 7)


_KERNELS = (Branch(3, 6), Branch(5, 10))


@pytest.mark.parametrize(
    "block",
    [
        InvertedResidual(8, _KERNELS, has_residual=True),
        InvertedResidual(6, _KERNELS, stride=2, activation="hard_swish"),
        InvertedResidual(6, (Branch(7, 8),), has_expansion=False, activation="relu"),
        InvertedResidual(
            8, _KERNELS, has_residual=True, squeeze_excite=SqueezeExcite(3)
        ),
        InvertedResidual(
            6,
            _KERNELS,
            squeeze_excite=SqueezeExcite(3, "swish", "sigmoid"),
            activation="swish",
        ),
        InvertedResidual(
            8,
            (Branch(3, 16),),
            has_residual=True,
            expansion_groups=2,
            projection_groups=2,
            has_shuffle=True,
        ),
        InvertedResidual(12, (Branch(3, 16),), stride=2, projection_groups=4),
        InvertedResidual(6, (Branch(5, 10),), stride=2, padding_px=1),
        InvertedResidual(6, (Branch(3, 10),), stride=2, padding_px=0),
        InvertedResidual(8, _KERNELS, has_residual=True, bit_widths=BitWidths(2, 4)),
        InvertedResidual(
            6,
            (Branch(5, 8),),
            has_expansion=False,
            activation="hard_swish",
            bit_widths=BitWidths(4, 3),
        ),
        InvertedResidual(
            8,
            (Branch(3, 16),),
            stride=2,
            projection_groups=2,
            has_shuffle=True,
            padding_px=1,
            bit_widths=BitWidths(3, 8),
        ),
        Convolution(6, 3, 2, "hard_swish"),
        Pooling("max", 3, 2),
        Pooling("average", 3, 2),
        Pooling("average", 2, 1),
    ],
    ids=lambda block: type(block).__name__,
)
@pytest.mark.parametrize("image_size_px", [7, 8])
def test_a_block_computes_what_the_reference_does(block, image_size_px):
    check_reference(one_block(block, image_size_px=image_size_px))


def test_a_whole_network_computes_what_the_reference_does():
    check_reference(small_supernet_architecture())


def test_imagenet_normalization_and_a_hidden_layer_without_bias():
    architecture = dataclasses.replace(
        one_block(InvertedResidual(8, _KERNELS), batch_norm_epsilon=0.1),
        head=Head(4, 10, 6, has_hidden_bias=False, activation="swish"),
        input_normalization="imagenet",
    )
    check_reference(architecture)


def test_imagenet_normalization_of_known_pixels():
    architecture = dataclasses.replace(
        one_block(Pooling("max", 1, 1)), input_normalization="imagenet"
    )
    network = build_network(architecture)
    normalized = keras.Model(
        network.inputs[0], network.get_layer("input_normalization").output
    )
    # Black, and ImageNet's mean colour in [0, 1] brought to [-1, 1].
    colours = np.array([[-1, -1, -1], [-0.03, -0.088, -0.188]], "float32")
    images = np.broadcast_to(colours[:, None, None], (2, 8, 8, 3))
    black = [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225]
    np.testing.assert_allclose(
        np.array(normalized(images))[:, 0, 0], [black, [0, 0, 0]], atol=1e-6
    )


def test_stock_layers_compute_what_fused_ones_do():
    architecture = small_supernet_architecture()
    fused = random_network(architecture)
    stock = build_network(architecture, layer_set=STOCK)
    stock.set_weights(fused.get_weights())
    images = random_images(architecture, np.random.default_rng(1))
    expected = np.array(fused(images))
    np.testing.assert_allclose(
        np.array(stock(images)), expected, rtol=0, atol=1e-5 * np.abs(expected).max()
    )


def test_dropout_works_in_training_only():
    architecture = one_block(InvertedResidual(8, _KERNELS))
    dropping, plain = (
        random_network(architecture, dropout_rate=rate, batch_norm_momentum=0.9)
        for rate in (0.5, 0.0)
    )
    plain.set_weights(dropping.get_weights())
    images = random_images(architecture, np.random.default_rng(1))
    np.testing.assert_array_equal(np.array(dropping(images)), np.array(plain(images)))
    first, second, without = (
        np.array(network(images, training=True))
        for network in (dropping, dropping, plain)
    )
    assert np.any(first != second)
    assert np.any(first != without)


def test_some_images_skip_blocks_with_a_residual_while_training():
    block = InvertedResidual(4, _KERNELS, has_residual=True)
    first = dataclasses.replace(block, has_residual=False)
    architecture = Architecture(
        "deep", 8, Convolution(4), (Stage((first, block, block, block)),), Head(3)
    )
    network = build_network(architecture, drop_path_rate=0.8)
    rates = {
        layer.name: layer.rate
        for layer in network.layers
        if isinstance(layer, keras.layers.Dropout)
    }
    assert rates == pytest.approx(
        {f"stage1.block{n}.drop_path": 0.2 * (n + 1) for n in (1, 2, 3)}
    )
    layer = network.get_layer("stage1.block3.drop_path")
    x = np.ones((1000, 2, 2, 4), np.float32)
    dropped = np.array(layer(x, training=True)).reshape(1000, -1)
    assert np.all(dropped == dropped[:, :1])  # whole images
    assert set(np.unique(dropped.round(4))) == {0.0, 5.0}
    assert np.mean(dropped == 0) == pytest.approx(0.8, abs=0.05)
    np.testing.assert_array_equal(np.array(layer(x)), x)


def test_batch_norms_get_momentum_and_epsilon():
    architecture = one_block(InvertedResidual(8, _KERNELS), batch_norm_epsilon=0.02)
    network = build_network(architecture, batch_norm_momentum=0.8)
    norms = [
        layer
        for layer in network.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    # Stem, two kernels with expansion and depthwise each, projection.
    assert len(norms) == 6
    assert {(norm.momentum, norm.epsilon) for norm in norms} == {(0.8, 0.02)}


def test_layers_are_named_by_their_path():
    assert layer_name("stage1/block0/kernel3", "bn") == "stage1.block0.kernel3.bn"
    network = build_network(small_supernet_architecture())
    names = {layer.name for layer in network.layers}
    assert {
        "stem.conv",
        "stage1.block0.kernel3.depthwise.conv",
        "stage1.block1.pool",
        "stage2.block0.squeeze_excite.reduce",
        "stage2.block1.project.bn",
        "head.classifier",
    } <= names
    assert network.name == "small"


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("mobilenet_v3-1.4", "mobilenet_v3-1.4"),
        ("a b;'\"$(x)", "a_b_____x_"),
        ("../../net", ".._.._net"),
        ("-rf", "network_-rf"),
        ("_x", "network__x"),
        ("ü", "network__"),
    ],
)
def test_a_network_of_any_name_is_built_and_runs(name, scope):
    architecture = Architecture(name, 8, Convolution(4), (), Head(3))
    network = build_network(architecture)
    assert network.name == scope
    # TensorFlow takes the name for a scope of its graphs.
    assert tf.function(network)(tf.zeros((1, 8, 8, 3))).shape == (1, 3)


def test_a_network_survives_a_keras_file(tmp_path):
    architecture = small_supernet_architecture()
    network = random_network(architecture)
    path = tmp_path / "network.keras"
    network.save(path)
    kinds = {type(layer).__name__: type(layer) for layer in network.layers}
    loaded = keras.models.load_model(path, custom_objects=kinds)
    images = random_images(architecture, np.random.default_rng(1))
    np.testing.assert_array_equal(np.array(loaded(images)), np.array(network(images)))


def test_a_network_of_bit_widths_survives_a_keras_file(tmp_path):
    block = InvertedResidual(8, _KERNELS, bit_widths=BitWidths(2, 4))
    architecture = one_block(block)
    network = random_network(architecture)
    network.save(tmp_path / "network.keras")
    kinds = {type(layer).__name__: type(layer) for layer in network.layers}
    loaded = keras.models.load_model(tmp_path / "network.keras", custom_objects=kinds)
    images = random_images(architecture, np.random.default_rng(1))
    np.testing.assert_array_equal(loaded(images), network(images))


def test_an_input_behind_a_relu_spends_no_level_on_negative_values():
    signed = InvertedResidual(8, (Branch(3, 16),), bit_widths=BitWidths(8, 2))
    unsigned = dataclasses.replace(signed, bit_widths=BitWidths(8, 2, False))
    for block, num_levels in ((signed, 2), (unsigned, 4)):
        architecture = one_block(block, stem_activation="relu")
        network = random_network(architecture)
        layer = network.get_layer("stage1.block0.input.quantizer")
        probe = keras.Model(network.input, layer.output)
        images = random_images(architecture, np.random.default_rng(1))
        assert len(np.unique(probe(images))) == num_levels


def test_layers_for_int8_files_leave_8_bits_to_the_file_and_refuse_fewer():
    block = InvertedResidual(8, (Branch(3, 16),), bit_widths=BitWidths(8, 8))
    plain = dataclasses.replace(block, bit_widths=None)
    layers, expected = (
        [type(layer) for layer in build_network(one_block(b), layer_set=STOCK).layers]
        for b in (block, plain)
    )
    assert layers == expected
    for widths in (BitWidths(4, 8), BitWidths(8, 4)):
        fewer = dataclasses.replace(block, bit_widths=widths)
        with pytest.raises(ValueError) as error:
            build_network(one_block(fewer), layer_set=STOCK)
        assert str(error.value) == (
            "bit widths of stage1/block0 must be w8a8, the only ones that the kernels "
            f"of a .tflite execute, to be exported or timed. Received: {widths.label}"
        )
