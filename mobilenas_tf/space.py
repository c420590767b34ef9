"""Search spaces: an architecture whose decisions are open, and genotypes in it.

A decision has a stable path (`stage3/block1/kernel5`), a genotype maps paths to
values (channel counts). Which spaces exist is left to `spaces`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Literal

import numpy as np

from mobilenas_tf.spec import Architecture, InvertedResidual, walk_blocks
from mobilenas_tf.widths import (
    WidthGroup,
    resize,
    surviving_blocks,
    width_groups,
)

Genotype = dict[str, int]
OpenWidths = Literal["all", "kernels"]


@dataclasses.dataclass(frozen=True)
class Choice:
    """One decision: its path, and the values it may take in rising order."""

    path: str
    values: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.values or list(self.values) != sorted(set(self.values)):
            raise ValueError(
                f"values of {self.path} must be distinct, in rising order, at least "
                f"one. Received: values={self.values}"
            )


@dataclasses.dataclass(frozen=True)
class SearchSpace:
    """A supernet with every decision at its largest value, and the open decisions.

    `channel_divisor` is what all open channel counts are multiples of.
    """

    name: str
    supernet: Architecture
    choices: tuple[Choice, ...]
    channel_divisor: int = 8

    def resolve(self, genotype: Mapping[str, int]) -> Architecture:
        """Returns the architecture of a genotype.

        Raises:
            ValueError: If a decision is missing or unknown, or a value not allowed.
        """
        paths = {choice.path for choice in self.choices}
        if wrong := sorted(paths.symmetric_difference(genotype)):
            raise ValueError(
                f"genotype must have exactly the decisions of {self.name}. "
                f"Received: {wrong[0]!r} missing or unknown"
            )
        for choice in self.choices:
            if genotype[choice.path] not in choice.values:
                raise ValueError(
                    f"{choice.path} must be one of {choice.values}. "
                    f"Received: {genotype[choice.path]}"
                )
        return resize(self.supernet, genotype)

    def narrowed(self, widths: Mapping[str, int]) -> SearchSpace:
        """Returns the part of the space in which no width is above the given one.

        Args:
            widths: One of its values for every decision. A decision that is left with
                the value 0 disappears with its kernel; some kernel of every block
                must stay, as later blocks would else move up to other paths.

        Raises:
            ValueError: If a decision is missing or unknown, a value is not allowed, or
                a block would vanish.
        """
        supernet = self.resolve(widths)
        surviving = set(surviving_blocks(self.supernet, widths).values())
        for path, _, _ in walk_blocks(self.supernet):
            if path not in surviving:
                raise ValueError(
                    "widths must keep a channel of some kernel of every block. "
                    f"Received: 0 for every kernel of {path}"
                )
        choices = tuple(
            Choice(
                choice.path,
                tuple(value for value in choice.values if value <= widths[choice.path]),
            )
            for choice in self.choices
            if widths[choice.path]
        )
        return dataclasses.replace(self, supernet=supernet, choices=choices)

    def largest(self) -> Genotype:
        """Returns every decision at its largest value."""
        return {choice.path: choice.values[-1] for choice in self.choices}

    def smallest(self) -> Genotype:
        """Returns every decision at its smallest value that leaves a whole network."""
        return self.repair({choice.path: choice.values[0] for choice in self.choices})

    def log10_size(self) -> float:
        """Returns the decimal logarithm of the number of genotypes."""
        return sum(math.log10(len(choice.values)) for choice in self.choices)

    def sample(self, rng: np.random.Generator) -> Genotype:
        """Returns a genotype with every decision drawn uniformly, then repaired."""
        return self.repair(
            {choice.path: int(rng.choice(choice.values)) for choice in self.choices}
        )

    def mutate(
        self, genotype: Mapping[str, int], rng: np.random.Generator, *, rate: float
    ) -> Genotype:
        """Returns a copy with each decision redrawn with probability `rate`."""
        if not 0 <= rate <= 1:
            raise ValueError(f"rate must be in [0, 1]. Received: rate={rate}")
        return self.repair(
            {
                choice.path: int(rng.choice(choice.values))
                if rng.random() < rate
                else genotype[choice.path]
                for choice in self.choices
            }
        )

    def crossover(
        self,
        first: Mapping[str, int],
        second: Mapping[str, int],
        rng: np.random.Generator,
    ) -> Genotype:
        """Returns a child that takes each decision from either parent."""
        return self.repair(
            {
                choice.path: (first, second)[int(rng.integers(2))][choice.path]
                for choice in self.choices
            }
        )

    def repair(self, genotype: Mapping[str, int]) -> Genotype:
        """Returns the genotype with a kernel reopened where a block would be cut.

        A block without residual connection needs a channel in some kernel; where all
        are 0 its smallest kernel gets its smallest width above 0.
        """
        repaired = dict(genotype)
        values = {choice.path: choice.values for choice in self.choices}
        for kernels in required_kernels(self.supernet):
            if all(
                repaired.get(kernel.path, kernel.channels) == 0 for kernel in kernels
            ):
                path = kernels[0].path
                repaired[path] = next(value for value in values[path] if value)
        return repaired


def required_kernels(architecture: Architecture) -> tuple[tuple[WidthGroup, ...], ...]:
    """Returns, for every block that cannot vanish, its kernels' width groups."""
    blocks: dict[str, list[WidthGroup]] = {}
    for group in width_groups(architecture):
        if group.is_kernel and group.operator is None:
            blocks.setdefault(group.path.rsplit("/", 1)[0], []).append(group)
    return tuple(tuple(kernels) for kernels in blocks.values())


