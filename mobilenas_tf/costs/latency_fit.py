"""Whole networks against a latency table: its calibration, and how far it errs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.stats

from mobilenas_tf.costs.latency_table import Calibration


@dataclasses.dataclass(frozen=True)
class PredictionError:
    """How far predictions are from measurements.

    `mape` is the mean absolute relative error, `spearman` the rank correlation, 0 where
    all networks are predicted or measured alike.
    """

    mape: float
    spearman: float
    num_networks: int


def linear_fit(
    predictors: Sequence[float], measured_ms: Sequence[float]
) -> tuple[float, float]:
    """Returns scale and offset of the least relative squares `measured = a x + b`.

    Raises:
        ValueError: If there are fewer than 3 networks, or they do not differ.
    """
    x, y = (np.asarray(each, np.float64) for each in (predictors, measured_ms))
    if len(x) < 3 or x.shape != y.shape or np.ptp(x) == 0:
        raise ValueError(
            "measured_ms must be of at least 3 networks that differ, one value for "
            f"each predictor. Received: {len(x)} predictors, {len(y)} measurements"
        )
    # In parts of the measurement: an error of 5 % of a small network counts as much.
    rows = np.stack([x / y, 1 / y], axis=1)
    (scale, offset), *_ = np.linalg.lstsq(rows, np.ones_like(y), rcond=None)
    return float(scale), float(offset)


def fit_calibration(
    sums_ms: Sequence[float], measured_ms: Sequence[float]
) -> Calibration:
    """Returns the calibration of a table from networks' sums and latencies."""
    scale, offset_ms = linear_fit(sums_ms, measured_ms)
    predicted = scale * np.asarray(sums_ms) + offset_ms
    error = prediction_error(predicted.tolist(), measured_ms)
    return Calibration(scale, offset_ms, len(sums_ms), error.mape)


def prediction_error(
    predicted_ms: Sequence[float], measured_ms: Sequence[float]
) -> PredictionError:
    """Returns how far predictions are from measurements of the same networks."""
    predicted, measured = np.asarray(predicted_ms), np.asarray(measured_ms)
    is_ranked = min(np.ptp(predicted), np.ptp(measured)) > 0
    correlation = scipy.stats.spearmanr(predicted, measured) if is_ranked else (0.0,)
    return PredictionError(
        float(np.mean(np.abs(predicted - measured) / measured)),
        float(np.asarray(correlation)[0]),
        len(measured),
    )
