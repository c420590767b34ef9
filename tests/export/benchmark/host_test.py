import dataclasses
import hashlib
import itertools

import numpy as np
import pytest

from export.benchmark import host
from export.config import BenchmarkConfig


@pytest.fixture
def model_paths(tmp_path, int8_file, float_file):
    paths = tmp_path / "int8.tflite", tmp_path / "float.tflite"
    for path, content in zip(paths, (int8_file, float_file), strict=True):
        path.write_bytes(content)
    return paths


def test_each_model_gets_its_own_result_in_the_order_given(model_paths, int8_file):
    config = BenchmarkConfig(2, warmup_runs=1, runs=3, repeats=2, memory=False)
    results = host.benchmark_models(model_paths, config)
    assert [result.model for result in results] == [str(path) for path in model_paths]
    assert results[0].model_sha256 == hashlib.sha256(int8_file).hexdigest()
    assert results[0].model_bytes == len(int8_file)
    for result in results:
        assert (result.num_runs, result.num_threads) == (6, 2)
        assert len(result.repeat_medians_ms) == 2
        assert 0 < result.min_ms <= result.median_ms <= result.p90_ms <= result.p95_ms
        assert result.init_ms > 0 and result.first_inference_ms > 0
        assert result.device.runtime.startswith("LiteRT ")


def test_whole_float_graph_runs_in_the_delegate(model_paths):
    config = BenchmarkConfig(warmup_runs=0, runs=1, repeats=1, memory=False)
    (result,) = host.benchmark_models(model_paths[1:], config)
    assert (result.delegate, result.num_delegate_partitions) == ("XNNPACK", 1)
    assert (result.delegation, result.undelegated_operators) == ("full", {})


def test_memory_is_measured_where_it_is_wanted(model_paths):
    config = BenchmarkConfig(warmup_runs=0, runs=1, repeats=1)
    (result,) = host.benchmark_models(model_paths[:1], config)
    assert result.memory_bytes is not None
    assert result.model_bytes < result.memory_bytes < 100e6
    config = dataclasses.replace(config, memory=False)
    (result,) = host.benchmark_models(model_paths[:1], config)
    assert result.memory_bytes is None


def test_statistics_are_those_of_all_timed_runs(model_paths, monkeypatch):
    timings = itertools.chain([99.0], [1.0, 2.0, 6.0], [3.0, 4.0, 8.0])
    monkeypatch.setattr(host, "_time_ms", lambda invoke: next(timings))
    config = BenchmarkConfig(warmup_runs=0, runs=3, repeats=2, memory=False)
    (result,) = host.benchmark_models(model_paths[:1], config)
    assert result.first_inference_ms == 99.0
    assert result.repeat_medians_ms == (2.0, 4.0)
    assert result.median_ms == 3.5  # of 1 2 3 4 6 8
    assert result.mean_ms == 4.0
    assert result.min_ms == 1.0
    assert result.p90_ms == 7.0  # linear: position 4.5 of 0 .. 5
    assert result.p95_ms == 7.5  # position 4.75
    assert result.stddev_ms == pytest.approx(np.sqrt((9 + 4 + 1 + 0 + 4 + 16) / 6))


def test_models_take_turns_within_every_repeat(model_paths, monkeypatch):
    order = []

    def record(invoke):
        order.append(invoke.__self__)
        return 1.0

    monkeypatch.setattr(host, "_time_ms", record)
    config = BenchmarkConfig(warmup_runs=0, runs=1, repeats=8, memory=False)
    host.benchmark_models(model_paths, config)
    first_runs, turns = order[:2], order[2:]
    repeats = [turns[start : start + 2] for start in range(0, 16, 2)]
    assert all(set(repeat) == set(first_runs) for repeat in repeats)
    # Eight orders drawn with a fixed seed: both occur.
    assert {repeat[0] for repeat in repeats} == set(first_runs)


def test_no_model_is_refused():
    with pytest.raises(ValueError, match="models must name at least one"):
        host.benchmark_models([], BenchmarkConfig())


def test_file_that_is_no_model_is_named(tmp_path):
    path = tmp_path / "readme.tflite"
    path.write_text("just some words here")
    with pytest.raises(ValueError, match="readme.tflite must be a .tflite file"):
        host.benchmark_models([path], BenchmarkConfig())