def removable_kernels(space: SearchSpace) -> dict[str, list[WidthGroup]]:
    """Returns, for every block that can vanish in the space, its kernels' groups."""
    open_paths = {choice.path for choice in space.choices}
    kernels: dict[str, list[WidthGroup]] = {}
    for group in width_groups(space.supernet):
        if group.operator is not None:
            kernels.setdefault(group.operator, []).append(group)
    return {
        operator: groups
        for operator, groups in kernels.items()
        if open_paths.issuperset(group.path for group in groups)
    }


def with_presence(space: SearchSpace, widths: Mapping[str, int]) -> dict[str, int]:
    """Adds `<block>/presence` (0 or 1) for every block that can vanish."""
    presence = {
        f"{operator}/presence": int(any(widths[kernel.path] for kernel in kernels))
        for operator, kernels in removable_kernels(space).items()
    }
    return {**widths, **presence}


def width_space(
    name: str,
    supernet: Architecture,
    *,
    channel_divisor: int = 8,
    open_widths: OpenWidths = "all",
) -> SearchSpace:
    """Returns the space of channel counts of `supernet` up to its own.

    Kernels may have 0, d, 2d, ... channels (d: the divisor), everything else d, 2d,
    ...; the supernet's own count is always among them.

    Args:
        name: Of the space.
        supernet: The largest network.
        channel_divisor: d.
        open_widths: Whether all widths are open or those of kernels only.
    """
    if channel_divisor < 1:
        raise ValueError(
            "channel_divisor must be an integer of at least 1. "
            f"Received: channel_divisor={channel_divisor}"
        )
    for path, block, _ in walk_blocks(supernet):
        if isinstance(block, InvertedResidual) and (
            block.expansion_groups > 1 or block.projection_groups > 1
        ):
            raise ValueError(
                "supernet must have no grouped 1x1 convolutions, as they tie channels "
                f"to their neighbours. Received: groups in {path} of {supernet.name}"
            )
    choices = []
    for group in width_groups(supernet):
        if open_widths == "kernels" and not group.is_kernel:
            continue
        first = 0 if group.is_kernel else min(channel_divisor, group.channels)
        values = {*range(first, group.channels, channel_divisor), group.channels}
        choices.append(Choice(group.path, tuple(sorted(values))))
    return SearchSpace(name, supernet, tuple(choices), channel_divisor)
