"""The invariant that derivation rests on, for every space and every kind of block.

A supernet with hard gates computes what the compact network with its weights computes,
and its expected cost is the compact network's cost.
"""

import dataclasses
import functools

import keras
import numpy as np
import pytest

from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.models.compact import build_network
from mobilenas_tf.models.derive import (
    Selection,
    derived_architecture,
    harden,
    select_channels,
)
from mobilenas_tf.models.network_io import is_step, network_weights
from mobilenas_tf.models.supernet import Supernet, build_supernet_model
from mobilenas_tf.models.weight_transfer import (
    VariableCut,
    transfer_weights,
    variable_cuts,
)
from mobilenas_tf.space import SearchSpace, required_kernels, width_space
from mobilenas_tf.spaces import TABLES, named_space, space_image_size
from mobilenas_tf.spec import (
    Architecture,
    BitWidths,
    Branch,
    Convolution,
    Head,
    InvertedResidual,
    Stage,
    with_head,
)
from mobilenas_tf.widths import resize
from tests.models.random_networks import (
    batch_norm_scale_gate,
    constant_probabilities,
    hard_concrete_gate,
    logistic_sigmoid_gate,
    random_images,
    random_probabilities,
    randomize,
    set_scales,
    small_normed_space,
    small_space,
    small_supernet_architecture,
    take_statistics,
)
from tests.small_detectors import FPNLITE, SSDLITE, small_detector

# Those for larger images only repeat blocks.
SPACES = [name for name in TABLES if space_image_size(name) <= 32]
SPACES += ["figs_mobilenet_v3"]


def check_derivation(supernet: Supernet, probabilities) -> Architecture:
    """Checks outputs, masks, widths, parameters and costs of both networks."""
    selection = select_channels(supernet.space, probabilities)
    harden(supernet, selection)
    return check_agreement(supernet, selection, randomized(supernet))


def check_scales(supernet: Supernet, probabilities) -> Architecture:
    """Checks the same where the scales of batch norm say what is kept."""
    selection = select_channels(supernet.space, probabilities)
    images = randomized(supernet)
    rng = np.random.default_rng(2)
    set_scales(supernet, selection.kept, rng)
    take_statistics(supernet.model, images, rng)
    scales = {path: np.array(s) for path, s in supernet.priced_channels().items()}
    by_scale = select_channels(supernet.space, scales)
    for path, kept in selection.kept.items():
        np.testing.assert_array_equal(by_scale.kept[path], kept)
    return check_agreement(supernet, by_scale, images)


def randomized(supernet: Supernet) -> np.ndarray:
    """Draws the supernet's weights anew and returns images for it."""
    rng = np.random.default_rng(1)
    # With fewer images the statistics of 1x1 maps may enlarge rounding errors.
    images = random_images(supernet.space.supernet, rng, count=24)
    randomize(supernet.model, images, rng)
    return images


def check_agreement(
    supernet: Supernet, selection: Selection, images: np.ndarray
) -> Architecture:
    space = supernet.space
    architecture = derived_architecture(space, selection, name="derived")
    compact = build_network(architecture)
    transfer_weights(supernet, selection, compact)

    outputs, masks = supernet.masked_model(images)
    pairs = zip(
        keras.tree.flatten(outputs), keras.tree.flatten(compact(images)), strict=True
    )
    for masked, derived in (map(np.array, pair) for pair in pairs):
        scale = np.abs(masked).max()
        assert np.ptp(masked, axis=0).max() > 0.01 * scale  # it depends on the image
        assert np.abs(masked - derived).max() <= 1e-5 * scale

    for path, mask in masks.items():
        np.testing.assert_array_equal(np.array(mask), selection.kept[path])
    expected_widths = {
        path: int(width) for path, width in supernet.expected_widths(masks).items()
    }
    by_group = {p: w for p, w in expected_widths.items() if "/presence" not in p}
    assert by_group == selection.widths
    cost = network_cost(architecture)
    assert network_cost(space.supernet, expected_widths) == cost
    trained = sum(
        int(np.prod(variable.shape))
        for key, variable in network_weights(compact).items()
        if variable.trainable and not is_step(key)
    )
    assert trained == cost.params
    return architecture


@pytest.mark.parametrize("head", [SSDLITE, FPNLITE], ids=lambda h: type(h).__name__)
def test_detectors_agree(head):
    space = width_space("detector", small_detector(head), channel_divisor=2)
    supernet = build_supernet_model(space, logistic_sigmoid_gate)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        check_derivation(supernet, random_probabilities(space, rng))


@functools.cache
def small_supernet() -> Supernet:
    return build_supernet_model(small_space(), logistic_sigmoid_gate)


def num_blocks(architecture: Architecture) -> int:
    return sum(len(stage.blocks) for stage in architecture.stages)


