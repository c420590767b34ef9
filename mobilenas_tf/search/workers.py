"""Who trains candidates: this process, or (`ray_workers`) others.

An evaluation depends on its order alone, so that any worker may do it, and do it again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from mobilenas_tf.decisions import Choices
from mobilenas_tf.search.joint_journal import Evaluation


@dataclasses.dataclass(frozen=True)
class Order:
    """A candidate to be trained for so many epochs of its schedule."""

    choices: Choices
    epochs: int


Evaluate = Callable[[Order], Evaluation]


class Workers(Protocol):
    """Evaluates orders."""

    def run(self, orders: Sequence[Order]) -> Iterator[Evaluation]:
        """Gives evaluations as they end, in whatever order."""
        ...


class InProcess:
    """Evaluates one order after the other."""

    def __init__(self, evaluate: Evaluate):
        """Takes what evaluates an order."""
        self.evaluate = evaluate

    def run(self, orders: Sequence[Order]) -> Iterator[Evaluation]:
        """Gives evaluations in the order of their orders."""
        for order in orders:
            yield self.evaluate(order)
