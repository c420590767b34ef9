"""Figures out of the runner's result file and text, with their odd forms."""

from __future__ import annotations

import pytest

from export.benchmark.runner_output import describe_failure, read_result, read_text
from tests.export.benchmark.proto_messages import (
    BENCHMARK_RESULT,
    LATENCY,
    make_message_class,
)


@pytest.fixture
def result():
    result = make_message_class(BENCHMARK_RESULT, "BenchmarkResult")(name="a name")
    for place, name in enumerate(LATENCY, start=1):
        setattr(result.latency_metrics, name, place + 0.5)
    result.memory_metrics.overall_footprint_kb = 300
    result.misc_metrics.num_runs = 1000
    return result


def test_result_file_has_all_figures(result) -> None:
    figures = read_result(result.SerializeToString())
    assert figures.num_runs == 1000
    assert (figures.mean_ms, figures.min_ms, figures.stddev_ms) == (1.5, 2.5, 4.5)
    assert (figures.median_ms, figures.p95_ms) == (5.5, 7.5)
    assert (figures.init_ms, figures.first_inference_ms) == (8.5, 9.5)
    assert figures.memory_bytes == 300 * 1024


def test_shrunk_memory_is_negative(result) -> None:
    result.memory_metrics.overall_footprint_kb = -3
    assert read_result(result.SerializeToString()).memory_bytes == -3 * 1024


def test_result_file_without_memory_and_percentiles(result) -> None:
    result.ClearField("memory_metrics")
    result.latency_metrics.ClearField("median_ms")
    figures = read_result(result.SerializeToString())
    assert (figures.memory_bytes, figures.median_ms) == (None, None)


def test_result_file_that_is_cut_off_anywhere_is_refused(result) -> None:
    whole = result.SerializeToString()
    for size in range(len(whole)):
        with pytest.raises(ValueError, match="whole|all figures"):
            read_result(whole[:size])


def test_result_file_of_no_run_is_refused(result) -> None:
    result.misc_metrics.num_runs = 0
    with pytest.raises(ValueError, match="at least one run. Received: 0 runs"):
        read_result(result.SerializeToString())


WARMUP = "INFO: count=2 first=9000 curr=7000 min=7000 max=9000 avg=8000 std=1000 "
WARMUP += "p5=7000 median=9000 p95=9000\n\n"
INIT = "INFO: Initialized session in 38.4ms.\n"
TIMINGS = "INFO: Inference timings in us: Init: 38467, First inference: 83235, "
TIMINGS += "Warmup (avg): 83235, Inference (avg): 79760.9\n"


def _text(runs: str, *, start: str = INIT + WARMUP, end: str = TIMINGS) -> str:
    return f"INFO: STARTING!\n{start}INFO: {runs}\n\n{end}"


def test_text_of_a_new_runner_has_all_figures() -> None:
    figures = read_text(
        _text(
            "count=50 first=79449 curr=81350 min=77385 max=88213 avg=79732 std=1929 "
            "p5=77500 median=79700 p95=83000"
        )
        + "INFO: Memory footprint delta from the start of the tool (MB): init=5.1 "
        "overall=12.25\n"
    )
    assert figures.num_runs == 50
    assert (figures.mean_ms, figures.stddev_ms) == (79.732, 1.929)
    assert (figures.min_ms, figures.median_ms, figures.p95_ms) == (77.385, 79.7, 83.0)
    assert (figures.init_ms, figures.first_inference_ms) == (38.4, 83.235)
    assert figures.memory_bytes == 12.25 * 2**20


def test_text_of_an_old_runner_has_no_percentiles() -> None:
    figures = read_text(
        _text("count=50 first=9 curr=9 min=8000 max=9 avg=8200.5 std=100")
    )
    assert (figures.median_ms, figures.p95_ms, figures.memory_bytes) == (None,) * 3
    assert (figures.mean_ms, figures.min_ms, figures.stddev_ms) == (8.2005, 8, 0.1)


def test_numbers_may_have_an_exponent() -> None:
    figures = read_text(
        _text("count=3 first=1 curr=1 min=1.1e+06 max=1 avg=1.2e+06 std=1e+03")
    )
    assert (figures.mean_ms, figures.min_ms, figures.stddev_ms) == (1200, 1100, 1)


@pytest.mark.parametrize(
    "runs",
    [
        "count=7 curr=1500(all same)",
        "count=7 curr=1500(all same) p5=1500 median=1500 p95=1500",
        "count=1 curr=1500",
        "count=1 curr=1500 p5=1500 median=1500 p95=1500",
    ],
)
def test_equal_runs_have_equal_figures(runs: str) -> None:
    figures = read_text(_text(runs))
    assert figures.num_runs == int(runs[6])
    assert (figures.mean_ms, figures.min_ms, figures.stddev_ms) == (1.5, 1.5, 0)
    assert (figures.median_ms, figures.p95_ms) == (1.5, 1.5)


def test_litert_tells_first_run_in_the_warm_up_alone() -> None:
    figures = read_text(_text("count=7 curr=1500(all same)", end=""))
    assert (figures.init_ms, figures.first_inference_ms) == (38.4, 9.0)


def test_lines_without_a_severity_are_read_too() -> None:
    text = _text("count=7 curr=1500(all same)").replace("INFO: ", "")
    assert read_text(text).mean_ms == 1.5


def test_lines_of_an_operator_profile_are_not_the_runs() -> None:
    profile = "INFO: Timings (microseconds): count=20 curr=7(all same)\n"
    profile += "Memory (bytes): count=0\n"
    assert read_text(_text("count=7 curr=1500(all same)") + profile).num_runs == 7


@pytest.mark.parametrize(
    "text",
    [
        "",
        "INFO: STARTING!\n",
        INIT + WARMUP,
        _text("count=0 p5=0 median=0 p95=0"),
        _text("count=50 first=79449 curr=81350 mi"),
        _text(
            "count=50 first=1 curr=1 min=1 max=1 avg=nan std=-nan", start=WARMUP, end=""
        ),
    ],
)
def test_text_that_is_cut_off_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        read_text(text)


@pytest.mark.parametrize(
    ("old", "new", "figure"),
    [
        ("overall=3", "overall=1e999", "memory=inf"),
        ("count=50 ", "count=50 p95=1e999 ", "p95_ms=inf"),
        ("avg=", "avg=1e999", "mean_ms=inf"),
    ],
)
def test_figures_that_are_not_finite_are_refused(
    old: str, new: str, figure: str
) -> None:
    text = _text("count=50 first=1 curr=1 min=1 max=1 avg=1 std=0")
    text += "INFO: Memory footprint delta (MB): init=1 overall=3\n"
    assert read_text(text).memory_bytes == 3 * 2**20
    with pytest.raises(ValueError, match=f"finite figures. Received: {figure}"):
        read_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("status", "text", "said"),
    [
        (
            1,
            "ERROR: No such op.\nERROR: Benchmarking failed.\n",
            "exit status 1; No such op.",
        ),
        (1, "ERROR: a\nINFO: b\nERROR: c\nERROR: a\n", "exit status 1; a; c"),
        (134, "INFO: Graph\nAborted\n", "the end by signal 6; Aborted"),
        (None, "INFO: Gra", "output that was cut off; INFO: Gra"),
        (137, "", "the end by signal 9; no word"),
    ],
)
def test_failure_is_told_in_one_line(status: int | None, text: str, said: str) -> None:
    assert describe_failure(status, text) == said
