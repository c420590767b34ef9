"""Training of one candidate: a network of a joint space under its recipe."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping

import keras
import tensorflow as tf

from mobilenas_tf.costs.latency_table import LatencyTable
from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.costs.width_latency import network_latency
from mobilenas_tf.joint_space import NetworkSpace
from mobilenas_tf.search.joint_journal import Evaluation
from mobilenas_tf.search.joint_problem import JointProblem
from mobilenas_tf.search.joint_recipe import RECIPE_DECISIONS, recipe_of
from mobilenas_tf.search.workers import Order
from mobilenas_tf.spec import Architecture
from mobilenas_tf.training.classification import classification_task
from mobilenas_tf.training.config import (
    AugmentationConfig,
    DataConfig,
    OptimizerConfig,
    TrainingConfig,
)
from mobilenas_tf.training.data import ClassificationData, load_classification_data
from mobilenas_tf.training.fit import prepare_network
from mobilenas_tf.training.loop import DivergedError, run_steps
from mobilenas_tf.training.recipe import Recipe
from mobilenas_tf.training.repetition import allow_order

_MOST_SIZES = 3  # of images that are kept decoded


def joint_problem(
    space: NetworkSpace, table: LatencyTable | None = None
) -> JointProblem:
    """Returns the candidates of a space, each network under every recipe.

    Args:
        space: Of the networks.
        table: By which networks cost milliseconds too.
    """
    latency_ms = table and network_latency(table)

    def costs(architecture: Architecture) -> Mapping[str, float]:
        cost = network_cost(architecture)
        costs = {"macs": float(cost.macs), "params": float(cost.params)}
        return costs | ({"ms": latency_ms(architecture)} if latency_ms else {})

    return JointProblem(
        space.name,
        architecture=space.decisions,
        recipe=RECIPE_DECISIONS,
        network=space.resolve,
        costs=costs,
    )


@dataclasses.dataclass(frozen=True)
class CandidateSettings:
    """What all candidates share; a recipe's fields are its own."""

    data: DataConfig
    augmentation: AugmentationConfig
    optimizer: OptimizerConfig
    training: TrainingConfig

    @property
    def measure(self) -> str:
        """What decides an accuracy besides the choices, in words."""
        data = self.data
        return (
            f"{data.dataset}, {data.max_train_images or 'all'} images, batches of "
            f"{data.batch_size}, {self.training.epochs} epochs, seed "
            f"{self.training.seed}"
        )


class CandidateTrainer:
    """Trains candidates one after the other, on the same images."""

    def __init__(
        self,
        space: NetworkSpace,
        settings: CandidateSettings,
        *,
        threads: int | None = None,
    ):
        """Creates a trainer; data is read when it is needed.

        Args:
            space: Whose candidates come.
            settings: What they share.
            threads: Of TensorFlow, which must not have computed yet; None leaves them.
        """
        self.space, self.settings = space, settings
        self._data: dict[int, ClassificationData] = {}
        if threads is not None:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
            if settings.training.deterministic:
                allow_order()

    def __call__(self, order: Order) -> Evaluation:
        """Returns the candidate's accuracies; one that diverges has failed."""
        started = time.monotonic()
        curve: list[float] = []
        failed = ""
        try:
            self.train(order, curve)
        except DivergedError as error:
            failed = str(error)
        keras.backend.clear_session()
        seconds = time.monotonic() - started
        return Evaluation(order.choices, tuple(curve), failed, seconds)

    def train(
        self, order: Order, curve: list[float] | None = None
    ) -> tuple[keras.Model, ClassificationData]:
        """Trains a candidate; returns its network and data.

        Args:
            order: What to train, and how long.
            curve: Gets the validation accuracy after each epoch; None spares the time.

        Raises:
            DivergedError: If the loss is no longer a finite number.
        """
        recipe, settings = recipe_of(order.choices), self.settings
        architecture = self.space.resolve(order.choices)
        data = self._data_for(architecture, recipe)
        training = recipe.put_into(settings.training)
        trainer, evaluate = prepare_network(
            architecture,
            classification_task(data, label_smoothing=training.label_smoothing),
            data,
            optimizer=recipe.put_into(settings.optimizer),
            training=training,
        )
        step = tf.function(trainer.train_step)
        for epoch in range(order.epochs):
            for metric in trainer.metrics:
                metric.reset_state()
            run_steps(step, data.train_epoch(epoch), f"epoch {epoch + 1}")
            if curve is not None:
                curve.append(evaluate()["validation_accuracy"])
        return trainer.network, data

    def _data_for(
        self, architecture: Architecture, recipe: Recipe
    ) -> ClassificationData:
        size_px = architecture.image_size_px
        if size_px not in self._data:
            if len(self._data) == _MOST_SIZES:
                del self._data[next(iter(self._data))]
            self._data[size_px] = load_classification_data(
                dataclasses.replace(self.settings.data, image_size_px=size_px),
                self.settings.augmentation,
            )
        data = self._data[size_px]
        return dataclasses.replace(
            data, augmentation=recipe.put_into(data.augmentation)
        )
