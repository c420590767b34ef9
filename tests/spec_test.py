import dataclasses

import pytest

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
    describe_block,
    feature_channels,
    output_size_px,
    round_channels,
    walk_blocks,
    with_head,
)


def _network(*stages: Stage, **options) -> Architecture:
    return Architecture(
        name="small",
        image_size_px=32,
        stem=Convolution(8, 3, 2),
        stages=stages,
        head=Head(10),
        **options,
    )


def _block(**changes) -> InvertedResidual:
    block = InvertedResidual(out_channels=8, branches=(Branch(3, 16), Branch(5, 24)))
    return dataclasses.replace(block, **changes)


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        (1, 8),  # never below the divisor
        (12, 16),  # half-way goes up
        (17.9, 24),  # 16 would lose 10.6 %
        (18, 24),  # 16 would lose 11.1 %
        (20.8, 24),  # 16 * 1.3
        (11.2, 16),  # 32 * 0.35: 8 would lose 29 %
        (44.8, 48),  # 32 * 1.4
        (89.6, 88),  # 64 * 1.4: loses 1.8 %
        (134.4, 136),  # 96 * 1.4
        (1792, 1792),  # 1280 * 1.4
    ],
)
def test_round_channels_rounds_to_eight_and_loses_at_most_a_tenth(channels, expected):
    assert round_channels(channels) == expected


def test_round_channels_takes_another_divisor():
    assert round_channels(10, 4) == 12
    assert round_channels(7, 1) == 7


def test_expanded_channels_are_those_of_all_branches():
    assert _block().expanded_channels == 16 + 24


def test_walk_blocks_names_blocks_and_hands_channels_on():
    network = _network(
        Stage((_block(out_channels=12), Pooling("max", stride=2))),
        Stage(),
        Stage((Convolution(20), _block(out_channels=20, has_residual=True))),
    )
    assert [(path, channels) for path, _, channels in walk_blocks(network)] == [
        ("stage1/block0", 8),
        ("stage1/block1", 12),
        ("stage3/block0", 12),
        ("stage3/block1", 20),
    ]
    assert feature_channels(network) == 20


def test_feature_channels_without_blocks_are_the_stems():
    assert feature_channels(_network()) == 8


def test_feature_channels_look_through_pooling():
    pool = Pooling("average")
    assert feature_channels(_network(Stage((Convolution(24), pool)))) == 24


def test_padding_decides_the_size_of_the_output():
    block = _block(branches=(Branch(5, 8),), stride=2, padding_px=1)
    assert [output_size_px(block, size) for size in (28, 8, 4, 3)] == [13, 3, 1, 1]
    assert output_size_px(dataclasses.replace(block, padding_px=None), 28) == 14


def test_an_image_too_small_for_the_padding_is_refused_by_path():
    block = _block(branches=(Branch(5, 8),), stride=2, padding_px=0)
    with pytest.raises(ValueError, match="small must be larger: stage1/block1 has no"):
        _network(Stage((block, dataclasses.replace(block, branches=(Branch(7, 8),)))))


def test_with_head_changes_classes_and_size_only():
    network = _network(Stage((_block(),)))
    changed = with_head(network, num_classes=3, image_size_px=64)
    assert (changed.head.num_classes, changed.image_size_px) == (3, 64)
    assert changed == dataclasses.replace(network, head=Head(3), image_size_px=64)
    assert with_head(network, num_classes=10) == network


