import dataclasses
import json
import math

import pytest

from export.benchmark.device import (
    Device,
    PhoneSession,
    Thermals,
    describe_device,
)
from export.benchmark.result import (
    BenchmarkResult,
    compare_latency,
    describe_delegation,
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
    delegation="full",
    undelegated_operators={},
    memory_bytes=12_345_678,
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
    assert header.index("delegate") == first.index("XNNPACK") == second.index("XNNPACK")
    assert header.index(" ms  p90") + 3 == first.index("1.500") + 5
    assert first.split()[:4] == ["a/model.tflite", "12", "1", "1.500"]
    assert second.split()[:4] == ["bcd/model.tflite", "12", "1", "123.457"]
    assert first.endswith("   12.3  XNNPACK x1")


def test_single_model_is_named_by_its_file():
    assert format_table([RESULT]).splitlines()[1].startswith("model.tflite ")


def test_result_is_plain_json():
    document = json.loads(json.dumps(RESULT.to_json(), allow_nan=False))
    assert document["median_ms"] == 1.5
    assert document["repeat_medians_ms"] == [1.0, 2.0]
    assert document["device"]["runtime"] == "LiteRT 2"


def test_figures_that_nobody_told_are_dashes() -> None:
    result = dataclasses.replace(RESULT, p90_ms=None, p95_ms=None, memory_bytes=None)
    row = format_table([result]).splitlines()[1].split()
    assert (row[4], row[5], row[11]) == ("-", "-", "-")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, "XNNPACK x1"),
        (
            {
                "num_delegate_partitions": 2,
                "delegation": "partial",
                "undelegated_operators": {"ARG_MAX": 2, "CAST": 1},
            },
            "XNNPACK x2, ARG_MAX, CAST outside",
        ),
        (
            {
                "delegation": "partial",
                "undelegated_operators": dict.fromkeys("ABCDE", 1),
            },
            "XNNPACK x1, A, B, C and 2 more kinds outside",
        ),
        (
            {"delegation": "partial", "undelegated_operators": None},
            "XNNPACK x1, in part",
        ),
        (
            {
                "delegate": "GPU",
                "delegation": "partial",
                "fallback_delegates": ("XNNPACK",),
            },
            "GPU x1, then XNNPACK",
        ),
        (
            {"delegate": "GPU", "delegation": "none", "num_delegate_partitions": 0},
            "GPU took nothing",
        ),
        (
            {"delegate": "none", "delegation": "none", "num_delegate_partitions": 0},
            "none",
        ),
        ({"delegation": "unknown", "num_delegate_partitions": None}, "XNNPACK?"),
    ],
)
def test_delegation_in_words(values: dict, text: str) -> None:
    assert describe_delegation(dataclasses.replace(RESULT, **values)) == text


def test_device_in_words() -> None:
    assert describe_device(RESULT.device) == "a CPU, 2 cores, LiteRT 2"
    phone = PhoneSession(
        serial="R58",
        model="a phone",
        fingerprint="f",
        sdk=35,
        abi="arm64-v8a",
        runner_kind="tflite",
        runner_sha256="0" * 64,
        core_mask="f0",
        has_fixed_performance=True,
        thermals_before=Thermals(0, 20.0),
        thermals_after=Thermals(None, None),
    )
    device = dataclasses.replace(RESULT.device, phone=phone)
    assert describe_device(device) == (
        "a phone, an OS, a CPU, 2 cores, LiteRT 2, cores f0, clocks held, thermal "
        "status 0 before and unknown after"
    )
