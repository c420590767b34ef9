from __future__ import annotations

import numpy as np
import pytest

from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.costs.uniform import scaled_network, uniform_network
from mobilenas_tf.spaces import TABLES, named_space
from mobilenas_tf.spec import Architecture, walk_blocks
from mobilenas_tf.zoo import zoo_architecture

SPACES = [name for name in TABLES if name.endswith(("_16", "_32"))]
# Of the supernet's cost. At less, one multiple of 8 is more than 3 % of the budget.
SHARES = np.linspace(0.1, 1.0, 31)


def _uniform(name: str, budget: float, **options: object) -> Architecture:
    arguments = {"num_classes": 10, "metric": "macs", **options}
    return uniform_network(name, budget=budget, **arguments)  # type: ignore[arg-type]


def _whole(name: str, metric: str = "macs") -> int:
    return getattr(network_cost(named_space(name, num_classes=10).supernet), metric)


@pytest.mark.parametrize("channel_divisor", [1, 4, 8])
@pytest.mark.parametrize("metric", ["macs", "params"])
@pytest.mark.parametrize("name", SPACES)
def test_cost_is_within_three_percent_of_the_budget_and_never_above(
    name: str, metric: str, channel_divisor: int
) -> None:
    budgets = SHARES * _whole(name, metric)
    networks = [
        _uniform(name, budget, metric=metric, channel_divisor=channel_divisor)
        for budget in budgets
    ]
    costs = np.array([getattr(network_cost(net), metric) for net in networks])
    assert (costs <= budgets).all()
    assert [*zip(SHARES, costs / budgets, strict=True)] == [
        (share, pytest.approx(1.0, abs=0.03)) for share in SHARES
    ]


@pytest.mark.parametrize("channel_divisor", [4, 8])
@pytest.mark.parametrize("name", SPACES)
def test_channels_are_multiples_of_the_divisor(name: str, channel_divisor: int) -> None:
    network = _uniform(name, 0.37 * _whole(name), channel_divisor=channel_divisor)
    assert network.stem.out_channels % channel_divisor == 0
    assert network.head.conv_channels % channel_divisor == 0
    for _, block, _ in walk_blocks(network):
        assert block.out_channels % channel_divisor == 0
        assert all(branch.channels % channel_divisor == 0 for branch in block.branches)


@pytest.mark.parametrize("name", SPACES)
def test_it_has_the_blocks_of_the_space_with_one_3x3_kernel_each(name: str) -> None:
    supernet = named_space(name, num_classes=10).supernet
    network = _uniform(name, 0.5 * _whole(name))
    assert network.image_size_px == supernet.image_size_px
    assert network.head.num_classes == 10
    assert network.name == f"{name}_uniform"
    pairs = zip(walk_blocks(network), walk_blocks(supernet), strict=True)
    for (path, block, _), (supernet_path, wide, _) in pairs:
        assert path == supernet_path
        assert [branch.kernel_size for branch in block.branches] == [3]
        assert block.stride == wide.stride
        assert block.activation == wide.activation
        assert (block.squeeze_excite is None) == (wide.squeeze_excite is None)


def test_a_larger_budget_never_buys_a_cheaper_network() -> None:
    whole = _whole("figs_quantized_16")
    budgets = np.linspace(0.1, 1.0, 19) * whole
    costs = [network_cost(_uniform("figs_quantized_16", b)).macs for b in budgets]
    # Each costs at least 97 % of its budget, and the next budget is over 5 % larger.
    assert costs == sorted(costs)


def test_a_budget_below_the_narrowest_network_is_refused() -> None:
    with pytest.raises(
        ValueError,
        match="budget must allow the narrowest uniform network of figs_quantized_16. "
        "Received: budget=1,000 macs",
    ):
        _uniform("figs_quantized_16", 1000.0)


def test_an_unknown_space_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="nearest are figs_quantized_16"):
        _uniform("figs_quantised_16", 1e6)


@pytest.mark.parametrize("name", ["mobilenet_v3_large", "mnasnet_a1"])
def test_a_published_network_is_scaled_to_the_budget_of_what_it_becomes(
    name: str,
) -> None:
    def cost_twice_over(network: Architecture) -> float:
        return 2.0 * network_cost(network).params

    architecture = zoo_architecture(name, num_classes=10)
    for budget in (5e5, 1e6, 4e6):
        network = scaled_network(architecture, cost=cost_twice_over, budget=budget)
        assert 0.9 * budget <= cost_twice_over(network) <= budget
        assert len(list(walk_blocks(network))) == len(list(walk_blocks(architecture)))


def test_a_budget_below_the_narrowest_published_network_is_an_error() -> None:
    with pytest.raises(ValueError, match="must allow the narrowest mnasnet_a1.*=1,000"):
        scaled_network(
            zoo_architecture("mnasnet_a1"),
            cost=lambda network: network_cost(network).params,
            budget=1000,
        )


def test_a_one_shot_space_has_one_as_well() -> None:
    supernet = named_space("one_shot_32", num_classes=10).supernet
    budget = 0.3 * network_cost(supernet).macs
    network = _uniform("one_shot_32", budget)
    assert 0.9 * budget < network_cost(network).macs <= budget
    for (_, ours, _), (_, theirs, _) in zip(
        walk_blocks(network), walk_blocks(supernet), strict=True
    ):
        assert [branch.kernel_size for branch in ours.branches] == [3]
        assert ours.stride == theirs.stride
