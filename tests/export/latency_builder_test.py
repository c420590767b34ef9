import dataclasses
import logging

import numpy as np
import pytest

from export import latency_builder
from export.config import BenchmarkConfig, DeviceConfig
from export.interpreter import count_operators, load_interpreter
from export.latency_builder import measure_missing, measure_networks, probe
from mobilenas_tf.block_spaces import named_block_space
from mobilenas_tf.costs.latency_parts import space_parts
from mobilenas_tf.costs.latency_table import (
    CALL,
    Conditions,
    LatencyEntry,
    LatencyTable,
)
from tests.export.benchmark.fake_device import make_device, write_binary

CONFIG = BenchmarkConfig(repeats=3, runs=5, warmup_runs=1, memory=False)
HERE = DeviceConfig()
SPACE = named_block_space("fbnet_32", num_classes=10)
PARTS = dict(list(space_parts(SPACE).items())[:3])


@pytest.mark.slow
def test_only_missing_parts_are_measured_and_every_chunk_is_handed_out(monkeypatch):
    monkeypatch.setattr(latency_builder, "CHUNK", 2)
    conditions, device = probe("float32", CONFIG, HERE)
    assert (conditions.precision, conditions.num_threads) == ("float32", 1)
    assert conditions.runtime in device
    known = {CALL: LatencyEntry(0.5, 0.0, 7)}
    table = LatencyTable("fbnet_32", conditions, known)
    first, second = measure_missing(table, PARTS, CONFIG, HERE)
    assert [*first.entries] == [CALL, *list(PARTS)[:2]]
    assert second.entries[CALL] == known[CALL]
    assert second.entries.keys() == {CALL, *PARTS}
    assert all(second.entries[key].num_repeats == 3 for key in PARTS)
    assert list(measure_missing(second, PARTS, CONFIG, HERE)) == []


@pytest.mark.slow
def test_int8_parts_are_int8_from_end_to_end():
    part = next(part for key, part in PARTS.items() if "block" in key)
    content = latency_builder.part_file(part, "int8")
    interpreter = load_interpreter(content)
    for tensor in interpreter.get_tensor_details():
        assert tensor["dtype"] in (np.int8, np.int32), tensor["name"]
    operators = count_operators(content)
    assert operators["DEPTHWISE_CONV_2D"] == 1
    assert "QUANTIZE" not in operators and "DEQUANTIZE" not in operators


def phone(folder, **runner):
    """Returns the options of a made-up phone whose GPU is asked for."""
    binary = str(write_binary(folder / "benchmark_model"))
    adb = make_device(folder, runner=runner).adb
    return DeviceConfig("adb", binary, adb, "gpu", operator_profile=False)


def test_a_table_is_of_the_accelerator_and_cores_that_were_asked_for(tmp_path):
    config = phone(tmp_path, delegation="partial")
    conditions, _ = probe("float32", CONFIG, config)
    assert (conditions.device, conditions.num_threads) == ("Google Pixel 8", 1)
    assert (conditions.accelerator, conditions.core_mask) == ("gpu", "auto")
    config = dataclasses.replace(config, core_mask="f0")
    assert probe("float32", CONFIG, config)[0].core_mask == "f0"
    here = dataclasses.replace(HERE, core_mask="f0")  # which a host does not ask for
    assert probe("float32", CONFIG, here)[0].core_mask == "auto"


def test_a_phone_whose_gpu_runs_nothing_has_no_table_of_a_gpu(tmp_path):
    message = (
        "accelerator must be one that runs a plain float32 convolution on Google Pixel "
        "8. Received: accelerator=gpu, which took nothing of it"
    )
    config = phone(tmp_path, delegation="none")
    with pytest.raises(ValueError, match=message):
        probe("float32", CONFIG, config)
    cpu = dataclasses.replace(config, accelerator="cpu")
    assert probe("float32", CONFIG, cpu)[0].accelerator == "cpu"


@pytest.mark.parametrize("delegation", ["none", "full"])
def test_parts_that_the_gpu_leaves_to_the_cpu_are_named(tmp_path, caplog, delegation):
    conditions = Conditions("Google Pixel 8", "TFLite", "float32", 1, "gpu")
    table = LatencyTable("fbnet_32", conditions, {CALL: LatencyEntry(0.5, 0.0, 7)})
    config = phone(tmp_path, delegation=delegation)
    with caplog.at_level(logging.WARNING, logger="absl"):
        (measured,) = measure_missing(table, PARTS, CONFIG, config)
    assert measured.entries.keys() == {CALL, *PARTS}
    names = [key for key in measured.entries if key in caplog.text.splitlines()]
    assert names == (list(PARTS) if delegation == "none" else [])


@pytest.mark.parametrize(
    ("field", "of_the_table", "asked"),
    [
        ("num_threads", 2, 1),
        ("accelerator", "gpu", "cpu"),
        ("core_mask", "f0", "auto"),
    ],
)
def test_a_table_of_other_conditions_is_not_added_to(field, of_the_table, asked):
    conditions = dataclasses.replace(
        Conditions("phone", "LiteRT", "float32", 1), **{field: of_the_table}
    )
    table = LatencyTable("fbnet_32", conditions, {})
    message = f"{field} must be {of_the_table}, the table's. Received: {asked}"
    with pytest.raises(ValueError, match=message):
        next(measure_missing(table, PARTS, CONFIG, HERE))


@pytest.mark.slow
def test_whole_networks_are_measured_in_turns():
    networks = [SPACE.resolve({p.path: i for p in SPACE.places}) for i in (0, 3)]
    small, large = measure_networks(networks, "float32", CONFIG, HERE)
    assert small.model_bytes < large.model_bytes
    assert len(small.repeat_medians_ms) == len(large.repeat_medians_ms) == 3
