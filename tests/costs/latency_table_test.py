import dataclasses
import json

import numpy as np
import pytest

from mobilenas_tf.block_spaces import named_block_space
from mobilenas_tf.costs.latency_fit import (
    fit_calibration,
    linear_fit,
    prediction_error,
)
from mobilenas_tf.costs.latency_parts import Part, network_parts, space_parts
from mobilenas_tf.costs.latency_table import (
    CALL,
    Calibration,
    Conditions,
    LatencyEntry,
    LatencyTable,
    check_conditions,
    check_space,
    read_latency_table,
    write_latency_table,
)
from mobilenas_tf.costs.network import layer_costs
from mobilenas_tf.spec import BitWidths, Branch, InvertedResidual, SqueezeExcite
from mobilenas_tf.zoo import ZOO, zoo_architecture

SPACE = named_block_space("fbnet_32", num_classes=10)
CONDITIONS = Conditions("phone", "LiteRT 2.3.0", "int8", 1)


def made_up_table(**options):
    entries = {
        key: LatencyEntry(0.01 * (index + 1), 0.02, 10)
        for index, key in enumerate(space_parts(SPACE))
    }
    entries[CALL] = LatencyEntry(0.004, 0.0, 10)
    return LatencyTable("fbnet_32", CONDITIONS, entries, **options)


@pytest.mark.parametrize("name", ["mobilenet_v3_large", "fbnet_v3_a", "atomnas_a"])
def test_parts_are_the_layers_of_the_network_in_their_place(name):
    architecture = zoo_architecture(name)
    parts = list(network_parts(architecture))
    layers = layer_costs(architecture)
    assert len(parts) == len(layers)
    for part, before in zip(parts[1:], layers, strict=False):
        assert (part.in_channels, part.in_size_px) == (
            before.out_channels,
            before.out_size_px,
        )


def test_what_computes_alike_has_one_key_and_nothing_else():
    block = InvertedResidual(16, (Branch(3, 32),))
    part = Part(block, 8, 14)
    others = [
        dataclasses.replace(part, in_channels=16),
        dataclasses.replace(part, in_size_px=7),
        *(
            dataclasses.replace(part, layer=dataclasses.replace(block, **change))
            for change in (
                {"out_channels": 24},
                {"branches": (Branch(5, 32),)},
                {"branches": (Branch(3, 16), Branch(5, 16))},
                {"stride": 2},
                {"activation": "hard_swish"},
                {"squeeze_excite": SqueezeExcite(8)},
                {"squeeze_excite": SqueezeExcite(8, gate="sigmoid")},
                {"expansion_groups": 2},
                {"projection_groups": 2},
                {"projection_groups": 2, "has_shuffle": True},
                {"padding_px": 0},
            )
        ),
    ]
    keys = {each.key for each in (part, *others)}
    assert len(keys) == 1 + len(others)
    same = Part(InvertedResidual(16, (Branch(3, 32),)), 8, 14)
    assert same.key == part.key


def test_8_bits_are_what_is_measured_and_fewer_are_refused():
    block = InvertedResidual(16, (Branch(3, 32),))
    int8 = dataclasses.replace(block, bit_widths=BitWidths(8, 8))
    assert Part(int8, 8, 14).key == Part(block, 8, 14).key
    for widths in (BitWidths(4, 8), BitWidths(8, 4)):
        part = Part(dataclasses.replace(block, bit_widths=widths), 8, 14)
        with pytest.raises(ValueError, match=f"have 8-bit .* Received: {widths.label}"):
            _ = part.key


def test_parts_of_the_zoo_that_differ_have_different_keys():
    parts = {
        (part.layer, part.in_channels, part.in_size_px): part.key
        for name in ZOO
        for part in network_parts(zoo_architecture(name))
    }
    assert len(set(parts.values())) == len(parts)


def test_every_network_of_a_space_is_made_of_its_parts():
    keys = space_parts(SPACE).keys()
    rng = np.random.default_rng(0)
    for _ in range(20):
        network = SPACE.resolve(SPACE.sample(rng))
        assert {part.key for part in network_parts(network)} <= keys


def test_a_prediction_is_the_calibrated_sum_with_one_call():
    table = made_up_table()
    network = SPACE.resolve(SPACE.sample(np.random.default_rng(1)))
    parts = [table.entries[part.key].median_ms for part in network_parts(network)]
    expected = sum(parts) - 0.004 * len(parts) + 0.004
    assert table.network_ms(network) == pytest.approx(expected)
    calibrated = dataclasses.replace(table, calibration=Calibration(1.1, 0.05, 20, 0.0))
    assert calibrated.network_ms(network) == pytest.approx(1.1 * expected + 0.05)


