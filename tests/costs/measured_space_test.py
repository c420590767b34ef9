import dataclasses

import numpy as np
import pytest

from mobilenas_tf.costs.latency_table import (
    CALL,
    Conditions,
    LatencyEntry,
    LatencyTable,
)
from mobilenas_tf.costs.measured_space import (
    SPACES,
    layers_ms,
    measured_space,
    predicted_ms,
)
from mobilenas_tf.costs.network import layer_costs, network_cost
from mobilenas_tf.zoo import zoo_architecture
from tests.costs.operator_latencies import CALL_MS, table_of_macs


def named(table, name):
    return dataclasses.replace(table, space=name)


@pytest.mark.parametrize("name", ["one_shot_32", "one_shot_widths_32", "fbnet_v3_32"])
def test_every_network_of_a_space_of_operations_and_channels_can_be_predicted(name):
    space = measured_space(name, num_classes=10)
    table = named(table_of_macs(space.parts), name)
    rng = np.random.default_rng(0)
    for _ in range(10):
        network = space.sample(rng)
        macs = network_cost(network.architecture).macs
        assert network.predict(table) == pytest.approx(CALL_MS + 1e-6 * macs, rel=1e-4)
        assert predicted_ms(network.architecture, table) == network.predict(table)
        assert layers_ms(network.architecture, table) == {}


@pytest.mark.parametrize("name", [n for n in SPACES if n.endswith("_32")])
def test_a_space_has_parts_and_networks(name):
    space = measured_space(name, num_classes=10)
    assert space.parts
    architecture = space.sample(np.random.default_rng(0)).architecture
    assert architecture.image_size_px in (24, 28, 32)


def test_a_single_network_is_a_table_of_its_blocks():
    space = measured_space("mobilenet_v3_large", num_classes=1000)
    architecture = zoo_architecture("mobilenet_v3_large")
    entries = {
        key: LatencyEntry(0.1 + 0.01 * index, 0.0, 3)
        for index, key in enumerate(space.parts)
    }
    table = LatencyTable(
        "mobilenet_v3_large",
        Conditions("a", "b", "int8", 1),
        {CALL: LatencyEntry(0.05, 0.0, 3), **entries},
    )
    by_layer = layers_ms(architecture, table)
    assert list(by_layer) == [layer.path for layer in layer_costs(architecture)]
    assert predicted_ms(architecture, table) == pytest.approx(
        sum(by_layer.values()) + 0.05
    )
    with pytest.raises(ValueError, match="latency_table must be of a search space"):
        space.sample(np.random.default_rng(0))


def test_an_unknown_space_is_named_with_the_nearest():
    with pytest.raises(ValueError, match="fbnet_32"):
        measured_space("fbnet_23", num_classes=10)
