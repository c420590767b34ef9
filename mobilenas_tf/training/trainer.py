"""Training of one network: a Keras `train_step` with its own metrics.

The optimizer and its schedule come from `optimizers`, the epochs from `loop`.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from mobilenas_tf.layers.replicas import replica_mean
from mobilenas_tf.training.distribution import apply_gradients, replica_share
from mobilenas_tf.training.task import Objective


def state_of(network: keras.Model) -> list[keras.Variable]:
    """Returns all variables of a network, for a checkpoint to hold.

    Given the model itself, TensorFlow follows attributes and misses what Keras knows:
    layers within lists and dictionaries, with their moving statistics, and seeds.
    """
    return list(network.variables)


class NetworkTrainer(keras.Model):
    """Trains a network on batches `(images, *targets)`."""

    def __init__(self, network: keras.Model, objective: Objective, **kwargs):
        """Wraps `network`, a model of images to what the objective's loss takes."""
        super().__init__(**kwargs)
        self.network = network
        self.objective = objective
        names = ("loss", *objective.figures)
        self.means = {name: keras.metrics.Mean(name=name) for name in names}

    def compile(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Takes the optimizer, and builds it: a checkpoint must find its variables."""
        super().compile(optimizer=optimizer)
        if not optimizer.built:
            optimizer.build(self.network.trainable_variables)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The metrics that `train_step` updates."""
        return list(self.means.values())

    def call(self, inputs, training=None):
        """Returns the network's outputs."""
        return self.network(inputs, training=training)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Takes one step on a batch and returns the running means of the metrics."""
        images, *targets = replica_share(data)
        variables = self.network.trainable_variables
        with tf.GradientTape() as tape:
            outputs = self.network(images, training=True)
            loss, figures = self.objective.loss(outputs, *targets)
        apply_gradients(self.optimizer, tape.gradient(loss, variables), variables)
        for name, value in replica_mean({"loss": loss, **figures}).items():
            self.means[name].update_state(value)
        return {metric.name: metric.result() for metric in self.metrics}

    def checkpoint_items(self) -> dict[str, Any]:
        """Returns what a checkpoint must hold."""
        return {"network": state_of(self.network), "optimizer": self.optimizer}
