"""Spaces of a joint search: FBNetV3's decisions about a network, stage by stage.

Resolution, and for every stage channels, depth, kernels, expansions, squeeze-excite
and activation; the first block of a stage has a kernel and an expansion of its own.
Which spaces exist is left to `joint_spaces`.

Source: Dai et al., FBNetV3, arXiv:2006.02049, section 3.3. Differs: the paper's ranges
are not known in full.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Protocol, cast

from mobilenas_tf.decisions import Integers, Listed, Options, Value
from mobilenas_tf.spec import (
    Activation,
    Architecture,
    Branch,
    Convolution,
    Head,
    InvertedResidual,
    SqueezeExcite,
    Stage,
    round_channels,
)

Span = tuple[int, int]  # lowest and highest
SQUEEZE_SHARE = 0.25  # of a block's input channels


class NetworkSpace(Protocol):
    """What a joint search asks of its networks' space; `JointSpace` is one."""

    @property
    def name(self) -> str:
        """Of the space."""
        ...

    @property
    def decisions(self) -> tuple[Listed, ...]:
        """The decisions of two values or more."""
        ...

    def resolve(self, choices: Mapping[str, Value]) -> Architecture:
        """Returns the network of choices, of whatever else beside the decisions."""
        ...


@dataclasses.dataclass(frozen=True)
class JointStage:
    """What a stage can be; a span of one number, or one option, is no decision.

    Attributes:
        out_channels: Multiples of 8.
        depth: Blocks.
        stride: Of the first block.
        first_expansion: Of the first block.
        expansion: Of the others.
        kernel_sizes: Of the first block, and of the others.
        squeeze_excite: Whether all blocks have it.
        activations: Of all blocks.
    """

    out_channels: Span
    depth: Span
    stride: int
    first_expansion: Span
    expansion: Span
    kernel_sizes: tuple[int, ...] = (3, 5)
    squeeze_excite: tuple[str, ...] = ("off", "on")
    activations: tuple[Activation, ...] = ("relu", "hard_swish")

    def all_decisions(self, prefix: str) -> tuple[Listed, ...]:
        """Returns what there is to decide, with what is fixed."""
        return (
            Integers(f"{prefix}/channels", *self.out_channels, step=8),
            Integers(f"{prefix}/depth", *self.depth),
            Options(f"{prefix}/first_kernel", self.kernel_sizes),
            Options(f"{prefix}/kernel", self.kernel_sizes),
            Integers(f"{prefix}/first_expansion", *self.first_expansion),
            Integers(f"{prefix}/expansion", *self.expansion),
            Options(f"{prefix}/squeeze_excite", self.squeeze_excite),
            Options(f"{prefix}/activation", self.activations),
        )

    def build(self, choices: Mapping[str, Value], in_channels: int) -> Stage:
        """Returns the stage of choices, their paths without the prefix."""
        out_channels = int(choices["channels"])
        activation = cast(Activation, choices["activation"])
        blocks, channels = [], in_channels
        for index in range(int(choices["depth"])):
            first = "first_" if index == 0 else ""
            stride = self.stride if index == 0 else 1
            width = round_channels(channels * int(choices[f"{first}expansion"]))
            squeeze = round_channels(channels * SQUEEZE_SHARE)
            blocks.append(
                InvertedResidual(
                    out_channels=out_channels,
                    branches=(Branch(int(choices[f"{first}kernel"]), width),),
                    stride=stride,
                    has_expansion=width != channels,
                    has_residual=stride == 1 and channels == out_channels,
                    activation=activation,
                    squeeze_excite=SqueezeExcite(squeeze, activation)
                    if choices["squeeze_excite"] == "on"
                    else None,
                )
            )
            channels = out_channels
        return Stage(tuple(blocks))


@dataclasses.dataclass(frozen=True)
class JointSpace:
    """All networks of a joint search.

    Attributes:
        name: Of the space.
        resolution: Lowest and highest side of the images in pixels, and the step.
        stem_channels: Multiples of 8.
        stages: In order.
        head_expansion: Of the 1x1 convolution behind the last stage.
        head_channels: Of the dense layer behind the pooling; None has none.
        num_classes: Of the classifier.
    """

    name: str
    resolution: tuple[int, int, int]
    stem_channels: Span
    stages: tuple[JointStage, ...]
    head_expansion: int
    head_channels: int | None
    num_classes: int

    @property
    def all_decisions(self) -> tuple[Listed, ...]:
        """Every decision, those of one value too."""
        stages = (
            decision
            for number, stage in enumerate(self.stages, start=1)
            for decision in stage.all_decisions(f"stage{number}")
        )
        return (
            Integers("resolution", *self.resolution),
            Integers("stem/channels", *self.stem_channels, step=8),
            *stages,
        )

    @property
    def decisions(self) -> tuple[Listed, ...]:
        """The decisions of two values or more."""
        return tuple(each for each in self.all_decisions if len(each.values) > 1)

    def resolve(self, choices: Mapping[str, Value]) -> Architecture:
        """Returns the network of choices, one for each of `decisions`."""
        values = {each.path: each.values[0] for each in self.all_decisions}
        values |= {path: choices[path] for path in values if path in choices}
        channels = int(values["stem/channels"])
        stem = Convolution(channels, 3, 2, "hard_swish")
        stages = []
        for number, stage in enumerate(self.stages, start=1):
            prefix = f"stage{number}/"
            own = {
                path.removeprefix(prefix): value
                for path, value in values.items()
                if path.startswith(prefix)
            }
            stages.append(stage.build(own, channels))
            channels = int(own["channels"])
        return Architecture(
            name=f"{self.name}_found",
            image_size_px=int(values["resolution"]),
            stem=stem,
            stages=tuple(stages),
            head=Head(
                self.num_classes,
                conv_channels=channels * self.head_expansion,
                hidden_channels=self.head_channels,
                has_hidden_bias=False,
                activation="hard_swish",
            ),
        )
