"""Costs of layers and what flows between them: operators with their batch norms."""

from __future__ import annotations

import dataclasses

from mobilenas_tf.costs.ops import Cost, Count, batch_norm, convolution, depthwise
from mobilenas_tf.spec import InvertedResidual


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """Cost of the stem, one block or a part of the head, with what comes out."""

    path: str
    cost: Cost
    out_size_px: int
    out_channels: Count


@dataclasses.dataclass(frozen=True)
class FeatureMap:
    """What flows between layers: a square map of `channels`."""

    channels: Count
    size_px: int


def convolution_layer(
    in_channels: Count,
    out_channels: Count,
    *,
    kernel_size: int = 1,
    out_size_px: int,
) -> Cost:
    """Returns the cost of a convolution without bias and its batch norm."""
    return convolution(
        in_channels, out_channels, kernel_size=kernel_size, out_size_px=out_size_px
    ) + batch_norm(out_channels)


def depthwise_layer(channels: Count, *, kernel_size: int = 3, out_size_px: int) -> Cost:
    """Returns the cost of a depthwise convolution without bias and its batch norm."""
    return depthwise(
        channels, kernel_size=kernel_size, out_size_px=out_size_px
    ) + batch_norm(channels)


def norm_params(block: InvertedResidual) -> int:
    """Returns the scales and offsets of a block's batch norms."""
    kernels = block.expanded_channels * (1 + block.has_expansion)
    return batch_norm(kernels + block.out_channels).params
