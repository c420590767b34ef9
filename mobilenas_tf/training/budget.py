"""Reaching a named budget: what the cost should be now, and how hard to press.

The user names multiply-adds or parameters; the strength of the penalty that gets
there is found while searching.
"""

from __future__ import annotations

import dataclasses
import math

import keras
from keras import ops


@dataclasses.dataclass(frozen=True)
class BudgetSchedule:
    """The course of the expected cost from its start to the budget.

    The cost stays free for the first `warmup` of the search, falls geometrically
    until `settle`, and is then held, so that gates decide themselves at the budget.
    `aim` is the share of the budget that is held: the derived network, cut in whole
    multiples of the divisor, then fits from below.
    """

    start_cost: float
    budget: float
    warmup: float = 0.1
    settle: float = 0.7
    aim: float = 0.985

    def __post_init__(self) -> None:
        if not 0 <= self.warmup < self.settle <= 1:
            raise ValueError(
                "warmup and settle must satisfy 0 <= warmup < settle <= 1. "
                f"Received: warmup={self.warmup}, settle={self.settle}"
            )

    def is_pressing(self, progress):
        """Returns 1.0 once the warm-up is over, before that 0.0."""
        return ops.cast(progress >= self.warmup, "float32")

    def target(self, progress):
        """Returns the target cost at `progress` in [0, 1] (number or tensor)."""
        ramp = (progress - self.warmup) / (self.settle - self.warmup)
        ramp = ops.clip(ops.convert_to_tensor(ramp, "float32"), 0.0, 1.0)
        ratio = self.aim * self.budget / self.start_cost
        return self.start_cost * ops.exp(ramp * math.log(ratio))


class PenaltyController(keras.layers.Layer):
    """Proportional-integral control of the penalty's strength.

    With the relative error `e = cost / target - 1`, the strength is `I + k_p e`, where
    `I <- I + k_i e`. The proportional part answers at once and damps; the integral
    part finds the strength that holds the target. A network that has become too small
    gets a negative strength: it is paid to reopen what is cheap.

    Source: the augmented Lagrangian of the constraint `cost = target` has this
    gradient (Bertsekas, Nonlinear Programming, section 4.2).
    Differs: FiGS (arXiv:2006.09581) leaves the strength to the user.
    """

    def __init__(
        self,
        *,
        total_steps: int,
        proportional: float = 4.0,
        integral: float = 20.0,
        **kwargs,
    ):
        """Creates a controller.

        Args:
            total_steps: Steps of the search.
            proportional: `k_p`.
            integral: `k_i` times `total_steps`, as what has to be learnt in a search
                does not depend on how many steps it has.
            **kwargs: `name`.
        """
        super().__init__(**kwargs)
        self.proportional = proportional
        self.integral = integral / total_steps

    def build(self, input_shape=None):
        """Creates the integral part `[]`."""
        self.accumulated = self.add_weight(
            name="accumulated", shape=(), initializer="zeros", trainable=False
        )

    def call(self, cost, target, is_pressing):
        """Updates the integral part and returns the strength `[]`.

        Args:
            cost: Expected cost `[]`.
            target: Target cost `[]`.
            is_pressing: 1.0 where the target counts, 0.0 where the cost is free.
        """
        error = (cost / target - 1.0) * is_pressing
        self.accumulated.assign(self.accumulated + self.integral * error)
        return self.accumulated + self.proportional * error
