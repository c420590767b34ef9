import dataclasses

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
    LatencyEntry,
    LatencyTable,
)

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


def test_another_number_of_threads_is_refused():
    conditions, _ = probe("float32", CONFIG, HERE)
    table = LatencyTable("fbnet_32", conditions, {})
    with pytest.raises(ValueError, match="num_threads must be 1, the table's. Recei"):
        next(
            measure_missing(
                table, PARTS, dataclasses.replace(CONFIG, num_threads=2), HERE
            )
        )


@pytest.mark.slow
def test_whole_networks_are_measured_in_turns():
    networks = [SPACE.resolve({p.path: i for p in SPACE.places}) for i in (0, 3)]
    small, large = measure_networks(networks, "float32", CONFIG, HERE)
    assert small.model_bytes < large.model_bytes
    assert len(small.repeat_medians_ms) == len(large.repeat_medians_ms) == 3
