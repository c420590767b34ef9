"""Which runner a binary is, and what it is called with."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.benchmark.runner import (
    Runner,
    inspection_arguments,
    read_binary,
    recognize_runner,
    require_abi,
    timing_arguments,
)
from export.config import BenchmarkConfig, DeviceConfig
from tests.export.benchmark.fake_device import write_binary
from tests.export.benchmark.fake_runner import FLAGS

# What Flags::Usage of tflite/tools/command_line_flags.cc prints.
HELP = """INFO: STARTING!
ERROR: usage: ./benchmark_model <flags>
Flags:
\t--num_runs=50      \tint32\toptional\texpected number of runs, see also min_secs
\t--num_threads=-1   \tint32\toptional\tnumber of threads
\t--graph=           \tstring\toptional\tgraph file name
"""
CONFIG = BenchmarkConfig(num_threads=3, warmup_runs=0, runs=7)
PHONE = DeviceConfig("adb", "benchmark_model", run_limit_seconds=2.5)


@pytest.mark.parametrize(
    ("machine", "abi"), [(183, "arm64-v8a"), (40, "armeabi-v7a"), (62, "x86_64")]
)
def test_binary_tells_its_abi(tmp_path: Path, machine: int, abi: str) -> None:
    assert read_binary(write_binary(tmp_path / "b", machine)).abi == abi


@pytest.mark.parametrize(
    "content", [b"", b"#!/bin/sh\n" + bytes(60), b"\x7fELF\x02\x01" + bytes(58)]
)
def test_file_that_is_no_program_for_android_is_refused(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "b"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"must be a program \(ELF\) .* {path}"):
        read_binary(path)


def test_phone_may_run_another_abi_than_its_own(tmp_path: Path) -> None:
    binary = read_binary(write_binary(tmp_path / "b", 40))
    require_abi(binary, ("arm64-v8a", "armeabi-v7a"), "it")
    with pytest.raises(ValueError, match="must be built for arm64-v8a, what it runs"):
        require_abi(binary, ("arm64-v8a",), "it")


def test_help_tells_the_runner() -> None:
    flags = frozenset({"num_runs", "num_threads", "graph"})
    assert recognize_runner(HELP) == Runner("tflite", flags)
    litert = recognize_runner(f"{HELP}\t--use_npu=false\tbool\toptional\tNPU\n")
    assert litert.kind == "litert"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no word"),
        ("sh: benchmark_model: not found\n", "benchmark_model: not found"),
        (HELP.replace("--graph", "--graf"), "--graf="),
        (
            f"{HELP}\t--perf_options_list=all\tstring\toptional\t.\n",
            "--perf_options_list",
        ),
    ],
)
def test_other_programs_are_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"must be benchmark_model of .*{said}"):
        recognize_runner(text)


@pytest.mark.parametrize(
    ("kind", "cpu"), [("tflite", "--use_xnnpack=true"), ("litert", "--use_cpu=true")]
)
def test_timed_runs_are_not_disturbed_by_a_profile(kind, cpu: str) -> None:
    runner = Runner(kind, frozenset(FLAGS[kind]))
    arguments = timing_arguments(runner, CONFIG, PHONE, model="m", result="r")
    assert set(arguments) == {
        *("--graph=m", "--num_threads=3", "--num_runs=7", "--max_secs=2.5", cpu),
        # The first run is a warm-up run, so there is one.
        *("--warmup_runs=1", "--warmup_min_secs=0.5", "--min_secs=1"),
        "--result_file_path=r",
    }


@pytest.mark.parametrize(
    ("kind", "profile"),
    [
        ("old", {"--profiling_output_csv_file=profile.csv"}),
        (
            "tflite",
            {
                "--op_profiling_output_file=profile.csv",
                "--op_profiling_output_mode=csv",
            },
        ),
        ("litert", {"--use_profiler=true"}),
    ],
)
def test_inspection_asks_for_the_profile_in_the_runners_words(
    kind: str, profile: set[str]
) -> None:
    known = frozenset(FLAGS[kind])
    runner = Runner("litert" if kind == "litert" else "tflite", known)
    arguments = inspection_arguments(runner, CONFIG, PHONE, model="m", result="r")
    assert profile <= set(arguments)
    assert {text.removeprefix("--").partition("=")[0] for text in arguments} <= known
    assert "--min_secs=0" in arguments
    if kind != "old":
        assert "--model_runtime_info_output_file=runtime_info.pb" in arguments


def test_inspection_without_a_profile_is_one_run() -> None:
    runner = Runner("tflite", frozenset(FLAGS["tflite"]))
    config = DeviceConfig("adb", "b", operator_profile=False)
    arguments = inspection_arguments(runner, CONFIG, config, model="m", result="r")
    assert "--num_runs=1" in arguments
    assert not any("profiling" in argument for argument in arguments)


def test_runner_without_a_gpu_is_told_so() -> None:
    runner = Runner("tflite", frozenset({"graph", "num_runs", "num_threads"}))
    config = DeviceConfig("adb", "b", accelerator="gpu")
    with pytest.raises(ValueError, match="its --help lists no --use_gpu"):
        timing_arguments(runner, CONFIG, config, model="m", result="r")
