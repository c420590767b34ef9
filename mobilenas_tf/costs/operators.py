"""The operators of a network in their places, each with the widths it hangs on.

`latency_parts` says what an operator is; what one costs between measured widths is
left to `width_latency`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from typing import NamedTuple

from mobilenas_tf.costs.latency_parts import (
    Depthwise,
    Layer,
    Part,
    Pointwise,
    Rearrangement,
)
from mobilenas_tf.spec import (
    Architecture,
    Convolution,
    Head,
    InvertedResidual,
    SqueezeExcite,
    output_size_px,
    walk_blocks,
)
from mobilenas_tf.widths import kernel_path, output_groups


class Width(NamedTuple):
    """Channels, and the path of the width group that they are; None where fixed."""

    path: str | None
    channels: int


@dataclasses.dataclass(frozen=True)
class PlacedOperator:
    """An operator, as a runtime fuses it, in its place in a network.

    Attributes:
        layer: What it is. Its own channels are those of the architecture.
        in_size_px: Height and width of its input.
        inputs: Widths that its input's channels are the sum of.
        output: Width of its output or hidden channels; None if it has none of its own.
        presence: Path of the probability that it is there; None where it always is.
    """

    layer: Layer
    in_size_px: int
    inputs: tuple[Width, ...]
    output: Width | None = None
    presence: str | None = None

    @property
    def in_channels(self) -> int:
        """Channels of the input in the architecture."""
        return sum(width.channels for width in self.inputs)

    def part(self, in_channels: int, out_channels: int | None = None) -> Part:
        """Returns the operator with other channels."""
        layer = self.layer
        if out_channels is not None:
            field = (
                "hidden_channels"
                if isinstance(layer, SqueezeExcite | Head)
                else "out_channels"
            )
            layer = dataclasses.replace(layer, **{field: out_channels})
        return Part(layer, in_channels, self.in_size_px)


def placed_operators(
    architecture: Architecture, open_paths: Collection[str] = ()
) -> tuple[PlacedOperator, ...]:
    """Returns the operators of a classifier, in order of use.

    Args:
        architecture: The (largest) network.
        open_paths: Width groups that are searched; all others are fixed.

    Raises:
        ValueError: If the network is a detector.
    """
    head = architecture.head
    if not isinstance(head, Head):
        raise ValueError(
            "architecture must be a classifier: a table has no detection heads. "
            f"Received: {architecture.name}"
        )

    def width(path: str, channels: int) -> Width:
        return Width(path if path in open_paths else None, channels)

    output_of = output_groups(architecture)
    stem, size_px = architecture.stem, architecture.image_size_px
    current = width("stem/output", stem.out_channels)
    operators = [PlacedOperator(stem, size_px, (Width(None, 3),), current)]
    size_px = output_size_px(stem, size_px)
    for path, block, _ in walk_blocks(architecture):
        if isinstance(block, Convolution):
            output = width(output_of[path], block.out_channels)
            operators.append(PlacedOperator(block, size_px, (current,), output))
            current = output
        elif isinstance(block, InvertedResidual):
            kernels = tuple(
                width(kernel_path(path, branch.kernel_size), branch.channels)
                if block.has_expansion
                else current
                for branch in block.branches
            )
            output = width(output_of[path], block.out_channels)
            hidden = None
            if block.squeeze_excite is not None:
                hidden = width(
                    f"{path}/squeeze_excite", block.squeeze_excite.hidden_channels
                )
            widths = _BlockWidths(current, kernels, output, hidden)
            operators += _of_block(path, block, size_px, widths)
            current = output
        else:
            operators.append(PlacedOperator(block, size_px, (current,)))
        size_px = output_size_px(block, size_px)
    if head.conv_channels is not None:
        conv = width("head/conv", head.conv_channels)
        layer = Pointwise(head.conv_channels, head.activation)
        operators.append(PlacedOperator(layer, size_px, (current,), conv))
        current = conv
    hidden = head.hidden_channels
    operators.append(
        PlacedOperator(
            dataclasses.replace(head, conv_channels=None),
            size_px,
            (current,),
            None if hidden is None else width("head/hidden", hidden),
        )
    )
    return tuple(operators)


class _BlockWidths(NamedTuple):
    source: Width
    kernels: tuple[Width, ...]
    output: Width
    hidden: Width | None  # of squeeze-excite


def _of_block(
    path: str,
    block: InvertedResidual,
    size_px: int,
    widths: _BlockWidths,
) -> Iterator[PlacedOperator]:
    source, kernels, output, hidden = widths
    out_size_px = output_size_px(block, size_px)
    for branch, kernel in zip(block.branches, kernels, strict=True):
        if block.has_expansion:
            layer = Pointwise(branch.channels, block.activation, block.expansion_groups)
            yield PlacedOperator(layer, size_px, (source,), kernel)
        if block.has_shuffle:
            groups = max(block.expansion_groups, block.projection_groups)
            shuffle = Rearrangement("shuffle", groups)
            yield PlacedOperator(shuffle, size_px, (kernel,))
        depthwise = Depthwise(
            branch.kernel_size, block.stride, block.activation, block.padding_px
        )
        yield PlacedOperator(depthwise, size_px, (kernel,))
    if len(kernels) > 1:
        yield PlacedOperator(Rearrangement("concat"), out_size_px, kernels)
    squeeze = block.squeeze_excite
    if squeeze is not None:
        yield PlacedOperator(squeeze, out_size_px, kernels, hidden)
    projection = Pointwise(block.out_channels, groups=block.projection_groups)
    yield PlacedOperator(projection, out_size_px, kernels, output)
    if block.has_residual:
        presence = f"{path}/presence" if block.has_expansion else None
        yield PlacedOperator(
            Rearrangement("sum"), out_size_px, (output,), presence=presence
        )
