"""The network of an `Architecture` in PyTorch, for comparisons of speed.

Covers what the comparisons need: convolutions, inverted residual blocks with parallel
kernels and without squeeze-excite, and heads with one 1x1 convolution.
"""

from __future__ import annotations

import torch  # pyright: ignore[reportMissingImports]  # optional
from torch import nn  # pyright: ignore[reportMissingImports]  # optional

from mobilenas_tf.layers.convolutions import same_padding
from mobilenas_tf.spec import Architecture, InvertedResidual, walk_blocks

_ACTIVATIONS = {"relu": nn.ReLU, "relu6": nn.ReLU6}


class _Block(nn.Module):
    def __init__(self, block: InvertedResidual, in_channels: int, size_px: int):
        super().__init__()
        self.branches = nn.ModuleList()
        for branch in block.branches:
            layers = []
            if block.has_expansion:
                layers += _unit(in_channels, branch.channels, block.activation)
            layers += _unit(
                branch.channels,
                branch.channels,
                block.activation,
                kernel_size=branch.kernel_size,
                stride=block.stride,
                size_px=size_px,
                groups=branch.channels,
            )
            self.branches.append(nn.Sequential(*layers))
        self.project = nn.Sequential(
            *_unit(block.expanded_channels, block.out_channels, "linear")
        )
        self.has_residual = block.has_residual

    def forward(self, x):
        y = [branch(x) for branch in self.branches]
        y = self.project(torch.cat(y, 1) if len(y) > 1 else y[0])
        return x + y if self.has_residual else y


def build_torch_network(architecture: Architecture) -> nn.Module:
    """Returns the network, `[B, 3, H, W]` to logits `[B, K]`, with SAME padding.

    Raises:
        ValueError: If the architecture has a part that the twin does not cover.
    """
    blocks = list(walk_blocks(architecture))
    head = architecture.head
    is_covered = all(
        isinstance(block, InvertedResidual) and block.squeeze_excite is None
        for _, block, _ in blocks
    )
    if not is_covered or head.conv_channels is None or head.hidden_channels:
        raise ValueError(
            "architecture must have inverted residual blocks without squeeze-excite "
            f"and a head of one convolution. Received: {architecture.name}"
        )
    stem = architecture.stem
    size_px = architecture.image_size_px
    layers = _unit(
        3,
        stem.out_channels,
        stem.activation,
        kernel_size=stem.kernel_size,
        stride=stem.stride,
        size_px=size_px,
    )
    size_px, channels = -(-size_px // stem.stride), stem.out_channels
    for _, block, in_channels in blocks:
        layers.append(_Block(block, in_channels, size_px))
        size_px, channels = -(-size_px // block.stride), block.out_channels
    layers += _unit(channels, head.conv_channels, head.activation)
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    layers.append(nn.Linear(head.conv_channels, head.num_classes))
    return nn.Sequential(*layers)


def _unit(
    in_channels: int,
    out_channels: int,
    activation: str,
    *,
    kernel_size: int = 1,
    stride: int = 1,
    size_px: int = 1,
    groups: int = 1,
) -> list[nn.Module]:
    """Returns convolution, batch norm and activation."""
    before, behind = same_padding(size_px, kernel_size, stride)
    is_even = kernel_size == 1 or before == behind
    padding = 0 if kernel_size == 1 or not is_even else before
    layers: list[nn.Module] = [
        nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            groups=groups,
            bias=False,
        ),
        nn.BatchNorm2d(out_channels, eps=1e-3, momentum=0.03),
    ]
    if not is_even:
        layers.insert(0, nn.ZeroPad2d((before, behind, before, behind)))
    if activation != "linear":
        layers.append(_ACTIVATIONS[activation](inplace=True))
    return layers
