"""What one run of `benchmark_model` tells: its result proto, or else its text.

The proto (tflite/tools/benchmark/proto/benchmark_result.proto) has all figures; older
runners write none. Which of the operators ran where is left to `delegation.py`.
"""

from __future__ import annotations

import dataclasses
import math
import re

from export.benchmark.proto_wire import read_fields, read_float, read_int, read_message

# Numbers as C++ streams print them: 79732, 79760.9, 1.2e+06, -nan.
_NUMBER = r"-?(?:\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|nan)"
_KB = 1024  # ru_maxrss is in units of 1024 bytes, and the text's MB are 1024 of those


@dataclasses.dataclass(frozen=True)
class RunFigures:
    """Figures of the timed runs of one process.

    Percentiles are None where the runner is too old to tell; memory is how far the peak
    of the process's resident memory rose from before the model was loaded.
    """

    num_runs: int
    mean_ms: float
    stddev_ms: float
    min_ms: float
    median_ms: float | None
    p95_ms: float | None
    init_ms: float
    first_inference_ms: float
    memory_bytes: int | None


def read_result(proto: bytes) -> RunFigures:
    """Returns the figures of a result proto.

    Raises:
        ValueError: If it is cut off or lacks a figure.
    """
    top = read_fields(proto)
    latency, memory, misc = (
        read_fields(read_message(top, number) or b"") for number in (2, 3, 4)
    )
    overall_kb = read_int(memory, 2)
    return _checked(
        read_int(misc, 2),
        {
            "mean_ms": read_float(latency, 1),
            "stddev_ms": read_float(latency, 4),
            "min_ms": read_float(latency, 2),
            "init_ms": read_float(latency, 8),
            "first_inference_ms": read_float(latency, 9),
        },
        median_ms=read_float(latency, 5),
        p95_ms=read_float(latency, 7),
        memory_bytes=None if overall_kb is None else overall_kb * _KB,
    )


def read_text(text: str) -> RunFigures:
    """Returns the figures of what the runner printed.

    Raises:
        ValueError: If a figure is missing, e.g. as the text is cut off.
    """
    # The warm-up's line comes first. Those of a profile have a heading before `count`.
    lines = re.findall(r"^(?:\w+: )?count=(\d+)(.*)$", text, re.MULTILINE)
    if len(lines) < 2:
        raise ValueError(
            "text must have a line count=... for the warm-up and one for the runs. "
            f"Received: {len(lines)} of them in {len(text)} characters"
        )
    first, figures = _read_stat(*lines[0]), _read_stat(*lines[-1])
    init_ms = _find(rf"Initialized session in ({_NUMBER})ms", text)
    init_us = _find(rf"\bInit: ({_NUMBER})", text)
    if init_ms is None and init_us is not None:
        init_ms = init_us / 1e3
    first_us = _find(rf"First inference: ({_NUMBER})", text)
    overall_mb = _find(rf"Memory footprint .*\boverall=({_NUMBER})", text)
    return _checked(
        int(lines[-1][0]),
        {
            "mean_ms": _ms(figures.get("avg")),
            "stddev_ms": _ms(figures.get("std")),
            "min_ms": _ms(figures.get("min")),
            "init_ms": init_ms,
            "first_inference_ms": _ms(first_us or first.get("first")),
        },
        median_ms=_ms(figures.get("median")),
        p95_ms=_ms(figures.get("p95")),
        memory_bytes=None if overall_mb is None else overall_mb * _KB * _KB,
    )


def describe_failure(status: int | None, text: str) -> str:
    """Returns what a run that failed says, in one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [
        line.partition(": ")[2]
        for line in lines
        if line.startswith(("ERROR: ", "FATAL: ")) and "Benchmarking failed" not in line
    ]
    said = "; ".join(dict.fromkeys(errors)) or (lines[-1] if lines else "no word")
    if status is None:
        how = "output that was cut off"
    elif status > 128:  # as shells tell that a signal ended the process
        how = f"the end by signal {status - 128}"
    else:
        how = f"exit status {status}"
    return f"{how}; {said[:300]}"


def _read_stat(count: str, line: str) -> dict[str, float]:
    """Returns the statistics, in microseconds, of what follows `count=N`.

    `StatWithPercentiles` prints `first= curr= min= max= avg= std= p5= median= p95=`;
    one run, or several that took the same, are `curr=X` and `curr=X(all same)`, with
    the percentiles if it is new enough to have them.
    """
    found = {
        name: float(value) for name, value in re.findall(rf"(\w+)=({_NUMBER})", line)
    }
    if "curr" in found and (count == "1" or "(all same)" in line):
        same = found["curr"]
        names = ("first", "min", "max", "avg", "median", "p95")
        return dict.fromkeys(names, same) | {"std": 0.0}
    return found


def _checked(
    num_runs: int | None,
    needed: dict[str, float | None],
    *,
    median_ms: float | None,
    p95_ms: float | None,
    memory_bytes: float | None,
) -> RunFigures:
    optional = {"median_ms": median_ms, "p95_ms": p95_ms, "memory": memory_bytes}
    for name, value in {**needed, **optional}.items():
        if value is not None and not math.isfinite(value):
            raise ValueError(
                f"the runner must tell finite figures. Received: {name}={value}"
            )
    known = {name: value for name, value in needed.items() if value is not None}
    missing = [name for name in needed if name not in known]
    if not num_runs or missing:
        raise ValueError(
            "the runner must tell all figures of at least one run. Received: "
            f"{num_runs or 0} runs, {', '.join(missing) or 'nothing'} missing"
        )
    return RunFigures(
        num_runs=num_runs,
        median_ms=median_ms,
        p95_ms=p95_ms,
        memory_bytes=None if memory_bytes is None else round(memory_bytes),
        **known,
    )


def _find(pattern: str, text: str) -> float | None:
    found = re.search(pattern, text)
    return float(found[1]) if found else None


def _ms(microseconds: float | None) -> float | None:
    return None if microseconds is None else microseconds / 1e3
