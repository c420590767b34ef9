"""Training of a one-shot supernet: several networks a step, their gradients summed.

Which networks a step trains comes with its batch; choosing them is left to the search.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from mobilenas_tf.layers.replicas import replica_mean
from mobilenas_tf.models.one_shot_supernet import OneShotSupernet
from mobilenas_tf.training.distribution import apply_gradients, replica_share
from mobilenas_tf.training.task import Objective
from mobilenas_tf.training.trainer import state_of


class OneShotTrainer(keras.Model):
    """Trains the networks of plans `[P, L]` on each batch of classification.

    With distillation the first network learns from the labels, which may be smoothed,
    the others from its answers in the same step, as they are.

    Source: sandwich rule and in-place distillation: Yu and Huang, Universally slimmable
    networks, arXiv:1903.05134, section 3; gradients summed before one step: Yu et al.,
    BigNAS, arXiv:2003.11142, section 3.1.
    """

    def __init__(
        self,
        supernet: OneShotSupernet,
        objective: Objective,
        *,
        has_distillation: bool,
        label_smoothing: float = 0.0,
        **kwargs,
    ):
        """Wraps a supernet.

        Args:
            supernet: To train.
            objective: Of batches `(images, labels [B, K], weights [B])`.
            has_distillation: See above.
            label_smoothing: Share of each label spread evenly over all classes.
            **kwargs: `name`.
        """
        super().__init__(**kwargs)
        self.supernet = supernet
        self.objective = objective
        self.has_distillation = has_distillation
        self.label_smoothing = label_smoothing
        names = ("loss", "sampled_loss", *objective.figures)
        self.means = {name: keras.metrics.Mean(name=name) for name in names}

    @property
    def network(self) -> keras.Model:
        """The supernet."""
        return self.supernet

    def compile(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Takes the optimizer, and builds it: a checkpoint must find its variables."""
        super().compile(optimizer=optimizer)
        if not optimizer.built:
            optimizer.build(self.supernet.trainable_variables)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The metrics that `train_step` updates."""
        return list(self.means.values())

    def call(self, inputs, plan):
        """Returns the supernet's outputs."""
        return self.supernet(inputs, plan)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Takes a step on `((images, labels, weights), plans [P, L])`.

        The figures are those of the first network; `sampled_loss` is the mean of the
        others.
        """
        batch, plans = data
        images, labels, weights = replica_share(batch)
        share = self.label_smoothing / labels.shape[-1]
        labels = (1.0 - self.label_smoothing) * labels + share
        gradients = tf.function(self._gradients, autograph=False)  # traced once for all
        loss, figures, logits, total = gradients(images, labels, weights, plans[0])
        if self.has_distillation:
            labels = tf.nn.softmax(logits)
        others = []
        for index in range(1, plans.shape[0]):
            other_loss, _, _, more = gradients(images, labels, weights, plans[index])
            total = [one + other for one, other in zip(total, more, strict=True)]
            others.append(other_loss)
        apply_gradients(self.optimizer, total, self.supernet.trainable_variables)
        figures = {
            "loss": loss,
            "sampled_loss": tf.add_n(others) / len(others) if others else loss,
            **figures,
        }
        for name, value in replica_mean(figures).items():
            self.means[name].update_state(value)
        return {metric.name: metric.result() for metric in self.metrics}

    def _gradients(
        self, images: Any, labels: Any, weights: Any, plan: Any
    ) -> tuple[Any, dict[str, Any], Any, list[Any]]:
        """Returns loss, figures, logits and gradients of one network."""
        variables = self.supernet.trainable_variables
        with tf.GradientTape() as tape:
            logits = self.supernet(images, plan)
            loss, figures = self.objective.loss(logits, labels, weights)
        gradients = tape.gradient(
            loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        dense = [tf.convert_to_tensor(gradient) for gradient in gradients]
        return loss, dict(figures), logits, dense

    def checkpoint_items(self) -> dict[str, Any]:
        """Returns what a checkpoint must hold."""
        return {"network": state_of(self.supernet), "optimizer": self.optimizer}
