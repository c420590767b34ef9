import math

import numpy as np
import pytest

from mobilenas_tf.space import Choice, SearchSpace, required_kernels, width_space
from mobilenas_tf.spaces import TABLES, named_space
from mobilenas_tf.spec import (
    Architecture,
    Branch,
    Convolution,
    Head,
    InvertedResidual,
    Stage,
)
from mobilenas_tf.widths import resize

# Both blocks have kernels 3 and 5; the first cannot vanish, the second can.
_SUPERNET = Architecture(
    name="small",
    image_size_px=16,
    stem=Convolution(8, 3, 2),
    stages=(
        Stage(
            (
                InvertedResidual(12, (Branch(3, 16), Branch(5, 20)), stride=2),
                InvertedResidual(12, (Branch(3, 24), Branch(5, 24)), has_residual=True),
            )
        ),
    ),
    head=Head(10, 32),
)
_VALUES = {
    "stem/output": (8,),
    "stage1/block0/kernel3": (0, 8, 16),
    "stage1/block0/kernel5": (0, 8, 16, 20),
    "stage1/block0/output": (8, 12),
    "stage1/block1/kernel3": (0, 8, 16, 24),
    "stage1/block1/kernel5": (0, 8, 16, 24),
    "head/conv": (8, 16, 24, 32),
}


@pytest.fixture
def space():
    return width_space("small", _SUPERNET)


def test_width_space_opens_every_group_in_steps_of_the_divisor(space):
    assert {choice.path: choice.values for choice in space.choices} == _VALUES


def test_width_space_keeps_a_count_below_the_divisor():
    choices = width_space("small", _SUPERNET, channel_divisor=16).choices
    values = {choice.path: choice.values for choice in choices}
    assert values["stem/output"] == (8,)
    assert values["stage1/block0/kernel5"] == (0, 16, 20)
    assert values["stage1/block0/output"] == (12,)


def test_width_space_with_divisor_1_opens_every_count():
    choices = width_space("small", _SUPERNET, channel_divisor=1).choices
    values = {choice.path: choice.values for choice in choices}
    assert values["stem/output"] == tuple(range(1, 9))
    assert values["stage1/block0/kernel3"] == tuple(range(17))


def test_log10_size_counts_the_genotypes(space):
    assert space.log10_size() == pytest.approx(math.log10(1 * 3 * 4 * 2 * 4 * 4 * 4))


def test_largest_genotype_is_the_supernet(space):
    assert space.resolve(space.largest()) == _SUPERNET


def test_smallest_genotype_keeps_one_kernel_where_nothing_leads_around(space):
    assert space.smallest() == {
        "stem/output": 8,
        "stage1/block0/kernel3": 8,
        "stage1/block0/kernel5": 0,
        "stage1/block0/output": 8,
        "stage1/block1/kernel3": 0,
        "stage1/block1/kernel5": 0,
        "head/conv": 8,
    }
    network = space.resolve(space.smallest())
    assert network.stages == (Stage((InvertedResidual(8, (Branch(3, 8),), stride=2),)),)


def test_repair_leaves_a_whole_network_alone(space):
    for genotype in (space.largest(), space.smallest()):
        assert space.repair(genotype) == genotype


def test_required_kernels_are_those_of_blocks_without_way_around():
    assert [
        [kernel.path for kernel in kernels] for kernels in required_kernels(_SUPERNET)
    ] == [["stage1/block0/kernel3", "stage1/block0/kernel5"]]


def test_sample_draws_every_value_equally_often(space):
    rng = np.random.default_rng(0)
    n = 1500
    drawn = [space.sample(rng)["head/conv"] for _ in range(n)]
    p = 1 / 4
    tolerance = 4 * math.sqrt(p * (1 - p) / n)
    for value in (8, 16, 24, 32):
        assert drawn.count(value) / n == pytest.approx(p, abs=tolerance)


