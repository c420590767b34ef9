"""Differentiable search: weights and architecture parameters trained side by side.

Methods differ in the supernet, in `expected_cost` and in the schedules that they
pass in; the step is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import keras
import tensorflow as tf

from mobilenas_tf.layers.replicas import replica_mean
from mobilenas_tf.models.supernet import Supernet
from mobilenas_tf.training.budget import (
    INTEGRAL_GAIN,
    PROPORTIONAL_GAIN,
    BudgetSchedule,
    PenaltyController,
)
from mobilenas_tf.training.distribution import apply_gradients, replica_share
from mobilenas_tf.training.task import Objective
from mobilenas_tf.training.two_optimizers import (
    TwoOptimizerTrainer,
    step_means,
)

Penalty = Literal["probability", "sample"]


class SearchTrainer(TwoOptimizerTrainer):
    """Trains a supernet's weights and gates on `loss + strength * cost / start cost`.

    Two optimizers take the same step's gradients: one the weights, one the gates'
    logits. The strength is the controller's answer to how far the expected cost is
    from the schedule's target.

    Source: Ray Chaudhuri et al., arXiv:2006.09581, and its reference code (task loss
    plus weighted expected cost). Differs: an optimizer of their own for the gates,
    a budget in place of a fixed strength, and (with `penalty="probability"`) the
    expected cost of independent gates, where the reference multiplies sampled
    masks by counts of living channels that carry no gradient.
    """

    def __init__(
        self,
        supernet: Supernet,
        objective: Objective,
        *,
        expected_cost: Callable[[Mapping[str, tf.Tensor]], tf.Tensor],
        schedule: BudgetSchedule,
        temperature: Callable[[tf.Tensor], tf.Tensor] | None,
        total_steps: int,
        penalty: Penalty = "probability",
        controller_gain: float = 1.0,
        **kwargs,
    ):
        """Wraps a supernet.

        Args:
            supernet: The gated network.
            objective: The task's loss.
            expected_cost: `{width path: expected channels []} -> cost []`.
            schedule: Target cost by progress.
            temperature: `progress -> temperature` of all gates that have one.
            total_steps: Steps of the whole search; progress is measured in them.
            penalty: Whether the cost is taken of the gates' probabilities or of the
                step's sampled masks.
            controller_gain: Factor on both gains of the penalty's controller.
            **kwargs: `name`.
        """
        super().__init__(**kwargs)
        if penalty not in ("probability", "sample"):
            raise ValueError(
                f"penalty must be probability or sample. Received: penalty={penalty!r}"
            )
        self.supernet = supernet
        self.objective = objective
        self.expected_cost = expected_cost
        self.schedule = schedule
        self.temperature = temperature
        self.total_steps = total_steps
        self.penalty = penalty
        self.controller = PenaltyController(
            total_steps=total_steps,
            proportional=controller_gain * PROPORTIONAL_GAIN,
            integral=controller_gain * INTEGRAL_GAIN,
            name="controller",
        )
        self.controller.build()
        self.means = step_means(objective)
        self.alive_metric = keras.metrics.Mean(name="channels_alive")

    def adopt(
        self,
        supernet: Supernet,
        expected_cost: Callable[[Mapping[str, tf.Tensor]], tf.Tensor],
        *,
        weight_optimizer: keras.optimizers.Optimizer,
        architecture_optimizer: keras.optimizers.Optimizer,
    ) -> None:
        """Goes on with another supernet; a step that was traced before is void."""
        self.supernet = supernet
        self.expected_cost = expected_cost
        self.compile(weight_optimizer, architecture_optimizer)

    @property
    def network(self) -> keras.Model:
        """The supernet as a Keras model."""
        return self.supernet.model

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The metrics that `train_step` updates."""
        return [*self.means.values(), self.alive_metric]

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Takes one step on a batch and returns the running means of the metrics."""
        images, *targets = replica_share(data)
        progress = tf.cast(self.optimizer.iterations, tf.float32) / self.total_steps
        self._set_temperature(progress)
        target = self.schedule.target(progress)
        strength = self.controller(
            self._cost_of_gates(), target, self.schedule.is_pressing(progress)
        )
        weight_variables = self.supernet.weight_variables
        logits_variables = self.supernet.architecture_variables
        with tf.GradientTape() as tape:
            outputs, masks = self.supernet.masked_model(images, training=True)
            task_loss, figures = self.objective.loss(outputs, *targets)
            if self.penalty == "sample":
                cost = self.expected_cost(self.supernet.expected_widths(masks))
            else:
                cost = self._cost_of_gates()
            loss = task_loss + strength * cost / self.schedule.start_cost
        gradients = tape.gradient(loss, [*weight_variables, *logits_variables])
        apply_gradients(
            self.optimizer, gradients[: len(weight_variables)], weight_variables
        )
        if logits_variables:
            apply_gradients(
                self.architecture_optimizer,
                gradients[len(weight_variables) :],
                logits_variables,
            )
        figures = {
            "loss": task_loss,
            "expected_cost": cost,
            "target_cost": target,
            "penalty_strength": strength,
            **figures,
        }
        for name, value in replica_mean(figures).items():
            self.means[name].update_state(value)
        self.alive_metric.reset_state()
        self.alive_metric.update_state(self._channels_alive())
        return {metric.name: metric.result() for metric in self.metrics}

    def _cost_of_gates(self) -> tf.Tensor:
        channels = self.supernet.priced_channels()
        return self.expected_cost(self.supernet.expected_widths(channels))

    def _channels_alive(self) -> tf.Tensor:
        return tf.add_n(
            [
                tf.reduce_sum(tf.cast(gate.keep_probabilities() > 0.5, tf.float32))
                for gate in self.supernet.gates.values()
            ]
        )

    def _set_temperature(self, progress: tf.Tensor) -> None:
        if self.temperature is None:
            return
        value = self.temperature(progress)
        for gate in self.supernet.gates.values():
            gate.temperature.assign(value)
