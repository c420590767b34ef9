"""The network of an `Architecture` in PyTorch, for comparisons of speed.

Covers what the comparisons need: inverted residual blocks with parallel kernels and
without squeeze-excite, and heads with one 1x1 convolution.
"""

from __future__ import annotations

import torch  # pyright: ignore[reportMissingImports]  # optional
from torch import nn  # pyright: ignore[reportMissingImports]  # optional

from mobilenas_tf.layers.convolutions import same_padding
from mobilenas_tf.spec import (
    Architecture,
    Block,
    Head,
    InvertedResidual,
    walk_blocks,
)

_ACTIVATIONS = {"relu": nn.ReLU, "relu6": nn.ReLU6}
_BATCH_NORM_SHARE = 0.01  # of a batch in the moving statistics, as in build_network


def build_torch_network(architecture: Architecture) -> nn.Module:
    """Returns the network, `[B, 3, H, W]` to logits `[B, K]`, with SAME padding.

    Its weighted layers come in the order of use, each branch of a block by itself.

    Raises:
        ValueError: If the architecture has a part that the twin does not cover.
    """
    stem, head = architecture.stem, architecture.head
    blocks = list(walk_blocks(architecture))
    if (
        not all(_is_covered(block) for _, block, _ in blocks)
        or not isinstance(head, Head)
        or head.conv_channels is None
        or head.hidden_channels is not None
        or architecture.input_normalization != "symmetric"
    ):
        raise ValueError(
            "architecture must have inverted residual blocks without squeeze-excite "
            f"and a head of one convolution. Received: {architecture.name}"
        )
    size_px, channels = architecture.image_size_px, stem.out_channels
    layers = _unit(
        3,
        channels,
        stem.activation,
        kernel_size=stem.kernel_size,
        stride=stem.stride,
        size_px=size_px,
    )
    size_px = -(-size_px // stem.stride)
    for _, block, in_channels in blocks:
        if isinstance(block, InvertedResidual):
            layers.append(_Block(block, in_channels, size_px))
            size_px, channels = -(-size_px // block.stride), block.out_channels
    layers += _unit(channels, head.conv_channels, head.activation)
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    layers.append(nn.Linear(head.conv_channels, head.num_classes))
    network = nn.Sequential(*layers)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = architecture.batch_norm_epsilon
            module.momentum = _BATCH_NORM_SHARE
    return network


def _is_covered(block: Block) -> bool:
    return (
        isinstance(block, InvertedResidual)
        and block.squeeze_excite is None
        and block.expansion_groups == block.projection_groups == 1
        and not block.has_shuffle
    )


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
        outputs = [branch(x) for branch in self.branches]
        y = self.project(torch.cat(outputs, 1) if len(outputs) > 1 else outputs[0])
        return x + y if self.has_residual else y


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
    """Returns convolution, batch norm and activation; `size_px` is the input's."""
    before, behind = same_padding(size_px, kernel_size, stride)
    is_even = before == behind
    layers: list[nn.Module] = []
    if not is_even:
        layers.append(nn.ZeroPad2d((before, behind, before, behind)))
    layers += [
        nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding=before if is_even else 0,
            groups=groups,
            bias=False,
        ),
        nn.BatchNorm2d(out_channels),
    ]
    if activation != "linear":
        layers.append(_ACTIVATIONS[activation](inplace=True))
    return layers