def test_specs_are_frozen_values():
    assert _network(Stage((_block(),))) == _network(Stage((_block(),)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(_network(), "name", "other")  # noqa: B010 - pyright knows it is frozen


@pytest.mark.parametrize("count", [0, -8, 8.0, True, "8"])
def test_a_channel_count_that_is_no_positive_integer_is_refused(count):
    for make in (
        lambda: Convolution(out_channels=count),
        lambda: _block(out_channels=count),
    ):
        with pytest.raises(
            ValueError, match=r"out_channels of \w+ must be an integer of at least 1"
        ):
            make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Branch(3, 0), "channels of Branch must be an integer of at least 1"),
        (lambda: Branch(0, 8), "kernel_size of Branch must be an integer"),
        (lambda: SqueezeExcite(0), "hidden_channels of SqueezeExcite must be"),
        (lambda: Convolution(8, stride=0), "stride of Convolution must be"),
        (lambda: Head(0), "num_classes of Head must be"),
        (lambda: Head(10, conv_channels=0), "conv_channels of Head must be"),
        (lambda: Head(10, hidden_channels=0), "hidden_channels of Head must be"),
        (lambda: Pooling("max", 0), "kernel_size of Pooling must be"),
        (lambda: Pooling("median"), "kind of Pooling must be max or average"),
        (
            lambda: Convolution(8, activation="gelu"),
            "activation of Convolution must be one of linear, relu, relu6, hard_swish, "
            "swish. Received: activation='gelu'",
        ),
        (
            lambda: SqueezeExcite(8, gate="relu"),
            "gate of SqueezeExcite must be one of sigmoid, hard_sigmoid",
        ),
        (lambda: _block(branches=()), "at least one. Received: kernel sizes []"),
        (
            lambda: _block(branches=(Branch(5, 8), Branch(3, 8))),
            "rising order, at least one. Received: kernel sizes [5, 3]",
        ),
        (
            lambda: _block(branches=(Branch(3, 8), Branch(3, 8))),
            "distinct kernel sizes",
        ),
        (
            lambda: _block(has_expansion=False),
            "must be one where has_expansion is false",
        ),
        (
            lambda: _block(padding_px=1),
            "padding_px of InvertedResidual must be at least 0, and not given with",
        ),
        (
            lambda: _block(branches=(Branch(3, 8),), padding_px=-1),
            "padding_px of InvertedResidual must be at least 0",
        ),
        (
            lambda: _block(stride=2, has_residual=True),
            "stride of InvertedResidual must be 1 where has_residual is true",
        ),
        (
            lambda: dataclasses.replace(_network(), image_size_px=0),
            "image_size_px of Architecture must be",
        ),
        (
            lambda: _network(input_normalization="caffe"),
            "input_normalization of Architecture must be one of symmetric, imagenet",
        ),
        (
            lambda: _network(batch_norm_epsilon=0.0),
            "batch_norm_epsilon of Architecture must be positive",
        ),
        (
            lambda: _network(batch_norm_epsilon=float("nan")),
            "batch_norm_epsilon of Architecture must be positive",
        ),
    ],
)
def test_bad_values_are_refused_by_field_and_class(make, message):
    with pytest.raises(ValueError) as error:
        make()
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"has_residual": True, "out_channels": 16},
            "out_channels of stage1/block0 must equal its 8 input channels",
        ),
        (
            {"has_expansion": False, "branches": (Branch(3, 16),)},
            "branches of stage1/block0 must have its 8 input channels",
        ),
        (
            {"expansion_groups": 3},
            "expansion_groups of stage1/block0 must divide 8 channels",
        ),
        (
            {"projection_groups": 16},
            "projection_groups of stage1/block0 must divide 40 channels",
        ),
        (
            {"projection_groups": 5},
            "projection_groups of stage1/block0 must divide 8 channels",
        ),
    ],
)
def test_blocks_that_do_not_fit_their_place_are_refused_by_path(changes, message):
    with pytest.raises(ValueError) as error:
        _network(Stage((_block(**changes),)))
    assert message in str(error.value)


@pytest.mark.parametrize("bits", [1, 9, 4.0, True, "4"])
def test_bits_that_are_no_integer_from_2_to_8_are_refused(bits):
    for name in ("weights", "activations"):
        widths = {"weights": 4, "activations": 4, name: bits}
        with pytest.raises(ValueError, match=f"{name} of BitWidths must be an integer"):
            BitWidths(**widths)


def test_bit_widths_are_said_in_short():
    assert BitWidths(4, 8).label == "w4a8"
    assert not BitWidths(4, 8).is_int8
    assert BitWidths(8, 8).is_int8
    block = _block(branches=(Branch(3, 16),), bit_widths=BitWidths(2, 4))
    assert describe_block(block) == "k3 16, w2a4, relu6"


def test_layers_of_squeeze_excite_have_no_bit_widths():
    with pytest.raises(ValueError, match="bit_widths of InvertedResidual must not be"):
        _block(bit_widths=BitWidths(4, 4), squeeze_excite=SqueezeExcite(4))


def test_an_input_is_taken_as_unsigned_only_behind_a_relu():
    unsigned = _block(bit_widths=BitWidths(4, 4, is_input_signed=False))
    pool = Pooling("max")
    _network(Stage((unsigned,)))
    _network(Stage((pool, unsigned)))
    _network(Stage((_block(), Convolution(8, activation="relu"), unsigned)))
    for before in (_block(), Convolution(8, activation="hard_swish")):
        with pytest.raises(
            ValueError, match="is_input_signed of stage1/block2 must be"
        ):
            _network(Stage((before, pool, unsigned)))
