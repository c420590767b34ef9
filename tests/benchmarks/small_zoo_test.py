import pytest

from benchmarks.small_zoo import narrow_network
from mobilenas_tf.costs.network import layer_costs, network_cost
from mobilenas_tf.spec import walk_blocks


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_small", "mnasnet_a1"])
def test_at_32_px_strides_are_those_of_our_spaces_and_the_budget_is_used(name):
    network = narrow_network(name, image_size_px=32, num_classes=10, max_macs=3e6)
    assert 0.97 * 3e6 <= network_cost(network).macs <= 3e6
    assert network.image_size_px == 32 and network.head.num_classes == 10
    assert network.stem.stride == 2
    strides = [block.stride for _, block, _ in walk_blocks(network)]
    assert [stride for stride in strides if stride > 1] == [2, 2]
    # Of the last block: 32 / 2 / 2 / 2.
    assert layer_costs(network)[-2].out_size_px == 4


def test_at_other_sizes_all_strides_stay():
    network = narrow_network(
        "mobilenet_v2", image_size_px=160, num_classes=10, max_macs=10e6
    )
    strides = [block.stride for _, block, _ in walk_blocks(network)]
    assert [stride for stride in strides if stride > 1] == [2, 2, 2, 2]
    assert network_cost(network).macs <= 10e6
