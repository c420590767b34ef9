"""Reaching a named budget: what the cost should be now, and how hard to press.

The user names multiply-adds or parameters; the strength of the penalty that gets
there is found while searching.
"""

from __future__ import annotations

import dataclasses
import math

import keras
from keras import ops

# Of the penalty's controller; the integral one is per search.
PROPORTIONAL_GAIN, INTEGRAL_GAIN = 4.0, 20.0


@dataclasses.dataclass(frozen=True)
class BudgetSchedule:
    """The course of the expected cost from its start through one or more budgets.

    The cost stays free for the first `warmup` of the search. The rest is divided evenly
    between the budgets: the cost falls geometrically to each and is then held, so that
    gates decide themselves there. With one budget it is reached at `settle`. `aim` is
    the share of a budget that is held: the derived network, cut in whole multiples of
    the divisor, then fits from below.
    """

    start_cost: float
    budgets: tuple[float, ...]
    warmup: float = 0.1
    settle: float = 0.7
    aim: float = 0.985

    def __post_init__(self) -> None:
        if not 0 <= self.warmup < self.settle <= 1:
            raise ValueError(
                "warmup and settle must satisfy 0 <= warmup < settle <= 1. "
                f"Received: warmup={self.warmup}, settle={self.settle}"
            )
        if not self.budgets or list(self.budgets) != sorted(self.budgets, reverse=True):
            raise ValueError(
                "budgets must be one or more in falling order. "
                f"Received: budgets={self.budgets}"
            )

    @property
    def stage_ends(self) -> tuple[float, ...]:
        """Returns the progress in (0, 1] up to which each budget is held."""
        length = (1.0 - self.warmup) / len(self.budgets)
        return tuple(
            self.warmup + length * count for count in range(1, len(self.budgets) + 1)
        )

    def budget_after(self, progress: float) -> float:
        """Returns the budget of the stage that begins or goes on at `progress`."""
        pairs = zip(self.stage_ends, self.budgets, strict=True)
        ahead = (budget for end, budget in pairs if progress < end - 1e-6)
        return next(ahead, self.budgets[-1])

    def is_pressing(self, progress):
        """Returns 1.0 once the warm-up is over, before that 0.0."""
        return ops.cast(progress >= self.warmup, "float32")

    def target(self, progress):
        """Returns the target cost at `progress` in [0, 1] (number or tensor)."""
        progress = ops.convert_to_tensor(progress, "float32")
        descent = (self.settle - self.warmup) / len(self.budgets)
        starts = (self.warmup, *self.stage_ends)
        log_cost, exponent = math.log(self.start_cost), 0.0
        for start, budget in zip(starts, self.budgets, strict=False):
            ramp = ops.clip((progress - start) / descent, 0.0, 1.0)
            log_goal = math.log(self.aim * budget)
            exponent = exponent + ramp * (log_goal - log_cost)
            log_cost = log_goal
        return self.start_cost * ops.exp(exponent)


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
        proportional: float = PROPORTIONAL_GAIN,
        integral: float = INTEGRAL_GAIN,
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
