"""Search among operators: weights and choices in turns, on images of their own.

What a step does is here; the supernet is `models.block_supernet`'s matter, the course
of a search that of `search.dnas`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

import keras
import tensorflow as tf

from mobilenas_tf.costs.block_costs import BlockCosts
from mobilenas_tf.layers.replicas import replica_mean
from mobilenas_tf.models.block_supernet import BlockSupernet
from mobilenas_tf.training.budget import BudgetSchedule, PenaltyController
from mobilenas_tf.training.distribution import apply_gradients, replica_share
from mobilenas_tf.training.task import Objective
from mobilenas_tf.training.two_optimizers import (
    TwoOptimizerTrainer,
    step_means,
)

CostLoss = Literal["budget", "product", "sum"]
_TINY = 1e-12


@dataclasses.dataclass(frozen=True)
class CostTerm:
    """How the cost joins the loss of the choices.

    `budget` adds the cost with the strength by which a controller holds the schedule's
    target; `product` is `loss * alpha * log(cost / unit)^beta` (FBNet, equation 2);
    `sum` is `loss + alpha * (cost / target - 1)` (ProxylessNAS).
    """

    kind: CostLoss = "budget"
    alpha: float = 0.2
    beta: float = 0.6
    unit: float = 1.0  # below all costs, whose logarithms are then above 0

    def join(
        self, loss: tf.Tensor, cost: tf.Tensor, target: tf.Tensor, strength: tf.Tensor
    ) -> tf.Tensor:
        """Returns the loss `[]` with the cost in it."""
        if self.kind == "budget":
            return loss + strength * cost
        if self.kind == "product":
            return loss * self.alpha * tf.math.log(cost / self.unit) ** self.beta
        return loss + self.alpha * (cost / target - 1.0)


class OperatorTrainer(TwoOptimizerTrainer):
    """Trains a supernet of operators and its choices.

    Each step takes two batches: by the first the weights learn, by the second, once the
    warm-up is over, the choices, by the task's loss and the cost of the choices'
    probabilities together.

    Source: Wu et al., FBNet, arXiv:1812.03443, equation 2 and section 4.1. Differs: the
    reference's cost is that of the sample; that of the probabilities has no noise and
    the same mean.

    All networks share stem and head, whose moving statistics are those of the weights'
    batches alone; a candidate's are those of all batches that it sees.
    """

    def __init__(
        self,
        supernet: BlockSupernet,
        objective: Objective,
        *,
        costs: BlockCosts,
        schedule: BudgetSchedule,
        temperature: Callable[[tf.Tensor], tf.Tensor],
        total_steps: int,
        cost_term: CostTerm,
        num_paths: int | None = None,
        **kwargs,
    ):
        """Wraps a supernet.

        Args:
            supernet: With its choices.
            objective: The task's loss.
            costs: Of the space's networks.
            schedule: Target cost by progress; its warm-up is that of the weights.
            temperature: `progress -> temperature` of all choices.
            total_steps: Steps of the whole search; progress is measured in them.
            cost_term: How the cost joins the loss.
            num_paths: Drawn networks that the choices learn from by comparing their
                losses; None lets them learn by the gradient through the supernet.
            **kwargs: `name`.

        Raises:
            ValueError: If the product's unit is not below the cheapest network's cost.
        """
        super().__init__(**kwargs)
        cheapest, _ = costs.range
        if cost_term.kind == "product" and cheapest <= cost_term.unit:
            raise ValueError(
                "cost_loss=product must have a space whose networks all cost more than "
                f"{cost_term.unit:g}; give budget or sum. Received: {cheapest:,.4g} of "
                "the cheapest network"
            )
        self.supernet = supernet
        self.objective = objective
        self.costs = costs
        self.schedule = schedule
        self.temperature = temperature
        self.total_steps = total_steps
        self.cost_term = cost_term
        self.num_paths = num_paths
        self.controller = PenaltyController(total_steps=total_steps, name="controller")
        self.controller.build()
        self.means = step_means(objective)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Takes a step on two batches and returns the running means of the metrics."""
        (images, *targets), (other_images, *other_targets) = replica_share(data)
        progress = tf.cast(self.optimizer.iterations, tf.float32) / self.total_steps
        for choice in self.supernet.choices.values():
            choice.temperature.assign(self.temperature(progress))
        loss, figures = self._train_weights(images, targets)
        target = self.schedule.target(progress)
        strength = tf.cond(
            progress >= self.schedule.warmup,
            lambda: self._train_choices(other_images, other_targets, target),
            lambda: tf.constant(0.0),
        )
        figures = {
            "loss": loss,
            "expected_cost": self.costs.expected(self.supernet.probabilities()),
            "target_cost": target,
            "penalty_strength": strength,
            **figures,
        }
        for name, value in replica_mean(figures).items():
            self.means[name].update_state(value)
        return {metric.name: metric.result() for metric in self.metrics}

    def _train_weights(self, images: Any, targets: Any) -> tuple[Any, Any]:
        variables = self.supernet.weight_variables
        with tf.GradientTape() as tape:
            outputs = self.supernet(images, training=True)
            loss, figures = self.objective.loss(outputs, *targets)
        apply_gradients(self.optimizer, tape.gradient(loss, variables), variables)
        return loss, figures

    def _train_choices(self, images: Any, targets: Any, target: Any) -> tf.Tensor:
        """Returns the strength of the penalty."""
        variables = self.supernet.architecture_variables
        strength = self.controller(
            self.costs.expected(self.supernet.probabilities()),
            target,
            tf.constant(1.0),
        )
        kept = [(v, tf.identity(v.value)) for v in self._shared_statistics()]
        compared = self._compare(images, targets) if self.num_paths else None
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for variable in variables])
            if compared is None:
                outputs = self.supernet(images, training=True)
                loss, _ = self.objective.loss(outputs, *targets)
            else:
                loss = expected_loss(*compared, self.supernet.probabilities())
            cost = self.costs.expected(self.supernet.probabilities())
            loss = self.cost_term.join(
                loss, cost, target, strength / self.schedule.start_cost
            )
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        apply_gradients(self.architecture_optimizer, gradients, variables)
        for variable, value in kept:
            variable.assign(value)
        return strength

    def _shared_statistics(self) -> list[keras.Variable]:
        """Returns the moving statistics of stem and head."""
        return [
            variable
            for layer in (self.supernet.stem, self.supernet.head)
            for variable in layer.non_trainable_variables
            if keras.backend.is_float_dtype(variable.dtype)
        ]

    def _compare(
        self, images: Any, targets: Any
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Returns the losses `[P]` of P drawn networks, and what was drawn."""

        def one(_: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
            weights = self.supernet.sample()
            outputs = self.supernet(images, weights=weights, training=True)
            loss, _ = self.objective.loss(outputs, *targets)
            return loss, weights

        logits = self.supernet.architecture_variables
        paths = self.supernet.choices
        drawn = {
            path: tf.TensorSpec(each.shape, tf.float32)
            for path, each in zip(paths, logits, strict=True)
        }
        return tf.map_fn(
            one,
            tf.range(self.num_paths),
            fn_output_signature=(tf.TensorSpec((), tf.float32), drawn),
            parallel_iterations=1,
        )


def expected_loss(
    losses: tf.Tensor,
    drawn: Mapping[str, tf.Tensor],
    probabilities: Mapping[str, tf.Tensor],
) -> tf.Tensor:
    """Returns the mean of sampled losses `[]`, with the gradient of its expectation.

    `d E[L] / d logits` is estimated by `1 / (P - 1) sum_k (L_k - mean(L)) d log p_k`,
    p_k being the probability of the k-th network: without bias, as the mean of the
    others is a baseline that does not depend on it.

    Source: Kool et al., Buy 4 REINFORCE samples, get a baseline for free, ICLR 2019
    workshop, equation 8.

    Args:
        losses: `[P]`, of P networks on the same images, P of 2 or more.
        drawn: `{place: [P, N]}`, one-hot.
        probabilities: `{place: [N]}`.
    """
    log_p = tf.add_n(
        [
            tf.reduce_sum(
                tf.stop_gradient(drawn[path]) * tf.math.log(p + _TINY), axis=-1
            )
            for path, p in probabilities.items()
        ]
    )
    losses = tf.stop_gradient(losses)
    mean = tf.reduce_mean(losses)
    others = tf.cast(tf.size(losses) - 1, losses.dtype)
    surrogate = tf.reduce_sum((losses - mean) * log_p) / others
    return mean + surrogate - tf.stop_gradient(surrogate)
