import dataclasses

import numpy as np
import pytest

from mobilenas_tf.block_space import BlockSpace, Candidate
from mobilenas_tf.block_spaces import BIT_WIDTHS, SKIP, TABLES, named_block_space
from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.spec import (
    Branch,
    Convolution,
    Head,
    InvertedResidual,
    Pooling,
    walk_blocks,
)
from mobilenas_tf.zoo import zoo_architecture

WIDE = Candidate("wide", InvertedResidual(8, (Branch(3, 16),), has_residual=True))
NARROW = Candidate("narrow", InvertedResidual(8, (Branch(5, 8),), has_expansion=False))
SMALL = BlockSpace(
    name="small",
    image_size_px=16,
    stem=Convolution(8, 3, 2),
    stages=(
        ((WIDE, NARROW, SKIP), (WIDE, SKIP)),
        ((Candidate("pool", Pooling("max", 3, 2)),),),
        ((NARROW, WIDE),),
    ),
    head=Head(3),
)
PATHS = ["stage1/block0", "stage1/block1", "stage2/block0", "stage3/block0"]


def genotype(*indices):
    return dict(zip(PATHS, indices, strict=True))


def test_places_hand_channels_and_sizes_on():
    assert [
        (place.path, place.in_channels, place.in_size_px) for place in SMALL.places
    ] == [(path, 8, 4 if path == PATHS[3] else 8) for path in PATHS]


def test_an_identity_is_not_in_the_network():
    network = SMALL.resolve(genotype(2, 0, 0, 1))
    assert [(path, block) for path, block, _ in walk_blocks(network)] == [
        ("stage1/block0", WIDE.block),
        ("stage2/block0", Pooling("max", 3, 2)),
        ("stage3/block0", WIDE.block),
    ]
    assert network.name == "small_found"
    assert SMALL.path_in_network(genotype(2, 0, 0, 1)) == {
        "stage1/block1": "stage1/block0",
        "stage2/block0": "stage2/block0",
        "stage3/block0": "stage3/block0",
    }


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"stage1/block0": 0}, "genotype must have exactly the places of small.*'stag"),
        (genotype(3, 0, 0, 0), "stage1/block0 must be from 0 to 2. Received: 3"),
        ({**genotype(0, 0, 0, 0), "x": 0}, "Received: 'x' missing or unknown"),
    ],
)
def test_genotypes_of_other_spaces_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        SMALL.resolve(wrong)


def test_candidates_of_a_place_must_fit_together():
    other = Candidate("other", InvertedResidual(16, (Branch(3, 16),)))
    with pytest.raises(ValueError, match="stage1/block0 must put out maps of one shap"):
        dataclasses.replace(SMALL, stages=(((WIDE, other),),))
    with pytest.raises(ValueError, match="stage1/block0 must have distinct names"):
        dataclasses.replace(SMALL, stages=(((WIDE, WIDE),),))


def test_samples_are_uniform_and_valid():
    rng = np.random.default_rng(0)
    samples = [SMALL.sample(rng) for _ in range(300)]
    counts = np.bincount([sample["stage1/block0"] for sample in samples])
    assert counts.min() > 70
    for sample in samples[:20]:
        SMALL.resolve(sample)
    assert SMALL.log10_size() == pytest.approx(np.log10(3 * 2 * 1 * 2))


def test_fbnet_space_is_that_of_the_paper():
    space = named_block_space("fbnet")
    assert len(space.places) == 22
    sizes = {len(place.candidates) for place in space.places}
    assert sizes == {8, 9}  # without skip where size or channels change
    assert space.log10_size() == pytest.approx(21, abs=0.5)


@pytest.mark.parametrize("name", ["fbnet_b", "fbnet_c"])
def test_the_published_networks_are_in_the_space(name):
    published = zoo_architecture(name)
    space = named_block_space("fbnet")
    found, blocks = {}, {path: block for path, block, _ in walk_blocks(published)}
    positions = {}
    for place in space.places:
        # Stages of the space are finer where a published one changes its channels.
        candidates = {c.block: i for i, c in enumerate(place.candidates)}
        path = next(iter(blocks), None)
        if path is not None and blocks[path] in candidates:
            found[place.path] = candidates[blocks.pop(path)]
            positions[place.path] = path
        else:
            found[place.path] = candidates[None]
    assert not blocks
    network = space.resolve(found)
    assert network_cost(network) == network_cost(published)


@pytest.mark.parametrize("name", TABLES)
def test_costs_add_up_over_the_places(name):
    space = named_block_space(name, num_classes=10)
    rng = np.random.default_rng(0)
    base, other, mixed = (space.sample(rng) for _ in range(3))
    costs = []
    for place in space.places:
        one = {**base, place.path: mixed[place.path]}
        costs.append(
            network_cost(space.resolve(one)).macs
            - network_cost(space.resolve(base)).macs
        )
    whole = network_cost(space.resolve(mixed)).macs
    assert whole == network_cost(space.resolve(base)).macs + sum(costs)
    assert other != base


BIT_SPACES = [name for name in TABLES if name.startswith("bits")]


@pytest.mark.parametrize("name", BIT_SPACES)
def test_candidates_of_bit_widths_are_one_block(name):
    space = named_block_space(name)
    for index, place in enumerate(space.places):
        labels = [candidate.name for candidate in place.candidates]
        assert labels == [f"w{weights}a{inputs}" for weights, inputs in BIT_WIDTHS]
        blocks = [candidate.block for candidate in place.candidates]
        plain = {dataclasses.replace(block, bit_widths=None) for block in blocks}
        assert len(plain) == 1
        # In front of the first place is the stem's ReLU, elsewhere a linear block.
        signed = {block.bit_widths.is_input_signed for block in blocks}
        assert signed == {index > 0}


def test_the_larger_space_of_bit_widths_is_mobilenet_v2s():
    space = named_block_space("bits_mobilenet_v2_224")
    network = space.resolve({place.path: 0 for place in space.places})
    assert network_cost(network) == network_cost(zoo_architecture("mobilenet_v2"))


def test_the_smaller_space_of_bit_widths_is_of_2_to_5_million_multiply_adds():
    space = named_block_space("bits_mobilenet_v2_32", num_classes=10)
    network = space.resolve({place.path: 0 for place in space.places})
    assert 2e6 <= network_cost(network).macs <= 5e6
