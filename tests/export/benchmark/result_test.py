import dataclasses
import json
import math

import pytest

from export.benchmark.result import (
    BenchmarkResult,
    Device,
    compare_latency,
    format_table,
)

RESULT = BenchmarkResult(
    model="/runs/a/model.tflite",
    model_sha256="0" * 64,
    model_bytes=12_345,
    device=Device("a CPU", 2, "an OS", "LiteRT 2"),
    delegate="XNNPACK",
    num_delegate_partitions=1,
    num_threads=1,
    num_runs=4,
    init_ms=10.0,
    first_inference_ms=5.0,
    median_ms=1.5,
    p90_ms=2.0,
    p95_ms=2.1,
    mean_ms=1.6,
    stddev_ms=0.1,
    min_ms=1.4,
    repeat_medians_ms=(1.0, 2.0),
)


def _with_medians(*medians_ms: float, **values) -> BenchmarkResult:
    return dataclasses.replace(RESULT, repeat_medians_ms=medians_ms, **values)


def test_constant_ratio_has_no_interval():
    ratio = compare_latency(_with_medians(2.0, 6.0, 3.0), _with_medians(1.0, 3.0, 1.5))
    assert (ratio.ratio, ratio.low_95, ratio.high_95) == pytest.approx((2, 2, 2))
    assert ratio.num_repeats == 3


def test_interval_is_students_t_on_the_logarithms():
    # Logarithms -0.1 and 0.1: mean 0, deviation 0.1 * sqrt(2), standard error 0.1;
    # the 97.5 % point of Student's t with one degree of freedom is 12.7062.
    ratio = compare_latency(
        _with_medians(math.exp(-0.1), math.exp(0.1)), _with_medians(1.0, 1.0)
    )
    assert ratio.ratio == pytest.approx(1)
    assert ratio.high_95 == pytest.approx(math.exp(1.27062), rel=1e-5)
    assert ratio.low_95 == pytest.approx(math.exp(-1.27062), rel=1e-5)


@pytest.mark.parametrize(
    ("result", "reference", "words"),
    [
        (_with_medians(1.0), _with_medians(1.0), "at least 2.*1 and 1"),
        (_with_medians(1.0, 1.0), _with_medians(1.0, 1.0, 1.0), "2 and 3"),
        (RESULT, _with_medians(1.0, 1.0, num_threads=2), "num_threads.*1 and 2"),
    ],
)
def test_results_that_do_not_pair_are_refused(result, reference, words):
    with pytest.raises(ValueError, match=words):
        compare_latency(result, reference)


def test_table_is_aligned_and_names_models_from_their_common_folder():
    other = dataclasses.replace(
        RESULT, model="/runs/bcd/model.tflite", median_ms=123.4567
    )
    header, first, second = format_table([RESULT, other]).splitlines()
    assert len(header) == len(first) == len(second)
    assert first.split()[:4] == ["a/model.tflite", "12", "1", "1.500"]
    assert second.split()[:4] == ["bcd/model.tflite", "12", "1", "123.457"]
    assert first.endswith("XNNPACK x1")


def test_single_model_is_named_by_its_file():
    assert format_table([RESULT]).splitlines()[1].startswith("model.tflite ")


def test_result_is_plain_json():
    document = json.loads(json.dumps(RESULT.to_json(), allow_nan=False))
    assert document["median_ms"] == 1.5
    assert document["repeat_medians_ms"] == [1.0, 2.0]
    assert document["device"]["runtime"] == "LiteRT 2"
