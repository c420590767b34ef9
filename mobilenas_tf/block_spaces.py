"""The named spaces of operators, as data: FBNet's at three sizes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from mobilenas_tf.block_space import BlockSpace, Candidate
from mobilenas_tf.names import lookup
from mobilenas_tf.spec import (
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


@dataclasses.dataclass(frozen=True)
class BlockRow:
    """`depth` places, the first with `stride`, all with `out_channels`."""

    out_channels: int
    depth: int
    stride: int


@dataclasses.dataclass(frozen=True)
class BlockTable:
    """A whole space: input, stem, rows and head."""

    image_size_px: int
    stem_channels: int
    rows: tuple[BlockRow, ...]
    head_channels: int


def fbnet_candidates(
    in_channels: int, out_channels: int, stride: int
) -> tuple[Candidate, ...]:
    """Returns FBNet's nine candidates, eight where an identity does not fit.

    3x3 and 5x5 kernels with expansions 1, 3 and 6; expansion 1 also with 1x1
    convolutions of two groups and a shuffle; skip. An expansion of 1 has no 1x1
    convolution in front, as in the released networks.

    Source: Wu et al., FBNet, arXiv:1812.03443, table 2.
    """
    fits = stride == 1 and in_channels == out_channels
    candidates = [
        Candidate(
            f"k{kernel_size}_e{expansion}{'_g2' * (groups > 1)}",
            InvertedResidual(
                out_channels=out_channels,
                branches=(
                    Branch(kernel_size, round_channels(in_channels * expansion)),
                ),
                stride=stride,
                has_expansion=round_channels(in_channels * expansion) != in_channels,
                has_residual=fits,
                activation="relu",
                projection_groups=groups,
                has_shuffle=groups > 1,
            ),
        )
        for kernel_size in KERNEL_SIZES
        for expansion, groups in EXPANSIONS
    ]
    return (*candidates, SKIP) if fits else tuple(candidates)


# Table 1 of the FBNet paper, its networks for 96 px (arXiv:1812.03443, section 4.2, by
# the layers of the released one), and a table of ours for 32 px.
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
            places.append(fbnet_candidates(channels, row.out_channels, stride))
            channels = row.out_channels
        stages.append(tuple(places))
    return BlockSpace(
        name=name,
        image_size_px=table.image_size_px,
        stem=Convolution(table.stem_channels, 3, 2, "relu"),
        stages=tuple(stages),
        head=Head(num_classes, conv_channels=table.head_channels, activation="relu"),
    )
