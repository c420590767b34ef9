"""Measured latencies as data, their comparison and their table.

Where they were measured (this machine, a phone) is left to the neighbours.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.stats


@dataclasses.dataclass(frozen=True)
class Device:
    """The machine and the software that a latency was measured on."""

    cpu: str
    num_cores: int
    operating_system: str
    runtime: str


@dataclasses.dataclass(frozen=True)
class BenchmarkResult:
    """Latency of one `.tflite` file, over the timed runs of all repeats.

    `init_ms` is loading with allocation of the tensors, `first_inference_ms` the run
    after it. `num_delegate_partitions` is into how many pieces the delegate takes the
    graph: more than one means that an operator between them runs outside it.
    """

    model: str
    model_sha256: str
    model_bytes: int
    device: Device
    delegate: str
    num_delegate_partitions: int
    num_threads: int
    num_runs: int
    init_ms: float
    first_inference_ms: float
    median_ms: float
    p90_ms: float
    p95_ms: float
    mean_ms: float
    stddev_ms: float
    min_ms: float
    repeat_medians_ms: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns the result as plain JSON values."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class LatencyRatio:
    """Latency of one model over another's: geometric mean and 95 % interval."""

    ratio: float
    low_95: float
    high_95: float
    num_repeats: int

    def to_json(self) -> dict[str, Any]:
        """Returns the ratio as plain JSON values."""
        return dataclasses.asdict(self)


def compare_latency(
    result: BenchmarkResult, reference: BenchmarkResult
) -> LatencyRatio:
    """Returns how much longer `result` takes than `reference`, measured together.

    The medians of each repeat are paired: what disturbed the machine in that repeat
    disturbed both. The interval is Student's t on the logarithms of their ratios.

    Raises:
        ValueError: If the two have not the same number of repeats, at least 2, or not
            the same number of threads.
    """
    num_repeats = len(result.repeat_medians_ms)
    if num_repeats < 2 or num_repeats != len(reference.repeat_medians_ms):
        raise ValueError(
            "result and reference must have the same number of repeats, at least 2. "
            f"Received: {num_repeats} and {len(reference.repeat_medians_ms)}"
        )
    if result.num_threads != reference.num_threads:
        raise ValueError(
            "result and reference must have the same num_threads. Received: "
            f"{result.num_threads} and {reference.num_threads}"
        )
    logs = np.log(result.repeat_medians_ms) - np.log(reference.repeat_medians_ms)
    mean, standard_error = logs.mean(), logs.std(ddof=1) / np.sqrt(num_repeats)
    margin = scipy.stats.t.ppf(0.975, num_repeats - 1) * standard_error
    return LatencyRatio(
        ratio=float(np.exp(mean)),
        low_95=float(np.exp(mean - margin)),
        high_95=float(np.exp(mean + margin)),
        num_repeats=num_repeats,
    )


def format_table(results: Sequence[BenchmarkResult]) -> str:
    """Returns the results as an aligned text table, one line each.

    Models are named from the folder that they have in common onwards.
    """
    paths = [os.path.abspath(result.model) for result in results]
    folder = os.path.commonpath([os.path.dirname(path) for path in paths])
    header = (
        "model",
        "kB",
        "threads",
        "median ms",
        "p90 ms",
        "p95 ms",
        "mean ms",
        "std ms",
        "min ms",
        "init ms",
        "first ms",
        "delegate",
    )
    rows = [
        (
            os.path.relpath(path, folder),
            f"{result.model_bytes / 1e3:.0f}",
            str(result.num_threads),
            f"{result.median_ms:.3f}",
            f"{result.p90_ms:.3f}",
            f"{result.p95_ms:.3f}",
            f"{result.mean_ms:.3f}",
            f"{result.stddev_ms:.3f}",
            f"{result.min_ms:.3f}",
            f"{result.init_ms:.1f}",
            f"{result.first_inference_ms:.1f}",
            f"{result.delegate} x{result.num_delegate_partitions}",
        )
        for path, result in zip(paths, results, strict=True)
    ]
    table = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        row[0].ljust(widths[0])
        + "".join(
            cell.rjust(width + 2)
            for cell, width in zip(row[1:], widths[1:], strict=True)
        )
        for row in table
    )
