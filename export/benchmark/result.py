"""Measured latencies as data, their comparison and their table.

Where they were measured (this machine, a phone) is left to the neighbours.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import scipy.stats

from export.benchmark.device import Device

Extent = Literal["full", "partial", "none", "unknown"]


@dataclasses.dataclass(frozen=True)
class OperatorTime:
    """Mean time of one operator in a run with profiling, in the order of the run.

    A delegate's own operators are inside it (`in_delegate`); the delegate as a whole
    is an operator of the graph.
    """

    name: str
    kind: str
    mean_ms: float
    times_called: int
    in_delegate: bool


@dataclasses.dataclass(frozen=True)
class BenchmarkResult:
    """Latency of one `.tflite` file, over the timed runs of all repeats.

    `init_ms` is loading with allocation of the tensors, `first_inference_ms` the run
    after it. `num_delegate_partitions` is into how many pieces the delegate takes the
    graph: more than one means that an operator between them runs outside it.

    A phone's runner tells percentiles of each repeat, not single runs. `spread_over`
    says what they are of: all timed `runs`; `repeats`, then median, p95, init and first
    run are medians of the repeats' own and there is no p90; or the `repeat means` of a
    runner that tells no percentile.

    Attributes:
        model: Path of the file.
        delegation: How much of the graph the delegate took.
        undelegated_operators: How many operators of each kind run outside every
            delegate; None where the runner does not tell.
        fallback_delegates: Others that took some of the rest.
        memory_bytes: How far the peak of resident memory of a process that runs this
            file alone rises from just before the file is opened; the accelerator's own
            memory is not in it.
        operators: An operator profile, empty where there is none.
        runner_arguments: A phone's runner was called with these for its timed runs.
    """

    model: str
    model_sha256: str
    model_bytes: int
    device: Device
    delegate: str
    num_delegate_partitions: int | None
    num_threads: int
    num_runs: int
    init_ms: float
    first_inference_ms: float
    median_ms: float
    p90_ms: float | None
    p95_ms: float | None
    mean_ms: float
    stddev_ms: float
    min_ms: float
    repeat_medians_ms: tuple[float, ...]
    spread_over: Literal["runs", "repeats", "repeat means"] = "runs"
    delegation: Extent = "unknown"
    undelegated_operators: Mapping[str, int] | None = None
    fallback_delegates: tuple[str, ...] = ()
    memory_bytes: int | None = None
    operators: tuple[OperatorTime, ...] = ()
    runner_arguments: tuple[str, ...] = ()

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
    names = short_names([result.model for result in results])
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
        "memory MB",
        "delegate",
    )
    rows = [
        (
            name,
            f"{result.model_bytes / 1e3:.0f}",
            str(result.num_threads),
            _number(result.median_ms, 3),
            _number(result.p90_ms, 3),
            _number(result.p95_ms, 3),
            _number(result.mean_ms, 3),
            _number(result.stddev_ms, 3),
            _number(result.min_ms, 3),
            _number(result.init_ms, 1),
            _number(result.first_inference_ms, 1),
            _number(result.memory_bytes and result.memory_bytes / 1e6, 1),
            describe_delegation(result),
        )
        for name, result in zip(names, results, strict=True)
    ]
    table = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        row[0].ljust(widths[0])
        + "".join(
            cell.rjust(width + 2)
            for cell, width in zip(row[1:-1], widths[1:-1], strict=True)
        )
        + f"  {row[-1]}"
        for row in table
    )


def short_names(paths: Sequence[str]) -> list[str]:
    """Returns the paths from the folder on that they have in common."""
    absolute = [os.path.abspath(path) for path in paths]
    folder = os.path.commonpath([os.path.dirname(path) for path in absolute])
    return [os.path.relpath(path, folder) for path in absolute]


def describe_delegation(result: BenchmarkResult) -> str:
    """Returns what ran the graph, e.g. `XNNPACK x2, ARG_MAX outside`.

    A question mark: the runner was asked for the delegate, and told no more.
    """
    if result.num_delegate_partitions is None:
        text = f"{result.delegate}?"
    elif result.delegation == "none":
        text = (
            "none" if result.delegate == "none" else f"{result.delegate} took nothing"
        )
    else:
        text = f"{result.delegate} x{result.num_delegate_partitions}"
    if result.fallback_delegates:
        text += f", then {', '.join(result.fallback_delegates)}"
    if result.undelegated_operators:
        text += f", {_list_operators(result.undelegated_operators)} outside"
    elif result.delegation == "partial" and not result.fallback_delegates:
        text += ", in part"
    return text


def _list_operators(counts: Mapping[str, int]) -> str:
    shown = list(counts)[:3]
    more = f" and {len(counts) - 3} more kinds" if len(counts) > 3 else ""
    return ", ".join(shown) + more


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
