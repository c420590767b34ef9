"""Predictors of scikit-learn that ours is compared with."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

# (x of known [N, F], accuracies [N], x of others [M, F]) -> accuracies [M]
Predict = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def ridge(x: np.ndarray, y: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns what ridge regression says, its strength by cross-validation."""
    from sklearn.linear_model import RidgeCV

    return RidgeCV(np.logspace(-3, 3, 13)).fit(x, y).predict(others)


def gaussian(x: np.ndarray, y: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns what a Gaussian process says, its kernel fitted."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    kernel = ConstantKernel(1.0) * RBF(3.0) + WhiteKernel(0.1)
    process = GaussianProcessRegressor(
        kernel, normalize_y=True, n_restarts_optimizer=1, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a length at its bound is said each time
        return np.asarray(process.fit(x, y).predict(others))