def test_mutate_redraws_at_its_rate(space):
    rng = np.random.default_rng(0)
    genotype = space.largest()
    assert space.mutate(genotype, rng, rate=0.0) == genotype
    n, rate = 1500, 0.3
    changed = sum(
        space.mutate(genotype, rng, rate=rate)["head/conv"] != 32 for _ in range(n)
    )
    p = rate * 3 / 4  # one draw in four returns the old value
    assert changed / n == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / n))


def test_mutate_leaves_its_argument_alone(space):
    genotype = space.largest()
    space.mutate(genotype, np.random.default_rng(0), rate=1.0)
    assert genotype == space.largest()


def test_crossover_takes_each_decision_from_either_parent(space):
    rng = np.random.default_rng(0)
    first, second = space.largest(), space.smallest()
    n = 1500
    children = [space.crossover(first, second, rng) for _ in range(n)]
    for path in first:
        assert {child[path] for child in children} == {first[path], second[path]}
    share = sum(child["head/conv"] == 32 for child in children) / n
    assert share == pytest.approx(0.5, abs=4 * math.sqrt(0.25 / n))


def test_crossover_repairs_a_child_whose_parents_kept_different_kernels(space):
    first = {**space.largest(), "stage1/block0/kernel3": 0}
    second = {**space.largest(), "stage1/block0/kernel5": 0}
    rng = np.random.default_rng(0)
    children = [space.crossover(first, second, rng) for _ in range(50)]
    kernels = {
        (child["stage1/block0/kernel3"], child["stage1/block0/kernel5"])
        for child in children
    }
    # Without the repair the fourth combination would be (0, 0).
    assert kernels == {(0, 20), (16, 0), (16, 20), (8, 0)}


def test_same_seed_gives_the_same_genotype(space):
    drawn = [space.sample(np.random.default_rng(7)) for _ in range(2)]
    assert drawn[0] == drawn[1]


def test_genotypes_hold_plain_integers(space):
    genotype = space.sample(np.random.default_rng(0))
    assert {type(value) for value in genotype.values()} == {int}


def test_a_space_may_leave_widths_fixed():
    choice = Choice("stage1/block0/kernel3", (0, 16))
    space = SearchSpace("small", _SUPERNET, (choice,))
    assert space.smallest() == {"stage1/block0/kernel3": 0}
    assert space.resolve(space.smallest()) == resize(_SUPERNET, space.smallest())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stem/output": None}, "Received: 'stem/output' missing or unknown"),
        ({"stem/width": 8}, "Received: 'stem/width' missing or unknown"),
        ({"head/conv": 12}, "head/conv must be one of (8, 16, 24, 32). Received: 12"),
    ],
)
def test_resolve_refuses_genotypes_of_another_space(space, changes, message):
    genotype = {**space.largest(), **changes}
    genotype = {path: value for path, value in genotype.items() if value is not None}
    with pytest.raises(ValueError) as error:
        space.resolve(genotype)
    assert message in str(error.value)


@pytest.mark.parametrize("values", [(), (8, 0), (8, 8)])
def test_choice_values_must_rise(values):
    with pytest.raises(ValueError, match="values of head/conv must be distinct, in"):
        Choice("head/conv", values)


def test_channel_divisor_must_be_positive():
    with pytest.raises(ValueError, match="channel_divisor must be an integer of at"):
        width_space("small", _SUPERNET, channel_divisor=0)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("seed", range(10))
def test_sample_mutate_and_crossover_stay_in_the_space(name, seed):
    space = named_space(name)
    rng = np.random.default_rng(seed)
    # Many closed kernels, so that unrepaired blocks would be cut.
    parents = [
        space.repair(
            {
                path: 0 if "kernel" in path and rng.random() < 0.8 else value
                for path, value in space.sample(rng).items()
            }
        )
        for _ in range(2)
    ]
    children = [
        space.sample(rng),
        space.mutate(parents[0], rng, rate=0.2),
        space.crossover(*parents, rng),
    ]
    for genotype in (*parents, *children):
        space.resolve(genotype)


