import numpy as np
import pytest

from benchmarks.paired import paired_difference


def test_the_interval_is_students():
    # Differences 1, 2, 3: mean 2, standard error 1 / sqrt(3), t(0.975, 2) = 4.302653.
    result = paired_difference([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    half = 4.302653 / np.sqrt(3)
    assert result == pytest.approx(
        {"mean": 2.0, "low_95": 2.0 - half, "high_95": 2.0 + half}, rel=1e-6
    )


def test_equal_differences_leave_no_doubt():
    result = paired_difference([1.5, 2.5], [1.0, 2.0])
    assert result == pytest.approx({"mean": 0.5, "low_95": 0.5, "high_95": 0.5})


@pytest.mark.parametrize("ours", [[1.0], []])
def test_one_seed_is_no_comparison(ours):
    with pytest.raises(ValueError, match="at least 2. Received: "):
        paired_difference(ours, ours)
