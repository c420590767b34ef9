import pytest

from mobilenas_tf.costs.fbnet_counting import fbnet_counts
from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.spec import (
    Branch,
    Convolution,
    InvertedResidual,
    SqueezeExcite,
    feature_channels,
    round_channels,
    walk_blocks,
)
from mobilenas_tf.zoo import ZOO, mobilenet_v2, zoo_architecture


def _last_digit(published: int) -> int:
    """Returns the unit of the last digit given: 1,000 for 300,774,000."""
    digits = str(published)
    return 10 ** (len(digits) - len(digits.rstrip("0")))


def _batch_norm_params(architecture) -> int:
    channels = architecture.stem.out_channels + architecture.head.conv_channels
    for _, block, _ in walk_blocks(architecture):
        channels += block.expanded_channels * (1 + block.has_expansion)
        channels += block.out_channels
    return 2 * channels


@pytest.mark.parametrize(
    "name", [name for name in ZOO if ZOO[name].published_macs is not None]
)
def test_counts_are_the_published_ones_to_their_last_digit(name):
    entry = ZOO[name]
    architecture = zoo_architecture(name)
    cost = network_cost(architecture)
    if entry.counting == "fbnet":
        cost = fbnet_counts(architecture)
    params = cost.params
    if entry.counting == "without_batch_norm":
        params -= _batch_norm_params(architecture)
    assert entry.published_params is not None and entry.published_macs is not None
    assert (
        abs(params - entry.published_params) <= _last_digit(entry.published_params) / 2
    )
    assert (
        abs(cost.macs - entry.published_macs) <= _last_digit(entry.published_macs) / 2
    )


def test_fbnet_v3_a0_is_within_a_percent_of_the_one_figure_that_is_public():
    macs = fbnet_counts(zoo_architecture("fbnet_v3_a0")).macs
    assert macs == pytest.approx(217e6, rel=0.01)


@pytest.mark.parametrize("name", ZOO)
def test_networks_carry_their_name_and_the_asked_head(name):
    assert zoo_architecture(name).name == name
    assert zoo_architecture(name).head.num_classes == 1000
    assert zoo_architecture(name).image_size_px == ZOO[name].build().image_size_px
    small = zoo_architecture(name, num_classes=10, image_size_px=96)
    assert (small.name, small.head.num_classes, small.image_size_px) == (name, 10, 96)
    # 990 classes fewer: weights and biases of the last layer only.
    width = small.head.hidden_channels or small.head.conv_channels
    width = width or feature_channels(small)
    difference = (
        network_cost(zoo_architecture(name)).params - network_cost(small).params
    )
    assert difference == 990 * (width + 1)


@pytest.mark.parametrize(
    ("size_px", "macs"), [(192, 221), (160, 154), (128, 99), (96, 56)]
)
def test_mobilenet_v2_macs_at_other_sizes_are_the_published_ones(size_px, macs):
    # Checkpoint table of tensorflow/models, slim/nets/mobilenet, in millions (cut off).
    cost = network_cost(zoo_architecture("mobilenet_v2", image_size_px=size_px))
    assert int(cost.macs / 1e6) == macs


@pytest.mark.parametrize("multiplier", [0.1, 0.35, 0.5, 0.75, 1.0, 1.1, 1.3, 1.4, 2.0])
def test_mobilenet_v2_scales_every_layer_but_a_narrow_last_one(multiplier):
    network = mobilenet_v2(multiplier)
    assert network.stem.out_channels == round_channels(32 * multiplier)
    assert [stage.blocks[-1].out_channels for stage in network.stages] == [
        round_channels(channels * multiplier)
        for channels in (16, 24, 32, 64, 96, 160, 320)
    ]
    expected = {1.1: 1408, 1.3: 1664, 1.4: 1792, 2.0: 2560}.get(multiplier, 1280)
    assert network.head.conv_channels == expected


def test_mobilenet_v2_is_named_by_its_multiplier():
    assert mobilenet_v2().name == "mobilenet_v2"
    assert mobilenet_v2(1.4) == zoo_architecture("mobilenet_v2_1.4")
    assert mobilenet_v2(0.6).name == "mobilenet_v2_0.6"


@pytest.mark.parametrize("multiplier", [0, -1.0, float("nan")])
def test_mobilenet_v2_refuses_a_multiplier_that_is_not_positive(multiplier):
    with pytest.raises(ValueError, match="width_multiplier must be positive. Received"):
        mobilenet_v2(multiplier)


def test_mobilenet_v3_begins_without_expansion_and_ends_with_a_wide_hidden_layer():
    network = zoo_architecture("mobilenet_v3_large")
    assert network.stem == Convolution(16, 3, 2, "hard_swish")
    blocks = {path: block for path, block, _ in walk_blocks(network)}
    assert blocks["stage1/block0"] == InvertedResidual(
        16, (Branch(3, 16),), has_expansion=False, has_residual=True, activation="relu"
    )
    assert blocks["stage6/block1"] == InvertedResidual(
        160,
        (Branch(5, 960),),
        has_residual=True,
        activation="hard_swish",
        squeeze_excite=SqueezeExcite(240),  # 960 / 4
    )
    assert (network.head.conv_channels, network.head.hidden_channels) == (960, 1280)


def test_efficientnet_squeezes_to_a_quarter_of_each_blocks_input():
    network = zoo_architecture("efficientnet_b0")
    for _, block, in_channels in walk_blocks(network):
        assert block.squeeze_excite == SqueezeExcite(
            in_channels // 4, "swish", "sigmoid"
        )
    assert network.input_normalization == "imagenet"


def test_mnasnet_a1_squeezes_in_three_stages():
    network = zoo_architecture("mnasnet_a1")
    stages = [
        number
        for number, stage in enumerate(network.stages, start=1)
        if any(block.squeeze_excite for block in stage.blocks)
    ]
    assert stages == [3, 5, 6]


def test_atomnas_a_keeps_parallel_kernels_and_drops_an_empty_one():
    blocks = {path: b for path, b, _ in walk_blocks(zoo_architecture("atomnas_a"))}
    assert blocks["stage2/block3"].branches == (Branch(3, 14), Branch(5, 1))
    assert blocks["stage7/block0"].branches == (
        Branch(3, 654),
        Branch(5, 495),
        Branch(7, 546),
    )


def test_an_unknown_network_is_refused_with_the_nearest_names():
    with pytest.raises(ValueError) as error:
        zoo_architecture("mobilenet_v3_larg")
    assert str(error.value) == (
        "architecture must be a known name; the nearest are mobilenet_v3_large, "
        "mobilenet_v3_small, mobilenet_v2. Received: architecture='mobilenet_v3_larg'"
    )
    with pytest.raises(ValueError, match="the nearest are .*atomnas_a.*mobilenet_v2"):
        zoo_architecture("x")
