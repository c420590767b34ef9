"""Spaces of one-shot supernets: operation, channels and expansion of every place.

A decision has a stable path (`stage2/block1/operation`, `stage2/output`), a genotype
maps paths to values: an operation's name, or channels. All blocks of a stage put out
the same channels, one decision. Which spaces exist is left to `one_shot_spaces`.

Source: Shen et al., BS-NAS, arXiv:2003.09821 (abstract): the spring block's searchable
channel numbers. Differs: a reconstruction, as nothing else is public; what can be
chosen follows Guo et al., Single path one-shot, arXiv:1904.00420, section 3.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

import numpy as np

from mobilenas_tf.spec import (
    Activation,
    Architecture,
    Block,
    Branch,
    Convolution,
    Head,
    InvertedResidual,
    Stage,
    round_channels,
)

Value = str | int
OneShotGenotype = dict[str, Value]
IDENTITY = "identity"


@dataclasses.dataclass(frozen=True)
class Operation:
    """MobileNetV2's block: 1x1 to `expansion` times the input, depthwise, 1x1."""

    kernel_size: int
    expansion: float

    @property
    def name(self) -> str:
        """Such as `k3_e6`."""
        return f"k{self.kernel_size}_e{self.expansion:g}"


@dataclasses.dataclass(frozen=True)
class OneShotStage:
    """`depth` places; the first has the stride and joins stages of other channels.

    Attributes:
        out_channels: Possible widths, rising.
        depth: Places.
        stride: Of the first place.
        operations: What may stand at a place; None is the identity, which at the first
            place is a 1x1 convolution with the stride and no activation.
        has_free_first: Whether the first place may have the identity too.
    """

    out_channels: tuple[int, ...]
    depth: int
    stride: int
    operations: tuple[Operation | None, ...]
    has_free_first: bool = False

    def operations_at(self, index: int) -> tuple[Operation | None, ...]:
        """Returns what may stand at a place of the stage."""
        if index > 0 or self.has_free_first:
            return self.operations
        return tuple(operation for operation in self.operations if operation)


@dataclasses.dataclass(frozen=True)
class Decision:
    """A choice by path, and its values; channels are in rising order."""

    path: str
    values: tuple[Value, ...]