@pytest.mark.parametrize("name", SPACES)
def test_masked_and_compact_network_agree(name):
    space = named_space(name, num_classes=5)
    if space_image_size(name) > 32:  # the same layers, at a size for a test
        small = with_head(space.supernet, num_classes=5, image_size_px=32)
        space = dataclasses.replace(space, supernet=small)
    supernet = build_supernet_model(space, logistic_sigmoid_gate)
    rng = np.random.default_rng(0)
    check_derivation(supernet, random_probabilities(supernet.space, rng))


@pytest.mark.parametrize("seed", range(4))
def test_they_agree_for_every_kind_of_block(seed):
    supernet = small_supernet()
    rng = np.random.default_rng(seed)
    check_derivation(supernet, random_probabilities(supernet.space, rng))


@pytest.mark.parametrize("seed", range(2))
def test_they_agree_for_rounded_blocks(seed):
    whole = small_supernet_architecture()
    stages = tuple(
        Stage(
            tuple(
                dataclasses.replace(block, bit_widths=BitWidths(4, 6))
                if isinstance(block, InvertedResidual) and not block.squeeze_excite
                else block
                for block in stage.blocks
            )
        )
        for stage in whole.stages
    )
    rounded = dataclasses.replace(whole, stages=stages)
    space = width_space("rounded", rounded, channel_divisor=2)
    supernet = build_supernet_model(space, logistic_sigmoid_gate)
    probabilities = random_probabilities(space, np.random.default_rng(seed))
    check_derivation(supernet, probabilities)


def test_they_agree_when_every_gate_is_closed():
    supernet = small_supernet()
    architecture = check_derivation(
        supernet, constant_probabilities(supernet.space, 0.1)
    )
    # Three blocks can vanish; the other five hold the network together.
    assert num_blocks(architecture) == num_blocks(supernet.space.supernet) - 3
    smallest = supernet.space.resolve(supernet.space.smallest())
    assert network_cost(architecture) == network_cost(smallest)


def test_they_agree_when_every_gate_is_open():
    supernet = small_supernet()
    architecture = check_derivation(
        supernet, constant_probabilities(supernet.space, 1.0)
    )
    assert architecture == dataclasses.replace(supernet.space.supernet, name="derived")


def test_they_agree_when_blocks_vanish():
    supernet = small_supernet()
    probabilities = constant_probabilities(supernet.space, 0.9)
    for path in probabilities:
        if path.startswith(("stage1/block2/kernel", "stage2/block1/kernel")):
            probabilities[path][:] = 0.1  # 0.8 channels: nearer to 0 than to 2
    architecture = check_derivation(supernet, probabilities)
    assert [len(stage.blocks) for stage in architecture.stages] == [2, 4]


def test_they_agree_when_one_kernel_with_one_step_of_channels_survives():
    supernet = small_supernet()
    probabilities = constant_probabilities(supernet.space, 0.9)
    for path in probabilities:
        if "/kernel" in path:
            probabilities[path][:] = 0.1
    probabilities["stage2/block1/kernel5"][[2, 6]] = 0.8
    architecture = check_derivation(supernet, probabilities)
    assert architecture.stages[1].blocks[1].branches == (Branch(5, 2),)


def test_they_agree_when_all_gates_of_a_required_block_are_closed():
    supernet = small_supernet()
    (kernels,) = required_kernels(supernet.space.supernet)
    probabilities = constant_probabilities(supernet.space, 0.9)
    for kernel in kernels:
        probabilities[kernel.path][:] = 0.1
    probabilities["stage2/block0/kernel5"][3:5] = 0.3
    architecture = check_derivation(supernet, probabilities)
    # The likeliest step of channels is kept.
    assert architecture.stages[1].blocks[0].branches == (Branch(5, 2),)


def test_they_agree_for_a_stem_tied_to_a_first_block_without_expansion():
    block = InvertedResidual(8, (Branch(3, 8),), has_expansion=False, has_residual=True)
    architecture = Architecture(
        "tied", 8, Convolution(8, 3, 2), (Stage((block, block)),), Head(3)
    )
    space = width_space("tied", architecture, channel_divisor=1)
    supernet = build_supernet_model(space, logistic_sigmoid_gate)
    probabilities = {"stem/output": np.array([0.9, 0.9, 0.6, 0.7, 0.1, 0.1, 0.8, 0.9])}
    derived = check_derivation(supernet, probabilities)
    assert derived.stem.out_channels == 5  # the sum of the probabilities


def test_they_agree_with_hard_concrete_gates():
    supernet = build_supernet_model(small_space(), hard_concrete_gate)
    rng = np.random.default_rng(0)
    check_derivation(supernet, random_probabilities(supernet.space, rng))


