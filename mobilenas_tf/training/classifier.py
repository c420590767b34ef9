"""Training and evaluating one classifier in a run folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from mobilenas_tf.models.compact import build_network
from mobilenas_tf.models.network_io import save_network
from mobilenas_tf.spec import Architecture
from mobilenas_tf.training.config import OptimizerConfig, TrainingConfig
from mobilenas_tf.training.data import ClassificationData
from mobilenas_tf.training.loop import (
    class_predictor,
    evaluate_accuracy,
    predict_classes,
    run_epochs,
)
from mobilenas_tf.training.optimizers import build_optimizer, ema_weights
from mobilenas_tf.training.run_dir import RunDir
from mobilenas_tf.training.trainer import ClassifierTrainer


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
    """Trains a network and writes architecture and weights into the run folder.

    A run that was stopped goes on. With averaged weights (`ema_decay`) these are what
    is evaluated and written.

    Args:
        architecture: Must have the data's classes and image size.
        data: Training and validation images.
        run: Run folder.
        optimizer: Of the weights.
        training: Length and regularisation.
        initialize: Sets the initial weights; None leaves them random.
        phase: Name of this training in the metrics.

    Returns:
        The trained network.
    """
    keras.utils.set_random_seed(training.seed)
    network = build_network(
        architecture,
        dropout_rate=training.dropout_rate,
        batch_norm_momentum=training.batch_norm_momentum,
    )
    if initialize is not None:
        initialize(network)
    trainer = ClassifierTrainer(
        network, label_smoothing=training.label_smoothing, name="classifier_trainer"
    )
    variables = network.trainable_variables
    trainer.compile(
        optimizer=build_optimizer(
            optimizer,
            variables,
            steps_per_epoch=data.steps_per_epoch,
            epochs=training.epochs,
            batch_size=data.config.batch_size,
        )
    )
    predict = class_predictor(network)

    def evaluate() -> dict[str, float]:
        with ema_weights(trainer.optimizer, variables):
            accuracy = evaluate_accuracy(predict, data.validation())
        return {"validation_accuracy": accuracy}

    run_epochs(
        trainer,
        data.train_epoch,
        epochs=training.epochs,
        run=run,
        phase=phase,
        evaluate=evaluate,
        checkpoint_every_epochs=training.checkpoint_every_epochs,
    )
    if trainer.optimizer.use_ema:
        trainer.optimizer.finalize_variable_values(variables)
    save_network(run.path, architecture, network)
    return network


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
