"""Multiply-adds and parameters of single operators.

The formulas are plain arithmetic, so that channel counts may be ints (a fixed
network) or scalar tensors (expected counts under gates). One multiply-add counts as
one; biases, activations, pooling and element-wise products count no multiply-adds.
"""

from __future__ import annotations

import dataclasses
from typing import Any

Count = Any  # int, or a scalar tensor of the backend in use


@dataclasses.dataclass(frozen=True)
class Cost:
    """Cost of one operator, block or network."""

    macs: Count = 0
    params: Count = 0

    def __add__(self, other: Cost) -> Cost:
        """Returns the cost of both."""
        return Cost(self.macs + other.macs, self.params + other.params)


def out_size(size_px: int, stride: int) -> int:
    """Returns the height or width after a SAME-padded operator: `ceil(size / s)`."""
    return -(-size_px // stride)


def convolution(
    in_channels: Count,
    out_channels: Count,
    *,
    kernel_size: int = 1,
    out_size_px: int = 1,
    groups: int = 1,
    has_bias: bool = False,
) -> Cost:
    """Convolution: `params = k^2 C_in C_out / g`, `macs = params * H_out * W_out`.

    A dense layer is the case of one 1x1 position.
    """
    weights = kernel_size**2 * in_channels * out_channels
    if groups > 1:
        weights = weights // groups if isinstance(weights, int) else weights / groups
    return Cost(
        macs=weights * out_size_px**2,
        params=weights + out_channels if has_bias else weights,
    )


def depthwise(channels: Count, *, kernel_size: int, out_size_px: int) -> Cost:
    """Depthwise convolution: `params = k^2 C`, `macs = params * H_out * W_out`."""
    weights = kernel_size**2 * channels
    return Cost(macs=weights * out_size_px**2, params=weights)


def batch_norm(channels: Count) -> Cost:
    """Batch norm: two trained parameters a channel; folded away in the exported net."""
    return Cost(params=2 * channels)