@pytest.mark.parametrize("channel_divisor", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_they_agree_with_batch_norm_scale_gates(channel_divisor, seed):
    supernet = build_supernet_model(
        small_normed_space(channel_divisor), batch_norm_scale_gate
    )
    rng = np.random.default_rng(seed)
    check_scales(supernet, random_probabilities(supernet.space, rng))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_they_agree_when_all_scales_are_alike(value):
    supernet = build_supernet_model(small_normed_space(), batch_norm_scale_gate)
    architecture = check_scales(supernet, constant_probabilities(supernet.space, value))
    space = supernet.space
    genotype = space.largest() if value > 0.5 else space.smallest()
    assert network_cost(architecture) == network_cost(space.resolve(genotype))


def test_they_agree_with_batch_norm_scale_gates_in_a_named_space():
    space = named_space("figs_quantized_16", num_classes=5)
    supernet = build_supernet_model(space, batch_norm_scale_gate)
    check_scales(supernet, random_probabilities(space, np.random.default_rng(0)))


@pytest.mark.parametrize("channel_divisor", [1, 4])
def test_they_agree_for_other_divisors(channel_divisor):
    supernet = build_supernet_model(small_space(channel_divisor), logistic_sigmoid_gate)
    rng = np.random.default_rng(0)
    check_derivation(supernet, random_probabilities(supernet.space, rng))


_BLOCK = InvertedResidual(8, (Branch(3, 6), Branch(5, 6)), has_residual=True)
_PLAIN = Architecture("plain", 8, Convolution(8), (Stage((_BLOCK,)),), Head(3, 8))


@pytest.mark.parametrize("value", [0.1, 0.9])
@pytest.mark.parametrize(
    "paths",
    [
        ("stage1/block0/kernel3", "stage1/block0/kernel5"),
        ("stage1/block0/kernel3",),
        ("stage1/block0/kernel3", "stem/output"),
        ("stem/output",),
        ("head/conv",),
    ],
)
def test_they_agree_in_spaces_with_a_few_open_decisions(paths, value):
    whole = width_space("plain", _PLAIN, channel_divisor=2)
    choices = tuple(choice for choice in whole.choices if choice.path in paths)
    space = SearchSpace("plain", _PLAIN, choices, 2)
    supernet = build_supernet_model(space, logistic_sigmoid_gate)
    check_derivation(supernet, constant_probabilities(supernet.space, value))


def cut(shape, axes):
    source, target = (keras.Variable(np.zeros(shape)) for _ in range(2))
    return VariableCut(source, target, axes)


@pytest.mark.parametrize(
    ("axes", "part"),
    [
        ({}, [[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]]),
        ({2: [1]}, [[[1], [5], [9]]]),
        ({2: [3, 0], 1: [2, 1]}, [[[11, 8], [7, 4]]]),
        ({0: [0], 1: [1], 2: [2]}, [[[6]]]),
        ({1: [0, 2], 2: []}, [[[], []]]),
    ],
)
def test_a_part_is_what_stays_on_each_axis(axes, part):
    # The value at [0, i, j] is 4 i + j.
    values = np.arange(12.0).reshape(1, 3, 4)
    indices = {axis: np.array(kept, int) for axis, kept in axes.items()}
    np.testing.assert_array_equal(cut(values.shape, indices).part_of(values), part)


def test_kernels_are_cut_on_both_sides_and_norms_on_their_one():
    whole = width_space("plain", _PLAIN, channel_divisor=1)
    kept = {
        "stem/output": np.array([0, 1, 0, 1, 1, 0, 0, 0], bool),
        "stage1/block0/kernel3": np.array([0, 0, 1, 0, 1, 0], bool),
        "stage1/block0/kernel5": np.array([1, 0, 0, 0, 0, 1], bool),
    }
    wide = build_network(whole.supernet)
    narrow = build_network(
        resize(_PLAIN, {path: int(mask.sum()) for path, mask in kept.items()})
    )
    cuts = variable_cuts(whole.supernet, wide, narrow, kept)
    axes = {
        cut.target.path: {axis: i.tolist() for axis, i in cut.axes.items()}
        for cut in cuts
    }
    stem, kernel3, kernel5 = [1, 3, 4], [2, 4], [0, 5]
    # The head stays whole.
    head, classes = list(range(8)), [0, 1, 2]
    block = "stage1.block0"
    expected = {
        "stem.conv/kernel": {3: stem},
        f"{block}.kernel3.expand.conv/kernel": {2: stem, 3: kernel3},
        f"{block}.kernel3.depthwise.conv/kernel": {2: kernel3},
        f"{block}.kernel5.expand.conv/kernel": {2: stem, 3: kernel5},
        f"{block}.kernel5.depthwise.conv/kernel": {2: kernel5},
        # The kernels' channels lie side by side: 0 to 5 and 6 to 11.
        f"{block}.project.conv/kernel": {2: [2, 4, 6, 11], 3: stem},
        "head.conv/kernel": {2: stem, 3: head},
        "head.classifier/kernel": {0: head},
        "head.classifier/bias": {0: classes},
    }
    for name, channels in (
        ("stem", stem),
        (f"{block}.kernel3.expand", kernel3),
        (f"{block}.kernel3.depthwise", kernel3),
        (f"{block}.kernel5.expand", kernel5),
        (f"{block}.kernel5.depthwise", kernel5),
        (f"{block}.project", stem),
        ("head", head),
    ):
        for variable in ("gamma", "beta", "moving_mean", "moving_variance"):
            expected[f"{name}.bn/{variable}"] = {0: channels}
    assert axes == expected
