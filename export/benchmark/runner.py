"""The `benchmark_model` binary: what it is built for, which of two it is, its flags.

TFLite's classic binary (tflite/tools/benchmark) and LiteRT 2's
(litert/tools/benchmark_litert_model.cc) have the same name and other flags, and each
gained flags over the years. So a runner is what its `--help` lists.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from export.config import BenchmarkConfig, DeviceConfig

Kind = Literal["tflite", "litert"]

NAMES: Mapping[Kind, str] = {
    "tflite": "benchmark_model of TFLite",
    "litert": "benchmark_model of LiteRT 2",
}
_ELF_ABIS = {  # e_machine of the ELF header (elf.h) and Android's name for it
    3: "x86",
    40: "armeabi-v7a",
    62: "x86_64",
    183: "arm64-v8a",
    243: "riscv64",
}
_ACCELERATOR_FLAGS: Mapping[tuple[Kind, str], str] = {
    ("tflite", "cpu"): "use_xnnpack",  # said aloud, it tells what XNNPACK took
    ("tflite", "gpu"): "use_gpu",
    ("litert", "cpu"): "use_cpu",
    ("litert", "gpu"): "use_gpu",
}
_PROFILE_RUNS = 20

INFO_FILE = "runtime_info.pb"
PROFILE_FILE = "profile.csv"


@dataclasses.dataclass(frozen=True)
class Binary:
    """A program for Android that a user points to."""

    path: Path
    abi: str
    sha256: str


@dataclasses.dataclass(frozen=True)
class Runner:
    """Which runner a binary is, and the flags that it knows."""

    kind: Kind
    flags: frozenset[str]


def read_binary(path: str | Path) -> Binary:
    """Returns the program at a path.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no program for an ABI of Android's.
    """
    data = Path(path).read_bytes()
    is_little_endian_elf = data[:4] == b"\x7fELF" and data[5:6] == b"\x01"
    abi = _ELF_ABIS.get(int.from_bytes(data[18:20], "little"))
    if not is_little_endian_elf or abi is None:
        raise ValueError(
            "benchmark_binary must be a program (ELF) for a processor of Android's: "
            f"{', '.join(_ELF_ABIS.values())}. Received: {path}, {len(data)} bytes "
            f"that start with {data[:4]!r}"
        )
    return Binary(Path(path), abi, hashlib.sha256(data).hexdigest())


def require_abi(binary: Binary, abis: Sequence[str], device: str) -> None:
    """Raises a ValueError unless the device runs programs of the binary's ABI."""
    if binary.abi not in abis:
        raise ValueError(
            f"benchmark_binary must be built for {' or '.join(abis)}, what {device} "
            f"runs. Received: {binary.path} for {binary.abi}"
        )


def recognize_runner(help_text: str) -> Runner:
    """Returns which runner printed this `--help`.

    Raises:
        ValueError: If neither did.
    """
    flags = frozenset(re.findall(r"^\s*--(\w+)=", help_text, re.MULTILINE))
    is_runner = {"graph", "num_runs", "num_threads"} <= flags
    if not is_runner or "perf_options_list" in flags:
        lines = [line.strip() for line in help_text.splitlines() if line.strip()]
        raise ValueError(
            "benchmark_binary must be benchmark_model of TFLite or of LiteRT, whose "
            "--help lists --graph and --num_runs (and no --perf_options_list). "
            f"Received: {lines[-1] if lines else 'no word'}"
        )
    return Runner("litert" if "use_npu" in flags else "tflite", flags)


def timing_arguments(
    runner: Runner,
    config: BenchmarkConfig,
    device: DeviceConfig,
    *,
    model: str,
    result: str,
) -> tuple[str, ...]:
    """Returns the arguments of one repeat, of those that the runner knows.

    Args:
        runner: Which runner it is.
        config: Runs and threads.
        device: Accelerator and durations.
        model: The file's name on the device.
        result: Name for the result proto.

    Raises:
        ValueError: If the runner has not the accelerator.
    """
    flag = _ACCELERATOR_FLAGS[runner.kind, device.accelerator]
    if device.accelerator != "cpu" and flag not in runner.flags:
        raise ValueError(
            f"accelerator must be one that the runner has; its --help lists no "
            f"--{flag}. Received: accelerator={device.accelerator!r}"
        )
    return _known(
        runner,
        {
            "graph": model,
            "num_threads": config.num_threads,
            flag: "true",
            "warmup_runs": max(config.warmup_runs, 1),  # the first run is one of them
            "warmup_min_secs": device.min_warmup_seconds,
            "num_runs": config.runs,
            "min_secs": device.min_run_seconds,
            "max_secs": device.run_limit_seconds,
            "result_file_path": result,
        },
    )


def inspection_arguments(
    runner: Runner,
    config: BenchmarkConfig,
    device: DeviceConfig,
    *,
    model: str,
    result: str,
) -> tuple[str, ...]:
    """Returns the arguments of the run that tells what runs where, and how long.

    Writes `INFO_FILE`, and `PROFILE_FILE` if a profile is wanted, where the runner can.
    Arguments as for `timing_arguments`.
    """
    runs = _PROFILE_RUNS if device.operator_profile else 1
    short = dataclasses.replace(config, warmup_runs=1, runs=runs)
    at_once = dataclasses.replace(device, min_warmup_seconds=0, min_run_seconds=0)
    arguments = timing_arguments(runner, short, at_once, model=model, result=result)
    arguments += _known(
        runner,
        {
            "export_model_runtime_info": "true",
            "model_runtime_info_output_file": INFO_FILE,
        },
    )
    if not device.operator_profile:
        return arguments
    output: dict[str, str | float] = {
        "op_profiling_output_mode": "csv",
        "op_profiling_output_file": PROFILE_FILE,
    }
    if "op_profiling_output_file" not in runner.flags:
        output = {"profiling_output_csv_file": PROFILE_FILE}
    return arguments + _known(
        runner, {"enable_op_profiling": "true", "use_profiler": "true", **output}
    )


def _known(runner: Runner, values: Mapping[str, str | float]) -> tuple[str, ...]:
    return tuple(
        f"--{name}={format(value, 'g') if isinstance(value, float) else value}"
        for name, value in values.items()
        if name in runner.flags
    )
