import pytest

from benchmarks.figs_cifar import width_overlap


def test_overlap_is_what_is_common_over_what_either_has():
    # In common 8, 0 and 24; either has 16, 8 and 24.
    first = {"a": 16, "b": 0, "c": 24}
    second = {"a": 8, "b": 8, "c": 24}
    assert width_overlap(first, second) == pytest.approx(32 / 48)
    assert width_overlap(second, first) == width_overlap(first, second)
    assert width_overlap(first, first) == 1.0