@dataclasses.dataclass(frozen=True)
class OneShotSpace:
    """All networks of a one-shot supernet.

    `turned_off` are operations that are no longer chosen, as `(path, name)`.
    """

    name: str
    image_size_px: int
    stem_channels: tuple[int, ...]
    stem_stride: int
    stages: tuple[OneShotStage, ...]
    head_channels: tuple[int, ...]
    num_classes: int
    activation: Activation = "relu"
    channel_divisor: int = 8
    turned_off: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Checks that every choice is one, of networks that can be built."""
        if not self.stages or min(stage.depth for stage in self.stages) < 1:
            raise ValueError(
                "stages must be at least one, each of at least one place. Received: "
                f"depths {[stage.depth for stage in self.stages]}"
            )
        for decision in self.all_decisions:
            values = decision.values
            if not values:
                raise ValueError(
                    f"values of {decision.path} must be at least one; the first place "
                    "of a stage has no identity unless has_free_first. Received: none"
                )
            if any(isinstance(value, int) and value < 1 for value in values):
                raise ValueError(
                    f"values of {decision.path} must be at least 1 channel. "
                    f"Received: values={values}"
                )
            if len(set(values)) < len(values):
                raise ValueError(
                    f"values of {decision.path} must be distinct (do ratios round to "
                    "the same width?). "
                    f"Received: values={values}"
                )
            if isinstance(values[0], int) and list(values) != sorted(map(int, values)):
                raise ValueError(
                    f"values of {decision.path} must be in rising order. "
                    f"Received: values={values}"
                )
        self._check_expansions()

    def _check_expansions(self) -> None:
        """Raises unless operations of a place differ, whatever comes in there."""
        widths = self.stem_channels
        for number, stage in enumerate(self.stages, start=1):
            operations = [each for each in stage.operations if each]
            for channels in {*widths, *(stage.out_channels if stage.depth > 1 else ())}:
                seen: dict[tuple[int, int], str] = {}
                for each in operations:
                    hidden = self.hidden_channels(each, channels)
                    other = seen.setdefault((each.kernel_size, hidden), each.name)
                    if other != each.name:
                        raise ValueError(
                            f"operations of stage{number} must differ where "
                            f"{channels} channels come in. Received: {other} and "
                            f"{each.name}, both of {hidden} channels"
                        )
            widths = stage.out_channels

    @property
    def all_decisions(self) -> tuple[Decision, ...]:
        """Every decision in order of use, those of one value too."""
        decisions = [Decision("stem/output", self.stem_channels)]
        for number, stage in enumerate(self.stages, start=1):
            decisions.append(Decision(f"stage{number}/output", stage.out_channels))
            for index in range(stage.depth):
                path = operation_path(number, index)
                names = map(operation_name, stage.operations_at(index))
                left = (name for name in names if (path, name) not in self.turned_off)
                decisions.append(Decision(path, tuple(left)))
        return (*decisions, Decision("head/conv", self.head_channels))

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The decisions that have more than one value."""
        return tuple(each for each in self.all_decisions if len(each.values) > 1)

    def resolve(self, genotype: Mapping[str, Value], *, name: str = "") -> Architecture:
        """Returns the network of a genotype.

        Two genotypes whose networks are equal compute alike, as identities have no
        weights: compare the networks.

        Raises:
            ValueError: If a decision is missing or unknown, or has no such value.
        """
        values = self.complete(genotype)
        channels = int(values["stem/output"])
        stem = Convolution(channels, 3, self.stem_stride, self.activation)
        stages = []
        for number, stage in enumerate(self.stages, start=1):
            out_channels = int(values[f"stage{number}/output"])
            blocks: list[Block] = []
            for index in range(stage.depth):
                stride = stage.stride if index == 0 else 1
                operation = operation_named(
                    stage, str(values[operation_path(number, index)])
                )
                block = self.block_of(operation, channels, out_channels, stride, index)
                blocks += [] if block is None else [block]
                channels = out_channels
            stages.append(Stage(tuple(blocks)))
        conv_channels = int(values["head/conv"])
        return Architecture(
            name=name or f"{self.name}_found",
            image_size_px=self.image_size_px,
            stem=stem,
            stages=tuple(stages),
            head=Head(
                self.num_classes,
                conv_channels=conv_channels,
                activation=self.activation,
            ),
        )

    def block_of(
        self,
        operation: Operation | None,
        in_channels: int,
        out_channels: int,
        stride: int,
        index: int,
    ) -> Block | None:
        """Returns what computes an operation at a place of a stage; None computes none.

        Args:
            operation: None is the identity.
            in_channels: Of the place.
            out_channels: Of the stage.
            stride: Of the place.
            index: Of the place in its stage.
        """
        if operation is None:
            if index > 0:
                return None
            return Convolution(out_channels, 1, stride, "linear")
        hidden = self.hidden_channels(operation, in_channels)
        return InvertedResidual(
            out_channels=out_channels,
            branches=(Branch(operation.kernel_size, hidden),),
            stride=stride,
            has_expansion=True,
            has_residual=index > 0,
            activation=self.activation,
        )

    def hidden_channels(self, operation: Operation, in_channels: int) -> int:
        """Returns the channels of an operation's depthwise convolution."""
        return round_channels(
            in_channels * operation.expansion, divisor=self.channel_divisor
        )

    def complete(self, genotype: Mapping[str, Value]) -> OneShotGenotype:
        """Returns a genotype with the decisions of one value added, checked.

        The whole space takes it as well: what was turned off is not in it.

        Raises:
            ValueError: If a decision is missing or unknown, or has no such value.
        """
        decisions = {each.path: each.values for each in self.all_decisions}
        if unknown := sorted(genotype.keys() - decisions.keys()):
            raise ValueError(
                f"genotype must have decisions of {self.name} only. "
                f"Received: {unknown[0]!r}"
            )
        values: OneShotGenotype = {}
        for path, allowed in decisions.items():
            value = genotype.get(path, allowed[0] if len(allowed) == 1 else None)
            if value is None or value not in allowed:
                raise ValueError(
                    f"{path} must be one of {', '.join(map(str, allowed))}. "
                    f"Received: {value!r}"
                )
            values[path] = value
        return values

    def widest(self) -> OneShotGenotype:
        """Returns the genotype of most channels, expansions and kernels."""
        return self._extreme(max)

    def narrowest(self) -> OneShotGenotype:
        """Returns the genotype of fewest channels, expansions and kernels."""
        return self._extreme(min)

    def _extreme(self, choose: Callable[..., Value]) -> OneShotGenotype:
        by_name = {
            operation_name(operation): operation
            for stage in self.stages
            for operation in stage.operations
        }

        def size(value: Value) -> tuple[float, float]:
            if isinstance(value, int):
                return value, 0
            operation = by_name[value]
            if operation is None:
                return -1, 0
            return operation.expansion, operation.kernel_size

        decisions = self.all_decisions
        return {each.path: choose(each.values, key=size) for each in decisions}

    def sample(self, rng: np.random.Generator) -> OneShotGenotype:
        """Returns a genotype with every value equally likely."""
        drawn = {
            each.path: each.values[int(rng.integers(len(each.values)))]
            for each in self.decisions
        }
        return self.complete(drawn)

    def log10_size(self) -> float:
        """Returns the decimal logarithm of the number of genotypes."""
        return sum(math.log10(len(each.values)) for each in self.decisions)

    def without(self, path: str, name: str) -> OneShotSpace:
        """Returns the space in which a place has an operation less.

        Raises:
            ValueError: If the place has no such operation, or no other.
        """
        values = {each.path: each.values for each in self.all_decisions}.get(path, ())
        if name not in values or len(values) < 2:
            raise ValueError(
                f"operation must be one of several of {path}: "
                f"{', '.join(map(str, values)) or 'none'}. Received: {name!r}"
            )
        return dataclasses.replace(self, turned_off=(*self.turned_off, (path, name)))


def operation_path(number: int, index: int) -> str:
    """Returns the path of a place's operation; stages count from 1."""
    return f"stage{number}/block{index}/operation"


def operation_name(operation: Operation | None) -> str:
    """Returns the value that stands for an operation in a genotype."""
    return IDENTITY if operation is None else operation.name


def operation_named(stage: OneShotStage, name: str) -> Operation | None:
    """Returns a stage's operation of a name."""
    return {operation_name(each): each for each in stage.operations}[name]
