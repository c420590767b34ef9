import itertools

import numpy as np
import pytest

from mobilenas_tf.block_spaces import named_block_space
from mobilenas_tf.costs.bit_widths import bit_macs, weight_bytes
from mobilenas_tf.costs.block_costs import BlockCosts, block_costs, most_probable
from mobilenas_tf.costs.latency_parts import space_parts
from mobilenas_tf.costs.latency_table import (
    CALL,
    Calibration,
    LatencyEntry,
    LatencyTable,
)
from mobilenas_tf.costs.network import network_cost
from tests.costs.latency_table_test import CONDITIONS

SPACE = named_block_space("fbnet_32", num_classes=10)
RNG = np.random.default_rng(0)


def made_up_table():
    keys = [CALL, *space_parts(SPACE)]
    entries = {key: LatencyEntry(0.01 + 0.003 * i, 0, 1) for i, key in enumerate(keys)}
    calibration = Calibration(1.2, 0.1, 20, 0.01)
    return LatencyTable("fbnet_32", CONDITIONS, entries, calibration)


@pytest.mark.parametrize(
    "cost",
    [
        lambda network: network_cost(network).macs,
        lambda network: network_cost(network).params,
        made_up_table().network_ms,
    ],
    ids=["macs", "params", "ms"],
)
def test_one_hot_weights_cost_what_the_network_costs(cost):
    costs = block_costs(SPACE, cost)
    for _ in range(20):
        genotype = SPACE.sample(RNG)
        expected = pytest.approx(cost(SPACE.resolve(genotype)), rel=1e-9)
        assert costs.of(genotype) == expected
        one_hot = {
            place.path: np.eye(len(place.candidates))[genotype[place.path]]
            for place in SPACE.places
        }
        assert costs.expected(one_hot) == expected
        low, high = costs.range
        assert low <= costs.of(genotype) <= high
    skips = [
        costs.candidates[place.path][-1]
        for place in SPACE.places
        if place.candidates[-1].block is None
    ]
    assert skips and not any(skips)


@pytest.mark.parametrize("cost", [bit_macs, weight_bytes])
def test_costs_of_bit_widths_add_up(cost):
    space = named_block_space("bits_mobilenet_v2_32", num_classes=10)
    costs = block_costs(space, cost)
    for _ in range(20):
        genotype = space.sample(RNG)
        assert costs.of(genotype) == pytest.approx(cost(space.resolve(genotype)))


def test_expected_costs_are_means_over_independent_choices():
    costs = BlockCosts(1.0, {"a": np.array([0.0, 2.0]), "b": np.array([1.0, 5.0, 7.0])})
    p = {"a": np.array([0.25, 0.75]), "b": np.array([0.5, 0.3, 0.2])}
    mean = sum(
        p["a"][i] * p["b"][j] * costs.of({"a": i, "b": j})
        for i, j in itertools.product(range(2), range(3))
    )
    assert costs.expected(p) == pytest.approx(mean)
    assert costs.range == (2.0, 10.0)


@pytest.mark.parametrize("seed", range(5))
def test_the_most_probable_network_that_uses_the_budget_is_found(seed):
    rng = np.random.default_rng(seed)
    sizes = (3, 4, 2, 3)
    costs = BlockCosts(
        2.0, {str(i): rng.uniform(0, 5, size) for i, size in enumerate(sizes)}
    )
    p = {str(i): rng.dirichlet(np.ones(size)) for i, size in enumerate(sizes)}
    budget = np.mean(costs.range)
    all_of_them = [
        {str(i): j for i, j in enumerate(indices)}
        for indices in itertools.product(*map(range, sizes))
    ]
    within = [g for g in all_of_them if 0.97 * budget <= costs.of(g) <= budget]
    within = within or [g for g in all_of_them if costs.of(g) <= budget]

    def log_probability(genotype):
        return sum(np.log(p[path][index]) for path, index in genotype.items())

    found = most_probable(p, costs, budget)
    assert costs.of(found) <= budget
    assert log_probability(found) == pytest.approx(max(map(log_probability, within)))


def test_what_no_network_costs_is_no_lower_end():
    costs = BlockCosts(0.0, {"a": np.array([1.0, 2.0, 4.0])})
    p = {"a": np.array([0.6, 0.3, 0.1])}
    assert most_probable(p, costs, 3.0) == {"a": 0}  # none costs from 2.91 to 3
    assert most_probable(p, costs, 2.0) == {"a": 1}


def test_a_budget_below_the_cheapest_network_is_refused():
    costs = BlockCosts(1.0, {"a": np.array([1.0, 2.0])})
    with pytest.raises(ValueError, match="must allow the cheapest network, 2. Receiv"):
        most_probable({"a": np.array([0.5, 0.5])}, costs, 1.5)
    assert most_probable({"a": np.array([0.0, 1.0])}, costs, 2.5) == {"a": 0}
