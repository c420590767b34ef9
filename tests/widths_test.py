import dataclasses

import numpy as np
import pytest

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
    walk_blocks,
)
from mobilenas_tf.widths import (
    kernel_path,
    output_groups,
    resize,
    surviving_blocks,
    width_groups,
)
from mobilenas_tf.zoo import zoo_architecture

# stem 8 -> block without expansion (adds to the stem) | 12, then two blocks that add
# to it, a pooling layer between | convolution 16 | head 32 and 20.
_NETWORK = Architecture(
    name="small",
    image_size_px=32,
    stem=Convolution(8, 3, 2),
    stages=(
        Stage(
            (
                InvertedResidual(
                    8, (Branch(3, 8),), has_expansion=False, has_residual=True
                ),
            )
        ),
        Stage(
            (
                InvertedResidual(
                    12,
                    (Branch(3, 16), Branch(5, 24)),
                    stride=2,
                    squeeze_excite=SqueezeExcite(6),
                ),
                InvertedResidual(12, (Branch(3, 36), Branch(5, 48)), has_residual=True),
                Pooling("max", 3, 1),
                InvertedResidual(12, (Branch(7, 60),), has_residual=True),
            )
        ),
        Stage((Convolution(16, 3, 2),)),
    ),
    head=Head(10, conv_channels=32, hidden_channels=20),
)


def _blocks(architecture):
    return {path: block for path, block, _ in walk_blocks(architecture)}


def test_kernel_path_names_block_and_kernel():
    assert kernel_path("stage3/block1", 5) == "stage3/block1/kernel5"


def test_output_groups_follow_residual_connections_and_pooling():
    assert output_groups(_NETWORK) == {
        "stem": "stem/output",
        "stage1/block0": "stem/output",
        "stage2/block0": "stage2/block0/output",
        "stage2/block1": "stage2/block0/output",
        "stage2/block2": "stage2/block0/output",
        "stage2/block3": "stage2/block0/output",
        "stage3/block0": "stage3/block0/output",
    }


def test_width_groups_are_in_order_of_use_with_their_producers():
    groups = width_groups(_NETWORK)
    assert [(group.path, group.channels, group.producers) for group in groups] == [
        ("stem/output", 8, ("stem", "stage1/block0")),
        ("stage2/block0/kernel3", 16, ("stage2/block0/kernel3",)),
        ("stage2/block0/kernel5", 24, ("stage2/block0/kernel5",)),
        ("stage2/block0/squeeze_excite", 6, ("stage2/block0/squeeze_excite",)),
        (
            "stage2/block0/output",
            12,
            ("stage2/block0", "stage2/block1", "stage2/block3"),
        ),
        ("stage2/block1/kernel3", 36, ("stage2/block1/kernel3",)),
        ("stage2/block1/kernel5", 48, ("stage2/block1/kernel5",)),
        ("stage2/block3/kernel7", 60, ("stage2/block3/kernel7",)),
        ("stage3/block0/output", 16, ("stage3/block0",)),
        ("head/conv", 32, ("head/conv",)),
        ("head/hidden", 20, ("head/hidden",)),
    ]
    assert {group.path for group in groups if group.is_kernel} == {
        "stage2/block0/kernel3",
        "stage2/block0/kernel5",
        "stage2/block1/kernel3",
        "stage2/block1/kernel5",
        "stage2/block3/kernel7",
    }


def test_only_residual_blocks_with_expansion_can_vanish():
    operators = {group.operator for group in width_groups(_NETWORK)}
    assert operators == {None, "stage2/block1", "stage2/block3"}


def test_grouped_convolutions_have_no_free_kernel():
    block = InvertedResidual(8, (Branch(3, 16),), expansion_groups=2)
    network = dataclasses.replace(_NETWORK, stages=(Stage((block,)),))
    assert not any(group.is_kernel for group in width_groups(network))


def test_resize_to_its_own_widths_is_the_identity():
    widths = {group.path: group.channels for group in width_groups(_NETWORK)}
    assert resize(_NETWORK, widths) == _NETWORK
    assert resize(_NETWORK, {}) == _NETWORK