def test_a_missing_entry_is_named_with_the_command_that_measures_it():
    table = made_up_table()
    with pytest.raises(ValueError, match="must have the entry '3x224x224 conv16 k3 s2"):
        table.network_ms(zoo_architecture("fbnet_c"))
    with pytest.raises(ValueError, match="--space=fbnet_32 --precision=int8 --num_thr"):
        table.network_ms(zoo_architecture("fbnet_c"))


def test_a_table_survives_its_file(tmp_path):
    path = tmp_path / "table.json"
    for calibration in (None, Calibration(1.1, 0.05, 20, 0.01)):
        table = made_up_table(calibration=calibration, provenance={"device": "x"})
        write_latency_table(path, table)
        assert read_latency_table(path) == table


def test_an_older_file_is_of_a_cpu_and_of_its_fastest_cores(tmp_path):
    path = tmp_path / "table.json"
    write_latency_table(path, made_up_table())
    document = json.loads(path.read_text())
    for name in ("accelerator", "core_mask"):
        del document["conditions"][name]
    path.write_text(json.dumps(document))
    conditions = read_latency_table(path).conditions
    assert (conditions.accelerator, conditions.core_mask) == ("cpu", "auto")
    del document["conditions"]["num_threads"]
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match="conditions must have the key 'num_threads'"):
        read_latency_table(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "must have schema_version 1. Received: 2"),
        ({"entries": []}, r"entries must be a JSON object. Received: \[\]"),
        ({"more": 1}, "Received: 'more', which is unknown"),
        ({"conditions": {"device": "x"}}, "conditions must have the key"),
        ({"calibration": {"scale": 1.0}}, "calibration must have the key"),
    ],
)
def test_a_file_that_is_off_is_refused(tmp_path, change, message):
    path = tmp_path / "table.json"
    write_latency_table(path, made_up_table())
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        read_latency_table(path)


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_entries_that_are_no_times_are_refused_by_their_key(tmp_path, value):
    path = tmp_path / "table.json"
    write_latency_table(path, made_up_table())
    document = json.loads(path.read_text())
    document["entries"][CALL]["median_ms"] = value
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match="entries/call: median_ms must be a finite"):
        read_latency_table(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("device", "other"),
        ("precision", "float32"),
        ("num_threads", 2),
        ("accelerator", "gpu"),
        ("core_mask", "f0"),
    ],
)
def test_a_table_of_other_conditions_is_refused(tmp_path, field, value):
    wanted = dataclasses.replace(CONDITIONS, **{field: value})
    check_conditions(tmp_path, made_up_table(), CONDITIONS)
    with pytest.raises(ValueError, match=f"must be of {field}={value!r}; give another"):
        check_conditions(tmp_path, made_up_table(), wanted)


def test_a_table_of_another_space_is_refused(tmp_path):
    path = tmp_path / "table.json"
    check_space(path, made_up_table(), "fbnet_32")
    message = (
        "table.json must be of space='fbnet'; give another file. "
        "Received: space='fbnet_32'"
    )
    with pytest.raises(ValueError, match=message):
        check_space(path, made_up_table(), "fbnet")


def test_the_fit_finds_the_line_and_counts_errors_in_parts():
    sums = [1.0, 2.0, 5.0, 10.0]
    measured = [1.2 * x + 0.3 for x in sums]
    calibration = fit_calibration(sums, measured)
    assert calibration.scale == pytest.approx(1.2)
    assert calibration.offset_ms == pytest.approx(0.3)
    assert calibration.mean_error == pytest.approx(0.0, abs=1e-9)
    # At the least sum of squares the relative errors lean to neither side.
    x, y = np.array(sums), np.array([1.8, *measured[1:]])
    scale, offset = linear_fit(x, y)
    errors = (scale * x + offset) / y - 1
    assert np.sum(errors / y) == pytest.approx(0, abs=1e-9)
    assert np.sum(errors * x / y) == pytest.approx(0, abs=1e-9)


def test_errors_are_relative_and_ranks_are_compared():
    error = prediction_error([1.1, 1.8, 3.0], [1.0, 2.0, 3.0])
    assert error.mape == pytest.approx((0.1 + 0.1 + 0.0) / 3)
    assert error.spearman == 1.0
    assert prediction_error([3, 2, 1], [1, 2, 3]).spearman == -1.0
    assert prediction_error([3, 2, 1], [2, 2, 2]).spearman == 0.0


@pytest.mark.parametrize("sums", [[1.0, 2.0], [1.0, 1.0, 1.0]])
def test_a_fit_needs_networks_that_differ(sums):
    with pytest.raises(ValueError, match="at least 3 networks that differ"):
        linear_fit(sums, [1.0] * len(sums))
