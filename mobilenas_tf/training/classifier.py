"""Training and evaluating one classifier in a run folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from mobilenas_tf.spec import Architecture
from mobilenas_tf.training.classification import (
    class_predictor,
    classification_task,
    predict_classes,
)
from mobilenas_tf.training.config import OptimizerConfig, TrainingConfig
from mobilenas_tf.training.data import ClassificationData
from mobilenas_tf.training.fit import train_network
from mobilenas_tf.training.run_dir import RunDir


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """Test result: accuracy in [0, 1], and counts `[true class, predicted class]`."""

    accuracy: float
    confusion: np.ndarray


def train_classifier(
    architecture: Architecture,
    data: ClassificationData,
    run: RunDir,
    *,
    optimizer: OptimizerConfig,
    training: TrainingConfig,
    initialize: Callable[[keras.Model], None] | None = None,
    phase: str = "train",
) -> keras.Model:
    """Trains a classifier; see `train_network`."""
    return train_network(
        architecture,
        classification_task(data, label_smoothing=training.label_smoothing),
        data,
        run,
        optimizer=optimizer,
        training=training,
        initialize=initialize,
        phase=phase,
    )


def evaluate_classifier(network: keras.Model, data: ClassificationData) -> Evaluation:
    """Returns a network's result on the test images."""
    return evaluate_predictions(class_predictor(network), data)


def evaluate_predictions(
    predict: Callable[[Any], Any], data: ClassificationData
) -> Evaluation:
    """Returns the result on the test images.

    Args:
        predict: Images `[B, H, W, 3]` in [-1, 1] to classes `[B]`.
        data: Its test images are read once.
    """
    labels, predicted = predict_classes(predict, data.test())
    confusion = np.zeros((data.num_classes, data.num_classes), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    return Evaluation(float(np.mean(labels == predicted)), confusion)