def test_resize_changes_every_layer_that_touches_a_group():
    resized = resize(
        _NETWORK,
        {
            "stem/output": 5,
            "stage2/block0/output": 7,
            "stage2/block0/squeeze_excite": 2,
            "stage2/block1/kernel3": 3,
            "stage3/block0/output": 9,
            "head/conv": 11,
            "head/hidden": 13,
        },
    )
    blocks = _blocks(resized)
    assert resized.stem.out_channels == 5
    assert blocks["stage1/block0"].out_channels == 5
    assert blocks["stage1/block0"].branches == (Branch(3, 5),)
    assert blocks["stage2/block0"].out_channels == 7
    assert blocks["stage2/block0"].squeeze_excite == SqueezeExcite(2)
    assert blocks["stage2/block1"].out_channels == 7
    assert blocks["stage2/block1"].branches == (Branch(3, 3), Branch(5, 48))
    assert blocks["stage2/block2"] == Pooling("max", 3, 1)
    assert blocks["stage2/block3"].out_channels == 7
    assert blocks["stage3/block0"].out_channels == 9
    assert (resized.head.conv_channels, resized.head.hidden_channels) == (11, 13)


def test_a_kernel_of_width_0_is_left_out():
    resized = resize(_NETWORK, {"stage2/block0/kernel3": 0})
    assert _blocks(resized)["stage2/block0"].branches == (Branch(5, 24),)


def test_a_residual_block_without_kernels_vanishes_and_later_ones_move_up():
    widths = {"stage2/block1/kernel3": 0, "stage2/block1/kernel5": 0}
    resized = resize(_NETWORK, widths)
    before, after = _NETWORK.stages[1].blocks, resized.stages[1].blocks
    assert after == (before[0], before[2], before[3])
    assert surviving_blocks(_NETWORK, widths) == {
        "stage1/block0": "stage1/block0",
        "stage2/block0": "stage2/block0",
        "stage2/block1": "stage2/block2",
        "stage2/block2": "stage2/block3",
        "stage3/block0": "stage3/block0",
    }


def test_resize_refuses_to_cut_the_network():
    with pytest.raises(
        ValueError,
        match="widths of stage2/block0 must keep a channel of some kernel, as nothing "
        "leads around this block",
    ):
        resize(_NETWORK, {"stage2/block0/kernel3": 0, "stage2/block0/kernel5": 0})


@pytest.mark.parametrize(
    ("path", "count", "message"),
    [
        ("stage2/block1/output", 8, "must name width groups of small. Received: "),
        ("stage2/block0/kernel7", 8, "must name width groups of small. Received: "),
        (
            "stem/output",
            0,
            "width of stem/output must be an integer from 1 to 8. Received: 0",
        ),
        (
            "stem/output",
            9,
            "width of stem/output must be an integer from 1 to 8. Received: 9",
        ),
        ("stage2/block1/kernel3", -1, "must be an integer from 0 to 36. Received: -1"),
        (
            "head/conv",
            0,
            "width of head/conv must be an integer from 1 to 32. Received: 0",
        ),
    ],
)
def test_unknown_groups_and_widths_out_of_range_are_refused(path, count, message):
    with pytest.raises(ValueError) as error:
        resize(_NETWORK, {path: count})
    assert message in str(error.value)


def test_a_width_that_is_no_integer_is_refused():
    with pytest.raises(ValueError, match="stem/output"):
        resize(_NETWORK, {"stem/output": 4.5})


def test_head_without_hidden_layers_has_no_group():
    network = dataclasses.replace(_NETWORK, head=Head(10))
    assert not any(group.path.startswith("head") for group in width_groups(network))
    assert resize(network, {"stem/output": 4}).head == Head(10)


def test_mobilenet_v3_first_block_keeps_the_stems_channels():
    resized = resize(zoo_architecture("mobilenet_v3_large"), {"stem/output": 8})
    first = _blocks(resized)["stage1/block0"]
    assert first.branches == (Branch(3, 8),)
    assert first.out_channels == 8


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("seed", range(3))
def test_surviving_blocks_hold_the_widths_they_were_given(name, seed):
    space = named_space(name)
    rng = np.random.default_rng(seed)
    widths = space.sample(rng)
    operators = sorted(
        {group.operator for group in width_groups(space.supernet)} - {None}
    )
    closed = set(rng.permutation(operators)[: len(operators) // 2 + 1])
    for group in width_groups(space.supernet):
        if group.operator is not None:
            widths[group.path] = 0 if group.operator in closed else group.channels
    before = _blocks(space.supernet)
    after = _blocks(resize(space.supernet, widths))
    sources = surviving_blocks(space.supernet, widths)
    assert sources.keys() == after.keys()
    assert set(sources.values()) == before.keys() - closed
    for path, source in sources.items():
        expected = {
            branch.kernel_size: widths.get(
                kernel_path(source, branch.kernel_size),
                widths.get("stem/output", branch.channels),
            )
            for branch in before[source].branches
        }
        kept = {branch.kernel_size: branch.channels for branch in after[path].branches}
        assert kept == {kernel: width for kernel, width in expected.items() if width}
