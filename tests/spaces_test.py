import numpy as np
import pytest

from mobilenas_tf.costs.network import layer_costs, network_cost
from mobilenas_tf.one_shot_space import operation_named, operation_path
from mobilenas_tf.one_shot_spaces import SPACES as ONE_SHOT_SPACES
from mobilenas_tf.one_shot_spaces import named_one_shot_space
from mobilenas_tf.spaces import (
    TABLES,
    NetworkTable,
    StageRow,
    build_supernet,
    named_space,
)
from mobilenas_tf.spec import (
    Branch,
    Convolution,
    Head,
    InvertedResidual,
    SqueezeExcite,
    Stage,
    walk_blocks,
)


def test_a_table_becomes_its_network():
    table = NetworkTable(
        image_size_px=32,
        stem_channels=16,
        rows=(
            StageRow(1, 16, 1, 1, (3,)),
            StageRow(6, 24, 2, 2, (3, 5), "hard_swish", squeeze_excite_ratio=0.25),
        ),
        head_channels=64,
        activation="relu6",
    )
    network = build_supernet("small", table, num_classes=10)
    assert network.stem == Convolution(16, 3, 2, "relu6")
    assert network.head == Head(10, 64, activation="relu6")
    assert network.stages == (
        Stage(
            (
                InvertedResidual(
                    16,
                    (Branch(3, 16),),
                    has_expansion=False,
                    has_residual=True,
                    activation="relu",
                ),
            )
        ),
        Stage(
            (
                InvertedResidual(
                    24,
                    (Branch(3, 96), Branch(5, 96)),
                    stride=2,
                    activation="hard_swish",
                    squeeze_excite=SqueezeExcite(48),  # 192 / 4
                ),
                InvertedResidual(
                    24,
                    (Branch(3, 144), Branch(5, 144)),
                    has_residual=True,
                    activation="hard_swish",
                    squeeze_excite=SqueezeExcite(72),  # 288 / 4
                ),
            )
        ),
    )


def test_figs_mobilenet_v2_is_the_atomnas_supernet_of_1511_million_macs():
    # AtomNAS table 1 with AtomNAS-A's stem of 16 channels, counted by hand.
    supernet = named_space("figs_mobilenet_v2").supernet
    assert round(network_cost(supernet).macs / 1e6) == 1511
    assert len(list(walk_blocks(supernet))) == 22


@pytest.mark.parametrize("name", TABLES)
def test_every_space_keeps_a_map_of_at_least_three_pixels(name):
    *_, last_block, _ = layer_costs(named_space(name).supernet)
    assert 3 <= last_block.out_size_px <= 7


@pytest.mark.parametrize("name", TABLES)
def test_names_tell_the_input_size(name):
    last_word = name.rsplit("_", 1)[-1]
    size = int(last_word) if last_word.isdigit() else 224
    assert named_space(name).supernet.image_size_px == size


@pytest.mark.parametrize("name", TABLES)
def test_every_space_resolves_its_smallest_and_largest(name):
    space = named_space(name, num_classes=7)
    smallest = network_cost(space.resolve(space.smallest()))
    largest = network_cost(space.resolve(space.largest()))
    assert space.resolve(space.largest()) == space.supernet
    assert smallest.macs < largest.macs / 10
    assert smallest.params < largest.params / 10
    assert space.supernet.head.num_classes == 7


@pytest.mark.parametrize("divisor", [1, 8, 16])
@pytest.mark.parametrize("name", TABLES)
def test_channel_counts_are_multiples_or_the_supernets_own(name, divisor):
    space = named_space(name, channel_divisor=divisor)
    assert space.channel_divisor == divisor
    for choice in space.choices:
        assert all(value % divisor == 0 for value in choice.values[:-1])


def test_the_quantization_spaces_are_relu6_without_squeeze_excite():
    for name in (name for name in TABLES if name.startswith("figs_quantized")):
        supernet = named_space(name).supernet
        blocks = [block for _, block, _ in walk_blocks(supernet)]
        assert {block.activation for block in blocks} == {"relu6"}
        assert supernet.stem.activation == supernet.head.activation == "relu6"
        assert {block.squeeze_excite for block in blocks} == {None}


def test_the_mobilenet_v3_spaces_squeeze_and_hard_swish_from_the_third_stage_on():
    for name in (name for name in TABLES if name.startswith("figs_mobilenet_v3")):
        for path, block, in_channels in walk_blocks(named_space(name).supernet):
            is_late = int(path.split("/")[0].removeprefix("stage")) > 2
            assert block.activation == ("hard_swish" if is_late else "relu")
            assert (block.squeeze_excite is not None) == is_late
            if is_late:  # a quarter of one kernel's channels, 6 * in / 4, to eights
                assert block.squeeze_excite.hidden_channels == pytest.approx(
                    1.5 * in_channels, abs=4
                )


def test_an_unknown_space_is_refused_with_the_nearest_names():
    with pytest.raises(ValueError) as error:
        named_space("figs_mobilenet_v4")
    message = str(error.value)
    assert "space must be a known name; the nearest are figs_mobilenet_v" in message
    assert "Received: space='figs_mobilenet_v4'" in message


@pytest.mark.parametrize("name", ONE_SHOT_SPACES)
def test_gates_can_make_the_networks_of_a_one_shot_space(name):
    one_shot = named_one_shot_space(name, num_classes=10)
    gated = named_space(name, num_classes=10)
    rng = np.random.default_rng(0)
    for _ in range(5):
        genotype = one_shot.sample(rng)
        # By gates the first block of a stage cannot become a 1x1 convolution.
        for decision in one_shot.decisions:
            if decision.path.endswith("block0/operation"):
                genotype[decision.path] = decision.values[-1]
        network = one_shot.resolve(genotype, name=name)
        assert gated.resolve(_widths(one_shot, gated, genotype)) == network


def _widths(one_shot, gated, genotype):
    """Returns the widths by which gates say what a one-shot genotype says."""
    widths = dict.fromkeys((choice.path for choice in gated.choices), 0)
    channels = genotype["stem/output"]
    widths |= {"stem/output": channels, "head/conv": genotype["head/conv"]}
    for number, stage in enumerate(one_shot.stages, start=1):
        out_channels = genotype[f"stage{number}/output"]
        widths[f"stage{number}/block0/output"] = out_channels
        for index in range(stage.depth):
            name = genotype[operation_path(number, index)]
            operation = operation_named(stage, name)
            if operation is not None:
                path = f"stage{number}/block{index}/kernel{operation.kernel_size}"
                widths[path] = one_shot.hidden_channels(operation, channels)
            channels = out_channels
    return widths
