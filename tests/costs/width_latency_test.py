import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mobilenas_tf.costs.latency_table import Calibration
from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.costs.space_cost import (
    genotype_cost,
    narrowed_cost,
    space_cost,
    whole_widths,
)
from mobilenas_tf.costs.width_latency import (
    knots,
    operator_parts,
    operator_sum_ms,
    width_latency,
    width_parts,
)
from mobilenas_tf.space import with_presence
from mobilenas_tf.spaces import named_space
from mobilenas_tf.zoo import zoo_architecture
from tests.costs.operator_latencies import CALL_MS, table_of_macs

# Single widths, parallel kernels, squeeze-excite and hidden layer, fixed outputs.
SPACES = ["figs_widths_32", "figs_mobilenet_v2_32", "figs_mobilenet_v3_32"]
SPACES += ["figs_atomnas_32", "figs_fbnet_32"]


def genotypes(space):
    rng = np.random.default_rng(0)
    closed = {
        path: 0 if "kernel" in path and rng.random() < 0.7 else width
        for path, width in space.sample(rng).items()
    }
    return [space.smallest(), space.largest(), space.sample(rng), space.repair(closed)]


def test_measured_widths_are_powers_of_two_up_to_the_first_that_is_enough():
    assert knots(5) == (8,)
    assert knots(32) == (8, 16, 32)
    assert knots(33) == (8, 16, 32, 64)


@pytest.mark.parametrize("name", SPACES)
def test_what_is_proportional_to_widths_is_exact_between_them(name):
    space = named_space(name, num_classes=10)
    latency = width_latency(space, table_of_macs(width_parts(space)))
    for genotype in genotypes(space):
        macs = network_cost(space.resolve(genotype)).macs
        found = latency(with_presence(space, genotype))
        assert found == pytest.approx(CALL_MS + 1e-6 * macs, rel=1e-4)


@pytest.mark.parametrize("name", ["fbnet_a", "mobilenet_v3_large", "mobiledet_cpu"])
def test_a_networks_operators_do_all_its_multiply_adds(name):
    architecture = zoo_architecture(name)
    parts = {part.key: part for part in operator_parts(architecture)}
    total = operator_sum_ms(architecture, table_of_macs(parts))
    macs = network_cost(architecture).macs
    assert total == pytest.approx(CALL_MS + 1e-6 * macs, rel=1e-9)


def test_tensors_cost_what_numbers_do_and_have_the_slope_as_gradient():
    space = named_space("figs_widths_32", num_classes=10)
    latency = width_latency(space, table_of_macs(width_parts(space)))
    widths = with_presence(space, space.sample(np.random.default_rng(1)))
    tensors = {path: tf.constant(float(width)) for path, width in widths.items()}
    path = next(path for path in widths if "kernel" in path and widths[path])

    @tf.function
    def with_gradient():
        with tf.GradientTape() as tape:
            tape.watch(tensors[path])
            value = latency(tensors)
        return value, tape.gradient(value, tensors[path])

    value, gradient = with_gradient()
    assert float(value) == pytest.approx(float(latency(widths)), rel=1e-5)
    more = latency({**widths, path: widths[path] + 1}) - latency(widths)
    assert float(gradient) == pytest.approx(float(more), rel=1e-2)


def test_steps_of_a_runtime_are_followed_by_lines_between_the_measured_widths():
    space = named_space("figs_widths_32", num_classes=10)
    parts = width_parts(space)
    table = table_of_macs(parts)
    path = "head/conv"
    channels = space.largest()[path]
    low, high = knots(channels)[-2:]
    ends = [
        width_latency(space, table)({path: width}) for width in (low, high, channels)
    ]
    share = (channels - low) / (high - low)
    assert ends[2] == pytest.approx(ends[0] + share * (ends[1] - ends[0]), rel=1e-6)


def test_a_calibration_is_applied_once():
    space = named_space("figs_widths_32", num_classes=10)
    table = table_of_macs(width_parts(space))
    calibrated = dataclasses.replace(table, calibration=Calibration(2.0, 0.1, 9, 0.0))
    plain = float(width_latency(space, table)({}))
    expected = 2 * plain + 0.1
    assert width_latency(space, calibrated)({}) == pytest.approx(expected)


def test_a_part_of_a_space_costs_what_it_does_in_the_whole():
    space = named_space("figs_mobilenet_v2_32", num_classes=10)
    cost = space_cost(space, "ms", table_of_macs(width_parts(space)))
    genotype = genotypes(space)[3]
    # Every block keeps some channels in a narrowed space.
    widths = {path: max(width, 8) for path, width in genotype.items()}
    closed = next(path for path in widths if path.endswith("kernel5"))
    widths[closed] = 0
    narrowed = space.narrowed(widths)
    inside = narrowed_cost(space, cost, narrowed)
    for part in (narrowed.largest(), narrowed.smallest()):
        whole = genotype_cost(space, cost, whole_widths(space, part))
        assert genotype_cost(narrowed, inside, part) == pytest.approx(whole)
        macs = network_cost(narrowed.resolve(part)).macs
        assert whole == pytest.approx(CALL_MS + 1e-6 * macs, rel=1e-4)


def test_a_missing_operator_is_named_with_the_command_that_measures_it():
    space = named_space("figs_widths_32", num_classes=10)
    parts = dict(list(width_parts(space).items())[1:])
    table = dataclasses.replace(table_of_macs(parts), space="figs_widths_32")
    with pytest.raises(ValueError, match="build_latency_table --space=figs_widths_32"):
        width_latency(space, table)


def test_a_budget_in_milliseconds_needs_a_table():
    space = named_space("figs_widths_32", num_classes=10)
    with pytest.raises(ValueError, match="latency_table must be given with max_ms"):
        space_cost(space, "ms")
