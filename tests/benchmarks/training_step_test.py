from __future__ import annotations

import numpy as np
import pytest

from benchmarks.training_step import compare


def test_speedup_is_the_median_of_the_repeats_ratios():
    ours = np.arange(1.0, 11.0)  # what disturbs a repeat disturbs both sides
    others = ours * [1.1, 1.2, 1.3, 1.4, 1.5, 1.7, 1.8, 1.9, 2.0, 9.0]
    result = compare(ours, others)
    assert result["speedup_of_ours"] == pytest.approx(1.6)
    # Of 10 values the 2nd and the 9th: a median lies outside with a probability of
    # 2 * (1 + 10) / 2**10 = 2.1 %; of the 3rd and the 8th it would be 10.9 %.
    assert result["low_95"] == pytest.approx(1.2)
    assert result["high_95"] == pytest.approx(2.0)
