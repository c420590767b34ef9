"""What all differentiable searches share: two optimizers, and what is saved of them."""

from __future__ import annotations

from typing import Any

import keras

from mobilenas_tf.training.budget import PenaltyController
from mobilenas_tf.training.task import Objective
from mobilenas_tf.training.trainer import state_of


def step_means(objective: Objective) -> dict[str, keras.metrics.Mean]:
    """Returns the metrics of a search's step: the cost's and the objective's."""
    names = ("loss", "expected_cost", "target_cost", "penalty_strength")
    return {
        name: keras.metrics.Mean(name=name) for name in (*names, *objective.figures)
    }


class TwoOptimizerTrainer(keras.Model):
    """Trains a supernet's weights by one optimizer and its architecture by another.

    Attributes:
        supernet: Has `weight_variables` and `architecture_variables`.
        network: The Keras model that it is or has.
        controller: Of the penalty on the cost.
        means: Metrics of a step by name.
    """

    supernet: Any
    controller: PenaltyController
    means: dict[str, keras.metrics.Mean]

    @property
    def network(self) -> keras.Model:
        """The supernet as a Keras model."""
        return self.supernet

    def compile(
        self,
        weight_optimizer: keras.optimizers.Optimizer,
        architecture_optimizer: keras.optimizers.Optimizer,
    ) -> None:
        """Takes the two optimizers, and builds them: a checkpoint must find all."""
        super().compile(optimizer=weight_optimizer)
        self.architecture_optimizer = architecture_optimizer
        for optimizer, variables in (
            (weight_optimizer, self.supernet.weight_variables),
            (architecture_optimizer, self.supernet.architecture_variables),
        ):
            if not optimizer.built:
                optimizer.build(variables)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The metrics that `train_step` updates."""
        return list(self.means.values())

    def call(self, inputs, training=None):
        """Returns the supernet's outputs."""
        return self.network(inputs, training=training)

    def checkpoint_items(self) -> dict[str, Any]:
        """Returns what a checkpoint must hold."""
        return {
            "network": state_of(self.network),
            "optimizer": self.optimizer,
            "architecture_optimizer": self.architecture_optimizer,
            "controller": self.controller,
        }
