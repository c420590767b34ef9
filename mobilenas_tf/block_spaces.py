"""The named spaces of operators, as data.

FBNet's at three sizes, and of bit widths at two: there every place has one block, and
its candidates are the widths that it computes with.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

from mobilenas_tf.block_space import BlockSpace, Candidate
from mobilenas_tf.names import lookup
from mobilenas_tf.spec import (
    BitWidths,
    Branch,
    Convolution,
    Head,
    InvertedResidual,
    round_channels,
)

KERNEL_SIZES = (3, 5)
# Expansion, and groups of the 1x1 convolutions.
EXPANSIONS = ((1, 1), (1, 2), (3, 1), (6, 1))
SKIP = Candidate("skip", None)
# Bits of weights and of activations: 8, 12, 16, 32 and 64 bit operations for a
# multiply-add. The list is ours: even steps, and kernels thinner than their inputs.
BIT_WIDTHS = ((2, 4), (3, 4), (4, 4), (4, 8), (8, 8))

# (input channels, output channels, stride) -> what may stand there
CandidateFunction = Callable[[int, int, int], tuple[Candidate, ...]]


def fbnet_candidates(
    in_channels: int, out_channels: int, stride: int
) -> tuple[Candidate, ...]:
    """Returns FBNet's nine candidates, eight where an identity does not fit.

    3x3 and 5x5 kernels with expansions 1, 3 and 6; expansion 1 also with 1x1
    convolutions of two groups and a shuffle; skip. An expansion of 1 has no 1x1
    convolution in front, as in the released networks.

    Source: Wu et al., FBNet, arXiv:1812.03443, table 2.
    """
    candidates = tuple(
        Candidate(
            f"k{kernel_size}_e{expansion}{'_g2' * (groups > 1)}",
            dataclasses.replace(
                _block(in_channels, out_channels, stride, kernel_size, expansion),
                projection_groups=groups,
                has_shuffle=groups > 1,
            ),
        )
        for kernel_size in KERNEL_SIZES
        for expansion, groups in EXPANSIONS
    )
    fits = stride == 1 and in_channels == out_channels
    return (*candidates, SKIP) if fits else candidates


def bit_width_candidates(
    in_channels: int,
    out_channels: int,
    stride: int,
    *,
    expansion: int = 6,
    is_input_signed: bool = True,
) -> tuple[Candidate, ...]:
    """Returns MobileNetV2's block once for each of `BIT_WIDTHS`: `w2a4` and so on.

    Source: Wu et al., Mixed precision quantization of ConvNets via differentiable
    neural architecture search, arXiv:1812.00090. Differs: the paper's are ResNets.

    Args:
        in_channels: Of the block.
        out_channels: Of the block.
        stride: Of the block.
        expansion: 1 has no 1x1 convolution in front.
        is_input_signed: See `BitWidths`.
    """
    block = _block(in_channels, out_channels, stride, 3, expansion)
    all_widths = [BitWidths(*bits, is_input_signed) for bits in BIT_WIDTHS]
    return tuple(
        Candidate(widths.label, dataclasses.replace(block, bit_widths=widths))
        for widths in all_widths
    )


def _block(
    in_channels: int, out_channels: int, stride: int, kernel_size: int, expansion: int
) -> InvertedResidual:
    width = round_channels(in_channels * expansion)
    return InvertedResidual(
        out_channels=out_channels,
        branches=(Branch(kernel_size, width),),
        stride=stride,
        has_expansion=width != in_channels,
        has_residual=stride == 1 and in_channels == out_channels,
        activation="relu",
    )


@dataclasses.dataclass(frozen=True)
class BlockRow:
    """`depth` places, the first with `stride`, all with `out_channels`."""

    out_channels: int
    depth: int
    stride: int
    candidates: CandidateFunction = fbnet_candidates


@dataclasses.dataclass(frozen=True)
class BlockTable:
    """A whole space: input, stem, rows and head."""

    image_size_px: int
    stem_channels: int
    rows: tuple[BlockRow, ...]
    head_channels: int


# MobileNetV2's first block has no expansion and stands behind the stem's ReLU.
_first_bit_widths = functools.partial(
    bit_width_candidates, expansion=1, is_input_signed=False
)


def _mobilenet_v2_rows(*rows: tuple[int, int, int]) -> tuple[BlockRow, ...]:
    first, *others = rows
    return (
        BlockRow(*first, _first_bit_widths),
        *(BlockRow(*row, bit_width_candidates) for row in others),
    )


# Table 1 of the FBNet paper, its networks for 96 px (arXiv:1812.03443, section 4.2, by
# the layers of the released one), and a table of ours for 32 px. For bit widths
# MobileNetV2's table (arXiv:1801.04381, table 2), with ReLU, and one of ours for 32 px.
TABLES: dict[str, Callable[[], BlockTable]] = {
    "fbnet": lambda: BlockTable(
        224,
        16,
        (
            *(BlockRow(16, 1, 1), BlockRow(24, 4, 2), BlockRow(32, 4, 2)),
            *(BlockRow(64, 4, 2), BlockRow(112, 4, 1), BlockRow(184, 4, 2)),
            BlockRow(352, 1, 1),
        ),
        1984,
    ),
    "fbnet_96": lambda: BlockTable(
        96,
        8,
        (
            *(BlockRow(8, 1, 1), BlockRow(16, 2, 2), BlockRow(16, 2, 2)),
            *(BlockRow(24, 1, 2), BlockRow(40, 1, 1), BlockRow(72, 2, 2)),
            BlockRow(128, 1, 1),
        ),
        1416,
    ),
    "fbnet_32": lambda: BlockTable(
        32,
        16,
        (
            *(BlockRow(16, 1, 1), BlockRow(16, 2, 1), BlockRow(24, 3, 2)),
            *(BlockRow(48, 3, 2), BlockRow(64, 3, 1)),
        ),
        256,
    ),
    "bits_mobilenet_v2_224": lambda: BlockTable(
        224,
        32,
        _mobilenet_v2_rows(
            *((16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2)),
            *((96, 3, 1), (160, 3, 2), (320, 1, 1)),
        ),
        1280,
    ),
    "bits_mobilenet_v2_32": lambda: BlockTable(
        32,
        16,
        _mobilenet_v2_rows((16, 1, 1), (24, 2, 2), (32, 2, 2), (48, 2, 1)),
        192,
    ),
}


def named_block_space(name: str, *, num_classes: int = 1000) -> BlockSpace:
    """Returns a space of operators by name.

    Raises:
        ValueError: If there is none of that name; the message has the nearest ones.
    """
    table = lookup("space", name, TABLES)()
    channels = table.stem_channels
    stages = []
    for row in table.rows:
        places = []
        for index in range(row.depth):
            stride = row.stride if index == 0 else 1
            places.append(row.candidates(channels, row.out_channels, stride))
            channels = row.out_channels
        stages.append(tuple(places))
    return BlockSpace(
        name=name,
        image_size_px=table.image_size_px,
        stem=Convolution(table.stem_channels, 3, 2, "relu"),
        stages=tuple(stages),
        head=Head(num_classes, conv_channels=table.head_channels, activation="relu"),
    )
