"""Training of one network: a Keras `train_step` with its own metrics.

The optimizer and its schedule come from `optimizers`, the epochs from `loop`.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


def classification_loss(
    labels: tf.Tensor, logits: tf.Tensor, weights: tf.Tensor, *, label_smoothing: float
) -> tf.Tensor:
    """Returns the mean cross-entropy `[]` of a batch.

    Args:
        labels: `[B, K]`, probabilities.
        logits: `[B, K]`.
        weights: `[B]`, weight of each example; the sum is divided by B.
        label_smoothing: Share of each label spread evenly over all classes
            (Szegedy et al., arXiv:1512.00567, section 7).
    """
    losses = keras.losses.categorical_crossentropy(
        labels, logits, from_logits=True, label_smoothing=label_smoothing
    )
    return tf.reduce_mean(losses * weights)


def random_state(layer: keras.Layer) -> list[keras.Variable]:
    """Returns the state of a layer's seeds, which checkpoints of a model leave out."""
    weights = {id(variable) for variable in layer.weights}
    return [variable for variable in layer.variables if id(variable) not in weights]


class ClassifierTrainer(keras.Model):
    """Trains a classifier on `(images, labels [B, K], weights [B])`."""

    def __init__(self, network: keras.Model, *, label_smoothing: float = 0.0, **kwargs):
        """Wraps `network`, a model of images to logits."""
        super().__init__(**kwargs)
        self.network = network
        self.label_smoothing = label_smoothing
        self.loss_metric = keras.metrics.Mean(name="loss")
        self.accuracy_metric = keras.metrics.CategoricalAccuracy(name="accuracy")

    def compile(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Takes the optimizer, and builds it: a checkpoint must find its variables."""
        super().compile(optimizer=optimizer)
        if not optimizer.built:
            optimizer.build(self.network.trainable_variables)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The metrics that `train_step` updates."""
        return [self.loss_metric, self.accuracy_metric]

    def call(self, inputs, training=None):
        """Returns logits `[B, K]`."""
        return self.network(inputs, training=training)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Takes one step on a batch and returns the running means of the metrics."""
        images, labels, weights = data
        variables = self.network.trainable_variables
        with tf.GradientTape() as tape:
            logits = self.network(images, training=True)
            loss = classification_loss(
                labels, logits, weights, label_smoothing=self.label_smoothing
            )
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        self.loss_metric.update_state(loss)
        self.accuracy_metric.update_state(labels, logits)
        return {metric.name: metric.result() for metric in self.metrics}

    def checkpoint_items(self) -> dict[str, Any]:
        """Returns what a checkpoint must hold."""
        return {
            "network": self.network,
            "optimizer": self.optimizer,
            "random_state": random_state(self.network),
        }
