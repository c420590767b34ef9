import dataclasses

import numpy as np
import pytest

from export.benchmark.repeats import pool_repeats
from export.benchmark.runner_output import RunFigures

ONE = RunFigures(
    num_runs=2,
    mean_ms=2.0,
    stddev_ms=1.0,
    min_ms=1.0,
    median_ms=2.5,
    p95_ms=3.0,
    init_ms=10.0,
    first_inference_ms=5.0,
    memory_bytes=100,
)


def test_mean_and_deviation_are_those_of_all_runs() -> None:
    runs = [np.array([1.0, 3.0]), np.array([4.0, 5.0, 9.0, 2.0]), np.array([7.0])]
    pooled = pool_repeats(
        [
            dataclasses.replace(
                ONE,
                num_runs=len(one),
                mean_ms=one.mean(),
                stddev_ms=one.std(),
                min_ms=one.min(),
            )
            for one in runs
        ]
    )
    everything = np.concatenate(runs)
    assert pooled.num_runs == 7
    assert pooled.mean_ms == pytest.approx(everything.mean())
    assert pooled.stddev_ms == pytest.approx(everything.std())
    assert pooled.min_ms == 1.0


def test_percentiles_are_medians_of_the_repeats() -> None:
    repeats = [
        dataclasses.replace(ONE, median_ms=median, p95_ms=p95, init_ms=init)
        for median, p95, init in ((2.0, 8.0, 1.0), (9.0, 3.0, 7.0), (4.0, 5.0, 2.0))
    ]
    pooled = pool_repeats(repeats)
    assert (pooled.median_ms, pooled.p95_ms, pooled.init_ms) == (4.0, 5.0, 2.0)
    assert pooled.repeat_medians_ms == (2.0, 9.0, 4.0)
    assert pooled.spread_over == "repeats"


def test_means_stand_in_where_a_repeat_has_no_median() -> None:
    old = dataclasses.replace(ONE, mean_ms=3.0, median_ms=None, p95_ms=None)
    pooled = pool_repeats([ONE, old])
    assert pooled.repeat_medians_ms == (2.0, 3.0)
    assert (pooled.median_ms, pooled.p95_ms) == (2.5, None)
    assert pooled.spread_over == "repeat means"


def test_memory_is_the_largest_that_all_tell() -> None:
    more = dataclasses.replace(ONE, memory_bytes=300)
    assert pool_repeats([ONE, more]).memory_bytes == 300
    silent = dataclasses.replace(ONE, memory_bytes=None)
    assert pool_repeats([ONE, silent]).memory_bytes is None
