import dataclasses

import pytest

from mobilenas_tf.costs.bit_widths import bit_costs, bit_macs, weight_bytes
from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.spec import (
    Architecture,
    BitWidths,
    Branch,
    Convolution,
    Head,
    InvertedResidual,
    Stage,
)
from mobilenas_tf.zoo import zoo_architecture

FIRST = InvertedResidual(
    8, (Branch(3, 8),), has_expansion=False, bit_widths=BitWidths(2, 4)
)
SECOND = InvertedResidual(
    12, (Branch(3, 16), Branch(5, 8)), stride=2, bit_widths=BitWidths(4, 8)
)
NETWORK = Architecture(
    name="small",
    image_size_px=8,
    stem=Convolution(8, 3, 2),
    stages=(Stage((FIRST, SECOND)),),
    head=Head(3, conv_channels=16),
)
# Weights of kernels; maps are 4x4 behind the stem, 2x2 behind the second block.
STEM = 3 * 3 * 3 * 8
FIRST_DEPTHWISE, FIRST_PROJECTION = 3 * 3 * 8, 8 * 8
EXPANSION, DEPTHWISE, PROJECTION = 8 * 24, 9 * 16 + 25 * 8, 24 * 12
HEAD = 12 * 16


def test_bit_macs_are_multiply_adds_times_both_widths():
    expected = (
        STEM * 16 * 8 * 8
        + (FIRST_DEPTHWISE + FIRST_PROJECTION) * 16 * 2 * 4
        + (EXPANSION * 16 + (DEPTHWISE + PROJECTION) * 4) * 4 * 8
        + (HEAD * 4 + 16 * 3) * 8 * 8
    )
    assert bit_macs(NETWORK) == expected


def test_weight_bytes_have_the_bits_of_the_kernels():
    norms = 2 * (8 + (8 + 8) + (24 + 24 + 12) + 16)  # scale and offset, 8 bits each
    expected = (
        STEM
        + (FIRST_DEPTHWISE + FIRST_PROJECTION) * 2 / 8
        + (EXPANSION + DEPTHWISE + PROJECTION) * 4 / 8
        + HEAD
        + (16 * 3 + 3)
        + norms
    )
    assert weight_bytes(NETWORK) == expected


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_small", "fbnet_c"])
def test_without_bit_widths_everything_is_8_bits(name):
    network = zoo_architecture(name)
    cost = network_cost(network)
    assert bit_macs(network) == 64 * cost.macs
    assert weight_bytes(network) == cost.params
    assert bit_costs(network) == {}


def test_8_bits_cost_what_none_cost():
    first, second = (
        dataclasses.replace(block, bit_widths=BitWidths(8, 8))
        for block in (FIRST, SECOND)
    )
    network = dataclasses.replace(NETWORK, stages=(Stage((first, second)),))
    cost = network_cost(network)
    assert bit_costs(network) == {
        "bit_macs": 64 * cost.macs,
        "weight_bytes": cost.params,
    }
