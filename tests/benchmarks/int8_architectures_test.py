from collections.abc import Iterable

import pytest

from benchmarks.int8_architectures import classifiers, detectors, miniatures
from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.spaces import TABLES
from mobilenas_tf.spec import (
    Architecture,
    Block,
    Head,
    InvertedResidual,
    walk_blocks,
)
from mobilenas_tf.zoo import ZOO


def _kind(block: Block) -> tuple:
    """Returns what tells blocks apart but for their channels."""
    if not isinstance(block, InvertedResidual):
        return (type(block), block.kernel_size, block.stride)
    squeeze_excite = block.squeeze_excite
    return (
        tuple(branch.kernel_size for branch in block.branches),
        (block.stride, block.has_expansion, block.has_residual, block.activation),
        (block.projection_groups, block.has_shuffle, block.padding_px is None),
        squeeze_excite and (squeeze_excite.activation, squeeze_excite.gate),
    )


def _kinds(architectures: Iterable[Architecture]) -> set[tuple]:
    return {_kind(block) for a in architectures for _, block, _ in walk_blocks(a)}


def test_the_zoo_and_all_spaces_are_among_the_classifiers():
    assert classifiers().keys() == ZOO.keys() | TABLES.keys()


def test_miniatures_have_every_kind_of_block_once():
    small = miniatures().values()
    assert _kinds(small) == _kinds(classifiers().values())
    assert sum(1 for a in small for _ in walk_blocks(a)) == len(_kinds(small))


def test_miniatures_have_every_kind_of_stem_and_head():
    def around(architecture: Architecture) -> tuple:
        head = architecture.head
        assert isinstance(head, Head)
        return (
            architecture.input_normalization,
            architecture.stem.activation,
            (head.activation, head.conv_channels is None, head.hidden_channels is None),
        )

    assert {around(a) for a in miniatures().values()} == {
        around(a) for a in classifiers().values()
    }


def test_miniatures_are_small():
    assert max(network_cost(a).macs for a in miniatures().values()) < 1e7


@pytest.mark.parametrize("head", ["ssdlite", "fpnlite"])
def test_every_large_enough_classifier_is_a_detector_with_each_head(head):
    names = {name.removesuffix(f"+{head}") for name in detectors() if head in name}
    # These pad by less than SAME, or are of a size that is no multiple of 32.
    uneven = {f"fbnet_v3_{letter}" for letter in "abcdef" if head == "fpnlite"}
    assert names >= (ZOO.keys() - uneven) | {
        *("figs_mobilenet_v2_160", "figs_mobilenet_v3")
    }
    assert "figs_mobilenet_v2_32" not in names
