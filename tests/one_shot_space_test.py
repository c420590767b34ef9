import dataclasses

import numpy as np
import pytest

from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.one_shot_space import OneShotStage, Operation
from mobilenas_tf.one_shot_spaces import (
    SPACES,
    named_one_shot_space,
)
from mobilenas_tf.spec import Branch, Convolution, InvertedResidual
from tests.small_one_shot_space import small_one_shot_space

SPACE = small_one_shot_space()
MACRO_NAMES = ("identity", "k3_e3", "k5_e6")
# Key: multiply-adds, parameters; nas-bench-macro_cifar10.json of xiusu/NAS-Bench-Macro.
MACRO = {
    "00000000": (7_713_280, 387_882),
    "22222222": (105_660_928, 2_932_586),
    "11111111": (53_246_464, 1_588_874),
    "02012100": (47_327_744, 890_666),
    "22212220": (85_164_544, 1_985_514),
    "10200102": (39_102_976, 1_424_138),
}


@pytest.mark.parametrize("key", MACRO)
def test_nas_bench_macros_networks_have_its_counts(key):
    space = named_one_shot_space("nas_bench_macro", num_classes=10)
    genotype = {
        decision.path: MACRO_NAMES[int(digit)]
        for decision, digit in zip(space.decisions, key, strict=True)
    }
    cost = network_cost(space.resolve(genotype))
    assert (cost.macs, cost.params) == MACRO[key]


def test_where_in_a_stage_an_identity_stands_makes_no_other_network():
    space = named_one_shot_space("nas_bench_macro", num_classes=10)
    base = space.widest()
    first = {**base, "stage2/block1/operation": "identity"}
    second = {**base, "stage2/block2/operation": "identity"}
    assert space.resolve(first) == space.resolve(second) != space.resolve(base)
    assert 3**8 == round(10 ** space.log10_size())


def test_a_genotype_becomes_its_blocks():
    genotype = {
        "stem/output": 4,
        "stage1/output": 16,
        "stage1/block0/operation": "identity",
        "stage1/block1/operation": "k5_e3",
        "stage2/block0/operation": "k3_e2",
        "stage2/block1/operation": "identity",
        "head/conv": 8,
    }
    first, second = SPACE.resolve(genotype).stages
    assert first.blocks == (
        Convolution(16, 1, 2, "linear"),
        InvertedResidual(16, (Branch(5, 48),), has_residual=True, activation="relu"),
    )
    assert second.blocks == (InvertedResidual(8, (Branch(3, 32),), activation="relu"),)


@pytest.mark.parametrize("name", SPACES)
def test_named_spaces_have_ends_of_least_and_most_multiply_adds(name):
    space = named_one_shot_space(name, num_classes=10)
    rng = np.random.default_rng(0)
    low, high, *others = (
        network_cost(space.resolve(genotype)).macs
        for genotype in (
            space.narrowest(),
            space.widest(),
            *(space.sample(rng) for _ in range(20)),
        )
    )
    assert low < min(others) and max(others) < high


def test_what_was_turned_off_is_no_longer_chosen():
    path = "stage1/block1/operation"
    space = SPACE.without(path, "k5_e3")
    (decision,) = (each for each in space.decisions if each.path == path)
    assert decision.values == ("identity", "k3_e2")
    rng = np.random.default_rng(0)
    assert all(space.sample(rng)[path] != "k5_e3" for _ in range(20))
    last = space.without(path, "identity")
    assert path not in {each.path for each in last.decisions}
    assert last.complete(last.widest())[path] == "k3_e2"
    with pytest.raises(ValueError, match="must be one of several of stage1/block1.*k3"):
        last.without(path, "k3_e2")
    with pytest.raises(ValueError, match="Received: 'k7_e2'"):
        SPACE.without(path, "k7_e2")


def test_a_first_place_without_identity_has_none():
    (values,) = (
        decision.values
        for decision in SPACE.decisions
        if decision.path == "stage2/block0/operation"
    )
    assert values == ("k3_e2", "k5_e3")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stem/output": 5}, "stem/output must be one of 4, 8. Received: 5"),
        ({"stage9/output": 8}, "decisions of small only. Received: 'stage9/output'"),
        ({"head/conv": None}, "head/conv must be one of 8, 16. Received: None"),
    ],
)
def test_a_wrong_genotype_is_named(change, words):
    with pytest.raises(ValueError, match=words):
        SPACE.resolve({**SPACE.widest(), **change})


def test_ratios_that_round_to_the_same_width_are_refused():
    stage = OneShotStage((8, 8), 1, 1, (Operation(3, 2),))
    with pytest.raises(ValueError, match="do ratios round to the same width"):
        dataclasses.replace(SPACE, stages=(stage,))
    falling = dataclasses.replace(stage, out_channels=(16, 8))
    with pytest.raises(ValueError, match="in rising order. Received: values=.16, 8."):
        dataclasses.replace(SPACE, stages=(falling,))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stages": ()}, r"stages must be at least one, .* Received: depths \[\]"),
        ({"stem_channels": (0, 8)}, "stem/output must be at least 1 channel"),
        ({"head_channels": ()}, "head/conv must be at least one"),
    ],
)
def test_a_space_without_networks_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(SPACE, **change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"depth": 0}, "each of at least one place"),
        ({"operations": ()}, "stage1/block0/operation must be at least one"),
        (
            {"operations": (None,), "has_free_first": False},
            "the first place of a stage has no identity unless",
        ),
        (
            {"operations": (Operation(3, 2), Operation(3, 2.1))},
            "operations of stage1 must differ where . channels come in. Received: "
            "k3_e2 and k3_e2.1, both of",
        ),
    ],
)
def test_a_stage_without_networks_or_with_one_twice_is_refused(change, words):
    stages = (dataclasses.replace(SPACE.stages[0], **change), *SPACE.stages[1:])
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(SPACE, stages=stages)
