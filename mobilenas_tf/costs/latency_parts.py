"""The parts of a network whose latency is measured: whole blocks, or single operators.

A whole fused block in its place (channels, map size) is measured as a `.tflite` file of
its own: what a runtime fuses is never torn apart, as sums of single operators do (Zhang
et al., nn-Meter, MobiSys 2021, section 2). Where widths are searched there are too many
different blocks; operators then are the parts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Literal

from mobilenas_tf.block_space import BlockSpace
from mobilenas_tf.spec import (
    Architecture,
    Block,
    Convolution,
    Head,
    InvertedResidual,
    Pooling,
    SqueezeExcite,
    feature_channels,
    output_size_px,
    walk_blocks,
)
from mobilenas_tf.spec_fields import Activation


@dataclasses.dataclass(frozen=True)
class Pointwise:
    """A 1x1 convolution with its activation."""

    out_channels: int
    activation: Activation = "linear"
    groups: int = 1


@dataclasses.dataclass(frozen=True)
class Depthwise:
    """A depthwise convolution with its activation."""

    kernel_size: int
    stride: int
    activation: Activation
    padding_px: int | None = None


@dataclasses.dataclass(frozen=True)
class Rearrangement:
    """What computes nothing: halves joined, residual sum of two maps, shuffle."""

    kind: Literal["concat", "sum", "shuffle"]
    groups: int = 1


Operator = Pointwise | Depthwise | Rearrangement | SqueezeExcite
Layer = Block | Head | Operator


@dataclasses.dataclass(frozen=True)
class Part:
    """The stem, a block or the head of a network in its place: one entry of a table."""

    layer: Layer
    in_channels: int
    in_size_px: int

    @property
    def key(self) -> str:
        """The part's name in a table; parts that compute alike have the same.

        Raises:
            ValueError: If it is a block of fewer bits than what is measured.
        """
        place = f"{self.in_channels}x{self.in_size_px}x{self.in_size_px}"
        return f"{place} {_layer_key(self.layer)}"


def _layer_key(layer: Layer) -> str:
    if isinstance(layer, Operator):
        return _operator_key(layer)
    if isinstance(layer, Head):
        parts = [f"head conv{layer.conv_channels or 0}"]
        parts += [f"hidden{layer.hidden_channels or 0}", layer.activation]
        return " ".join([*parts, f"classes{layer.num_classes}"])
    if isinstance(layer, Pooling):
        return f"{layer.kind} k{layer.kernel_size} s{layer.stride}"
    if isinstance(layer, Convolution):
        name = f"conv{layer.out_channels} k{layer.kernel_size} s{layer.stride}"
        return f"{name} {layer.activation}"
    return _block_key(layer)


def _block_key(layer: InvertedResidual) -> str:
    widths = layer.bit_widths
    if widths is not None and not widths.is_int8:
        raise ValueError(
            "blocks of a latency table must have 8-bit weights and activations: it "
            f"measures what int8 kernels execute. Received: {widths.label}"
        )
    branches = "+".join(f"k{b.kernel_size}:{b.channels}" for b in layer.branches)
    parts = [f"block{layer.out_channels} {branches} s{layer.stride} {layer.activation}"]
    if not layer.has_expansion:
        parts.append("no-expansion")
    if layer.has_residual:
        parts.append("residual")
    if layer.squeeze_excite is not None:
        squeeze = layer.squeeze_excite
        parts.append(f"se{squeeze.hidden_channels}/{squeeze.activation}/{squeeze.gate}")
    if layer.expansion_groups > 1 or layer.projection_groups > 1:
        groups = f"g{layer.expansion_groups}/{layer.projection_groups}"
        parts.append(groups + "/shuffle" * layer.has_shuffle)
    if layer.padding_px is not None:
        parts.append(f"pad{layer.padding_px}")
    return " ".join(parts)


def _operator_key(operator: Operator) -> str:
    if isinstance(operator, Pointwise):
        key = f"pointwise{operator.out_channels} {operator.activation}"
        return key + (f" g{operator.groups}" if operator.groups > 1 else "")
    if isinstance(operator, Depthwise):
        key = f"depthwise k{operator.kernel_size} s{operator.stride}"
        padding = operator.padding_px
        return f"{key} {operator.activation}" + (
            "" if padding is None else f" pad{padding}"
        )
    if isinstance(operator, SqueezeExcite):
        hidden, gate = operator.hidden_channels, operator.gate
        return f"squeeze{hidden} {operator.activation}/{gate}"
    return operator.kind + (f" g{operator.groups}" if operator.groups > 1 else "")


def network_parts(architecture: Architecture) -> Iterator[Part]:
    """Yields stem, blocks and head of a classifier, in order.

    Raises:
        ValueError: If the network is a detector.
    """
    head = architecture.head
    if not isinstance(head, Head):
        raise ValueError(
            "architecture must be a classifier: a table has no detection heads. "
            f"Received: {architecture.name}"
        )
    yield Part(architecture.stem, 3, architecture.image_size_px)
    size_px = output_size_px(architecture.stem, architecture.image_size_px)
    for _, block, channels in walk_blocks(architecture):
        yield Part(block, channels, size_px)
        size_px = output_size_px(block, size_px)
    yield Part(head, feature_channels(architecture), size_px)


def space_parts(space: BlockSpace) -> dict[str, Part]:
    """Returns every part of a space's networks by its key, each once."""
    parts = [Part(space.stem, 3, space.image_size_px)]
    for place in space.places:
        parts += [
            Part(candidate.block, place.in_channels, place.in_size_px)
            for candidate in place.candidates
            if candidate.block is not None
        ]
    parts.append(Part(space.head, *space.features))
    return {part.key: part for part in parts}
