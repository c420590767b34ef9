import dataclasses

import numpy as np
import pytest

from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.decisions import choices_at
from mobilenas_tf.joint_spaces import SPACES, named_joint_space
from mobilenas_tf.spec import Architecture, Stage
from mobilenas_tf.zoo import zoo_architecture

# FBNetV3-A by stage: channels, depth, kernels, expansions, squeeze-excite; the first
# block's kernel and expansion stand before the others'.
FBNET_V3_A = (
    (16, 2, 3, 3, 1, 1, "off"),
    (24, 4, 5, 5, 4, 2, "off"),
    (40, 5, 5, 5, 5, 3, "on"),
    (72, 5, 5, 3, 5, 3, "off"),
    (120, 6, 3, 5, 5, 3, "on"),
    (184, 6, 3, 5, 6, 4, "on"),
    (224, 1, 5, 5, 6, 6, "on"),
)
NAMES = (
    *("channels", "depth", "first_kernel", "kernel"),
    *("first_expansion", "expansion", "squeeze_excite"),
)


def blocks(architecture: Architecture):
    """Returns all blocks without their padding, whatever their stage."""
    return [
        dataclasses.replace(block, padding_px=None)
        if hasattr(block, "padding_px")
        else block
        for stage in architecture.stages
        for block in stage.blocks
    ]


def test_fbnet_v3_a_is_in_its_space():
    choices = {"resolution": 224, "stem/channels": 16}
    for number, values in enumerate(FBNET_V3_A, start=1):
        choices |= {
            f"stage{number}/{name}": value
            for name, value in zip(NAMES, values, strict=True)
        }
        choices[f"stage{number}/activation"] = "hard_swish"
    space = named_joint_space("fbnet_v3")
    ours, released = space.resolve(choices), zoo_architecture("fbnet_v3_a")
    assert blocks(ours) == blocks(released)
    assert (ours.stem, ours.head) == (released.stem, released.head)
    decided = {decision.path: decision for decision in space.decisions}
    assert all(decided[p].contains(v) for p, v in choices.items() if p in decided)


@pytest.mark.parametrize("name", SPACES)
def test_every_value_of_every_decision_makes_a_network_of_its_own(name: str):
    space = named_joint_space(name, num_classes=10)
    decisions = space.decisions
    start = choices_at(decisions, np.full(len(decisions), 0.6))
    for decision in decisions:
        networks = {
            space.resolve({**start, decision.path: value}) for value in decision.values
        }
        assert len(networks) == len(decision.values) > 1


@pytest.mark.parametrize("name", SPACES)
def test_sizes_cost_more_the_larger_they_are(name: str):
    space = named_joint_space(name, num_classes=10)
    decisions = space.decisions
    smallest, largest = (
        network_cost(space.resolve(choices_at(decisions, [share] * len(decisions))))
        for share in (0.0, 0.999)
    )
    assert smallest.macs * 10 < largest.macs
    assert smallest.params < largest.params


def test_a_stage_has_a_stride_once_and_residuals_where_they_fit():
    space = named_joint_space("fbnet_v3_32", num_classes=10)
    decisions = space.decisions
    network = space.resolve(choices_at(decisions, [0.999] * len(decisions)))
    assert isinstance(network.stages[2], Stage)
    strides = [[block.stride for block in stage.blocks] for stage in network.stages]
    assert strides == [[1, 1], [1] * 4, [2, 1, 1, 1], [2, 1, 1, 1]]
    third = network.stages[2].blocks
    assert [block.has_residual for block in third] == [False, True, True, True]


def test_an_unknown_space_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="nearest are fbnet_v3"):
        named_joint_space("fbnet_v33")
