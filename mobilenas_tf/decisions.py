"""Decisions of a joint search: among options, integers in a range, or real numbers.

Each is a path and its values. It turns a share in [0, 1) into a value, so that a
quasi-random sequence draws from it, and a value into numbers for a predictor: options
as one-hot, ranges as one number from 0 to 1.

Source: Dai et al., FBNetV3, arXiv:2006.02049, section 3.2: one-hot categories,
min-max normalised integers. Differs: real numbers of the recipe are on a logarithmic
scale.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

Value = str | int | float
Choices = dict[str, Value]


@dataclasses.dataclass(frozen=True)
class Options:
    """One of several values without order."""

    path: str
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not self.values or len(set(self.values)) < len(self.values):
            raise ValueError(
                f"values of {self.path} must be distinct, at least one. "
                f"Received: {self.values}"
            )

    def at(self, share: float) -> Value:
        """Returns the value at a share in [0, 1)."""
        return self.values[int(share * len(self.values))]

    def features(self, value: Value) -> tuple[float, ...]:
        """Returns a value as one-hot."""
        return tuple(float(value == each) for each in self.values)

    def contains(self, value: object) -> bool:
        """Returns whether it is one of the values."""
        return any(value == each and type(value) is type(each) for each in self.values)

    def __str__(self) -> str:
        return "one of " + ", ".join(map(str, self.values))


@dataclasses.dataclass(frozen=True)
class Integers:
    """An integer from `low` to `high`, both included, in steps."""

    path: str
    low: int
    high: int
    step: int = 1

    def __post_init__(self) -> None:
        span = self.high - self.low
        if self.step < 1 or span < 0 or span % self.step:
            raise ValueError(
                f"{self.path} must run from low to high in whole steps. Received: "
                f"low={self.low}, high={self.high}, step={self.step}"
            )

    @property
    def values(self) -> tuple[int, ...]:
        """All integers, rising."""
        return tuple(range(self.low, self.high + 1, self.step))

    def at(self, share: float) -> int:
        """Returns the value at a share in [0, 1)."""
        count = (self.high - self.low) // self.step + 1
        return self.low + self.step * int(share * count)

    def features(self, value: Value) -> tuple[float, ...]:
        """Returns a value as a number from 0 (low) to 1 (high)."""
        return ((float(value) - self.low) / max(self.high - self.low, 1),)

    def contains(self, value: object) -> bool:
        """Returns whether it is one of the integers."""
        if isinstance(value, bool) or not isinstance(value, int):
            return False
        return self.low <= value <= self.high and (value - self.low) % self.step == 0

    def __str__(self) -> str:
        return f"an integer from {self.low} to {self.high} in steps of {self.step}"


@dataclasses.dataclass(frozen=True)
class LogRange:
    """A real number from `low` to `high` on a logarithmic scale."""

    path: str
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high:
            raise ValueError(
                f"low of {self.path} must be above 0 and below high. "
                f"Received: low={self.low}, high={self.high}"
            )

    def at(self, share: float) -> float:
        """Returns the value at a share in [0, 1), to four significant digits."""
        value = self.low * (self.high / self.low) ** share
        return min(max(float(f"{value:.4g}"), self.low), self.high)

    def features(self, value: Value) -> tuple[float, ...]:
        """Returns a value as a number from 0 (low) to 1 (high)."""
        return (math.log(float(value) / self.low) / math.log(self.high / self.low),)

    def contains(self, value: object) -> bool:
        """Returns whether it is a number of the range."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"a number from {self.low:g} to {self.high:g}"


Listed = Options | Integers
Decision = Listed | LogRange


def check_choices(decisions: Sequence[Decision], choices: Mapping[str, object]) -> None:
    """Raises a ValueError unless there is one value of every decision, and no other."""
    paths = {decision.path for decision in decisions}
    if unknown := sorted(choices.keys() - paths):
        raise ValueError(
            f"{unknown[0]} must be one of {', '.join(sorted(paths))}. "
            f"Received: {unknown[0]}"
        )
    for decision in decisions:
        if not decision.contains(choices.get(decision.path)):
            raise ValueError(
                f"{decision.path} must be {decision}. "
                f"Received: {choices.get(decision.path)!r}"
            )


def choices_at(decisions: Sequence[Decision], shares: Sequence[float]) -> Choices:
    """Returns what stands at a point of the unit cube, one share a decision."""
    return {
        decision.path: decision.at(share)
        for decision, share in zip(decisions, shares, strict=True)
    }


def choice_features(
    decisions: Sequence[Decision], choices: Mapping[str, Value]
) -> np.ndarray:
    """Returns choices as a vector `[F]`."""
    parts = (decision.features(choices[decision.path]) for decision in decisions)
    return np.array([number for part in parts for number in part], np.float32)


def mutated(
    decisions: Sequence[Decision],
    choices: Mapping[str, Value],
    rng: np.random.Generator,
    *,
    share: float,
) -> Choices:
    """Returns choices with each drawn anew with a probability, at least one of them."""
    is_drawn = rng.random(len(decisions)) < share
    is_drawn[rng.integers(len(decisions))] = True
    return {
        decision.path: decision.at(float(rng.random()))
        if drawn
        else choices[decision.path]
        for decision, drawn in zip(decisions, is_drawn, strict=True)
    }
