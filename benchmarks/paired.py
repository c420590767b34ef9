"""Paired comparison of runs that share their seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.stats


def paired_difference(
    ours: Sequence[float], others: Sequence[float]
) -> dict[str, float]:
    """Returns the mean of `ours - others` and its 95 % interval (Student's t).

    Args:
        ours: One value a seed, at least 2.
        others: Of the same seeds in the same order.
    """
    differences = np.asarray(ours, np.float64) - np.asarray(others, np.float64)
    if differences.ndim != 1 or len(differences) < 2:
        raise ValueError(
            "ours and others must have the same length of at least 2. "
            f"Received: {len(ours)} and {len(others)}"
        )
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    half = scipy.stats.t.ppf(0.975, len(differences) - 1) * error
    mean = differences.mean()
    return {
        "mean": float(mean),
        "low_95": float(mean - half),
        "high_95": float(mean + half),
    }