def test_grouped_convolutions_have_no_space_of_widths():
    block = InvertedResidual(8, (Branch(3, 16),), expansion_groups=2)
    supernet = Architecture("grouped", 8, Convolution(8), (Stage((block,)),), Head(2))
    with pytest.raises(ValueError, match="no grouped 1x1.*stage1/block0 of grouped"):
        width_space("grouped", supernet)


_NARROW = {
    "stem/output": 8,
    "stage1/block0/kernel3": 0,
    "stage1/block0/kernel5": 20,
    "stage1/block0/output": 8,
    "stage1/block1/kernel3": 16,
    "stage1/block1/kernel5": 0,
    "head/conv": 24,
}


def test_a_narrowed_space_ends_at_the_given_widths(space):
    narrow = space.narrowed(_NARROW)
    assert {choice.path: choice.values for choice in narrow.choices} == {
        "stem/output": (8,),
        "stage1/block0/kernel5": (0, 8, 16, 20),
        "stage1/block0/output": (8,),
        "stage1/block1/kernel3": (0, 8, 16),
        "head/conv": (8, 16, 24),
    }
    assert narrow.supernet.stages == (
        Stage(
            (
                InvertedResidual(8, (Branch(5, 20),), stride=2),
                InvertedResidual(8, (Branch(3, 16),), has_residual=True),
            )
        ),
    )
    assert narrow.supernet.head == Head(10, 24)
    assert narrow.resolve(narrow.largest()) == narrow.supernet
    assert (narrow.name, narrow.channel_divisor) == (space.name, space.channel_divisor)


def test_a_space_narrowed_to_its_largest_is_the_space(space):
    assert space.narrowed(space.largest()) == space


def test_what_a_space_leaves_fixed_stays_so_when_it_is_narrowed():
    choice = Choice("stage1/block0/kernel3", (0, 8, 16))
    space = SearchSpace("small", _SUPERNET, (choice,), 4)
    narrow = space.narrowed({"stage1/block0/kernel3": 8})
    assert narrow.choices == (Choice("stage1/block0/kernel3", (0, 8)),)
    assert narrow.supernet == resize(_SUPERNET, {"stage1/block0/kernel3": 8})
    assert space.narrowed({"stage1/block0/kernel3": 0}).choices == ()


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("seed", range(3))
def test_a_genotype_of_a_narrowed_space_is_one_of_the_whole(name, seed):
    space = named_space(name)
    rng = np.random.default_rng(seed)
    widths = space.sample(rng)
    for path in widths:
        if path.endswith("/kernel3"):  # every block has one, which stays
            widths[path] = max(widths[path], 8)
        elif "/kernel" in path and rng.random() < 0.5:
            widths[path] = 0
    narrow = space.narrowed(widths)
    assert narrow.supernet == space.resolve(widths)
    assert {path for path, width in widths.items() if width} == {
        choice.path for choice in narrow.choices
    }
    for _ in range(3):
        genotype = narrow.sample(rng)
        same = {path: genotype.get(path, 0) for path in widths}
        assert all(same[path] <= width for path, width in widths.items())
        assert narrow.resolve(genotype) == space.resolve(same)
    # Once more, as a search narrows again and again.
    assert narrow.narrowed(narrow.largest()) == narrow


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head/conv": 12}, "head/conv must be one of (8, 16, 24, 32). Received: 12"),
        ({"head/conv": None}, "Received: 'head/conv' missing or unknown"),
        ({"head/hidden": 8}, "Received: 'head/hidden' missing or unknown"),
        (
            {"stage1/block1/kernel3": 0},
            "widths must keep a channel of some kernel of every block. "
            "Received: 0 for every kernel of stage1/block1",
        ),
        (
            {"stage1/block0/kernel5": 0},
            "widths of stage1/block0 must keep a channel of some kernel, as nothing",
        ),
    ],
)
def test_widths_that_leave_no_such_space_are_refused(space, changes, message):
    widths = {
        path: width
        for path, width in {**_NARROW, **changes}.items()
        if width is not None
    }
    with pytest.raises(ValueError) as error:
        space.narrowed(widths)
    assert message in str(error.value)
