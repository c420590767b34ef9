"""Training one network for a task, in a run folder."""

from __future__ import annotations

import math
from collections.abc import Callable

import keras
from absl import logging

from mobilenas_tf.models.compact import build_network
from mobilenas_tf.models.network_io import save_network
from mobilenas_tf.spec import Architecture
from mobilenas_tf.training.config import OptimizerConfig, TrainingConfig
from mobilenas_tf.training.loop import run_epochs
from mobilenas_tf.training.optimizers import build_optimizer, ema_weights
from mobilenas_tf.training.repetition import start_from_seed
from mobilenas_tf.training.run_dir import RunDir
from mobilenas_tf.training.task import Task, TrainingData
from mobilenas_tf.training.trainer import NetworkTrainer

# Of what batch norms begin with, at the end of a training.
_MOST_LEFT = 0.1


def train_network(
    architecture: Architecture,
    task: Task,
    data: TrainingData,
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
        task: What it is trained for.
        data: Training images.
        run: Run folder.
        optimizer: Of the weights.
        training: Length and regularisation.
        initialize: Sets the initial weights; None leaves them random.
        phase: Name of this training in the metrics.

    Returns:
        The trained network.
    """
    trainer, evaluate = prepare_network(
        architecture,
        task,
        data,
        optimizer=optimizer,
        training=training,
        initialize=initialize,
    )
    if initialize is None:
        _warn_of_few_steps(training, training.epochs * data.steps_per_epoch)
    run_epochs(
        trainer,
        data.train_epoch,
        epochs=training.epochs,
        run=run,
        phase=phase,
        evaluate=evaluate,
        saving=training.saving,
    )
    network = trainer.network
    if trainer.optimizer.use_ema:
        trainer.optimizer.finalize_variable_values(network.trainable_variables)
    save_network(run.path, architecture, network)
    return network


def _warn_of_few_steps(training: TrainingConfig, steps: int) -> None:
    """Says so if batch norms cannot forget their first statistics in so many steps."""
    momentum = training.batch_norm_momentum
    if momentum**steps > _MOST_LEFT:
        needed = math.ceil(math.log(_MOST_LEFT) / math.log(momentum))
        logging.warning(
            "%d steps are few for batch_norm_momentum=%g, which needs about %d: the "
            "network will look worse than it is; lower it, to 0.9 for example",
            *(steps, momentum, needed),
        )


def prepare_network(
    architecture: Architecture,
    task: Task,
    data: TrainingData,
    *,
    optimizer: OptimizerConfig,
    training: TrainingConfig,
    initialize: Callable[[keras.Model], None] | None = None,
) -> tuple[NetworkTrainer, Callable[[], dict[str, float]]]:
    """Returns a trainer of a new network, and what evaluates it; see `train_network`.

    The evaluation is that of the averaged weights, if there are any.
    """
    start_from_seed(training)
    network = build_network(
        architecture,
        dropout_rate=training.dropout_rate,
        drop_path_rate=training.drop_path_rate,
        batch_norm_momentum=training.batch_norm_momentum,
    )
    if initialize is not None:
        initialize(network)
    trainer = NetworkTrainer(network, task.objective, name="network_trainer")
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
    validate = task.evaluator(network)

    def evaluate() -> dict[str, float]:
        with ema_weights(trainer.optimizer, variables):
            return validate()

    return trainer, evaluate
