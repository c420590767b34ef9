"""Figures of several processes that ran the same file, as one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal, TypeVar

import numpy as np

from export.benchmark.runner_output import RunFigures

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class PooledFigures:
    """Figures of all repeats, by the names that they have in `BenchmarkResult`."""

    num_runs: int
    init_ms: float
    first_inference_ms: float
    median_ms: float
    p95_ms: float | None
    mean_ms: float
    stddev_ms: float
    min_ms: float
    repeat_medians_ms: tuple[float, ...]
    spread_over: Literal["repeats", "repeat means"]
    memory_bytes: int | None


def pool_repeats(figures: Sequence[RunFigures]) -> PooledFigures:
    """Returns the figures of several repeats as those of one measurement.

    Mean, standard deviation and minimum are those of all runs together, as they follow
    from the repeats'. Percentiles do not: median and p95 are the medians of the
    repeats' own, and nothing tells the p90.

    Args:
        figures: One for each repeat, at least one.
    """
    weights = [one.num_runs for one in figures]
    means_ms = np.array([one.mean_ms for one in figures])
    stddevs_ms = np.array([one.stddev_ms for one in figures])
    mean_ms = np.average(means_ms, weights=weights)
    # Of all runs: what they vary within the repeats, and the repeats' means.
    variance = np.average(stddevs_ms**2 + (means_ms - mean_ms) ** 2, weights=weights)
    medians_ms = _all_known([one.median_ms for one in figures])
    p95s_ms = _all_known([one.p95_ms for one in figures])
    memory_bytes = _all_known([one.memory_bytes for one in figures])
    typical_ms = means_ms.tolist() if medians_ms is None else medians_ms
    return PooledFigures(
        num_runs=sum(weights),
        init_ms=_median([one.init_ms for one in figures]),
        first_inference_ms=_median([one.first_inference_ms for one in figures]),
        median_ms=_median(typical_ms),
        p95_ms=None if p95s_ms is None else _median(p95s_ms),
        mean_ms=float(mean_ms),
        stddev_ms=float(np.sqrt(variance)),
        min_ms=min(one.min_ms for one in figures),
        repeat_medians_ms=tuple(typical_ms),
        spread_over="repeat means" if medians_ms is None else "repeats",
        memory_bytes=None if memory_bytes is None else max(memory_bytes),
    )


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))


def _all_known(values: Sequence[T | None]) -> list[T] | None:
    known = [value for value in values if value is not None]
    return known if len(known) == len(values) else None
