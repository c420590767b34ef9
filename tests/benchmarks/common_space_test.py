"""What all methods see of the common space are the same networks."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import common_space
from benchmarks.common_space import SPACE, PlacesAsDecisions, macs
from mobilenas_tf.widths import resize


@pytest.mark.parametrize("seed", range(3))
def test_dnas_and_bs_nas_resolve_the_same_networks(seed: int):
    operators = common_space.for_dnas()
    drawn = operators.sample(np.random.default_rng(seed))
    assert operators.resolve(drawn) == SPACE.resolve(common_space.operations_of(drawn))


@pytest.mark.parametrize("seed", range(3))
def test_jointnas_and_bs_nas_resolve_the_same_networks(seed: int):
    genotype = SPACE.sample(np.random.default_rng(seed))
    choices = {each.path: genotype[each.path] for each in SPACE.decisions}
    with_recipe = choices | {"recipe/optimizer": "sgd"}
    assert PlacesAsDecisions().resolve(with_recipe) == SPACE.resolve(genotype)


def test_all_methods_choose_among_as_many_networks():
    decisions = PlacesAsDecisions().decisions
    counts = [len(each.values) for each in decisions]
    assert common_space.for_dnas().log10_size() == pytest.approx(SPACE.log10_size())
    assert np.sum(np.log10(counts)) == pytest.approx(SPACE.log10_size())


@pytest.mark.parametrize("seed", range(3))
def test_figs_can_cut_out_what_the_others_choose(seed: int):
    figs = common_space.for_figs()
    genotype = SPACE.sample(np.random.default_rng(seed))
    chosen = SPACE.resolve(genotype)
    # The kernels that each place keeps, by the supernet's paths.
    widths = {choice.path: 0 for choice in figs.choices}
    for number, stage in enumerate(SPACE.stages, start=1):
        kept = iter(chosen.stages[number - 1].blocks)
        for index in range(stage.depth):
            path = f"stage{number}/block{index}"
            if genotype[f"{path}/operation"] != "identity":
                (branch,) = next(kept).branches
                widths[f"{path}/kernel{branch.kernel_size}"] = branch.channels
    assert set(widths) == {choice.path for choice in figs.choices}
    assert all(widths[choice.path] in choice.values for choice in figs.choices)
    assert macs(resize(figs.supernet, widths)) == macs(chosen)


def test_only_kernels_are_open_to_figs():
    assert all("/kernel" in each.path for each in common_space.for_figs().choices)


@pytest.mark.parametrize("max_macs", [2e6, 3e6, 5e6])
def test_the_uniform_network_uses_its_budget(max_macs: float):
    network = common_space.uniform_network(max_macs)
    assert 0.95 * max_macs < macs(network) <= max_macs
    kernels = {
        branch.kernel_size
        for stage in network.stages
        for block in stage.blocks
        for branch in block.branches
    }
    assert kernels == {3}
