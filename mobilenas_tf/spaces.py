"""The named search spaces, as data.

Each is written like the table of a paper: one row a stage. What a space means is
left to `space`, the published networks to `zoo`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from mobilenas_tf.names import lookup
from mobilenas_tf.one_shot_space import OneShotSpace
from mobilenas_tf.one_shot_spaces import SPACES as ONE_SHOT_SPACES
from mobilenas_tf.one_shot_spaces import named_one_shot_space
from mobilenas_tf.space import OpenWidths, SearchSpace, width_space
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


@dataclasses.dataclass(frozen=True)
class StageRow:
    """One row: `depth` blocks, the first with `stride`; each kernel expands alone."""

    expansion: float
    out_channels: int
    depth: int
    stride: int
    kernel_sizes: tuple[int, ...] = (3, 5, 7)
    activation: Activation = "relu"
    squeeze_excite_ratio: float = 0.0


@dataclasses.dataclass(frozen=True)
class NetworkTable:
    """A whole supernet: input, stem, stages and head."""

    image_size_px: int
    stem_channels: int
    rows: tuple[StageRow, ...]
    head_channels: int
    activation: Activation = "relu"
    open_widths: OpenWidths = "all"


def build_supernet(
    name: str, table: NetworkTable, *, num_classes: int, channel_divisor: int = 8
) -> Architecture:
    """Returns the supernet of a table.

    A row with expansion 1 has no 1x1 expansion: its one kernel works on the input.
    Expanded channels are rounded to multiples of `channel_divisor`.
    """
    channels = table.stem_channels
    stages = []
    for row in table.rows:
        blocks = []
        for index in range(row.depth):
            stride = row.stride if index == 0 else 1
            blocks.append(_block(row, channels, stride, channel_divisor))
            channels = row.out_channels
        stages.append(Stage(tuple(blocks)))
    return Architecture(
        name=name,
        image_size_px=table.image_size_px,
        stem=Convolution(table.stem_channels, 3, 2, table.activation),
        stages=tuple(stages),
        head=Head(num_classes, table.head_channels, activation=table.activation),
    )


def _block(
    row: StageRow, in_channels: int, stride: int, channel_divisor: int
) -> InvertedResidual:
    width = in_channels
    if row.expansion > 1:
        width = round_channels(in_channels * row.expansion, channel_divisor)
    squeeze_excite = None
    if row.squeeze_excite_ratio:
        expanded = width * len(row.kernel_sizes)
        hidden = round_channels(expanded * row.squeeze_excite_ratio)
        squeeze_excite = SqueezeExcite(hidden)
    return InvertedResidual(
        out_channels=row.out_channels,
        branches=tuple(Branch(kernel, width) for kernel in row.kernel_sizes),
        stride=stride,
        has_expansion=row.expansion > 1,
        has_residual=stride == 1 and in_channels == row.out_channels,
        activation=row.activation,
        squeeze_excite=squeeze_excite,
    )


def _rows(
    *rows: tuple[float, int, int, int], activation: Activation = "relu"
) -> tuple[StageRow, ...]:
    """Makes rows from `(expansion, channels, depth, stride)`, kernels 3, 5 and 7."""
    return tuple(
        StageRow(*row, (3,) if row[0] == 1 else (3, 5, 7), activation) for row in rows
    )


# Mei et al., AtomNAS, arXiv:1912.09640, table 1; stem of AtomNAS-A. The tables for
# other sizes are ours: fewer blocks, and strides that leave a 3x3 to 4x4 map; that for
# 160 px, of half the channels and stride 32, is for detectors that a CPU searches.
_ATOMNAS_224 = ((1, 16, 1, 1), (6, 24, 4, 2), (6, 40, 4, 2), (6, 80, 4, 2))
_ATOMNAS_224 += ((6, 96, 4, 1), (6, 192, 4, 2), (6, 320, 1, 1))
_ROWS_BY_SIZE = {
    224: _ATOMNAS_224,
    160: (
        *((1, 16, 1, 1), (4, 24, 2, 2), (4, 32, 2, 2), (4, 48, 3, 2)),
        *((4, 64, 2, 1), (4, 96, 2, 2)),
    ),
    96: (
        *((1, 16, 1, 1), (6, 24, 2, 2), (6, 40, 3, 2), (6, 80, 3, 2)),
        *((6, 96, 2, 1), (6, 192, 3, 2), (6, 320, 1, 1)),
    ),
    32: ((1, 16, 1, 1), (6, 24, 2, 1), (6, 40, 2, 2), (6, 80, 2, 2), (6, 96, 2, 1)),
    16: ((1, 16, 1, 1), (4, 24, 2, 1), (4, 40, 2, 2)),
}
_HEAD_CHANNELS = {224: 1280, 160: 192, 96: 1280, 32: 384, 16: 128}


def _mobilenet_v2_table(image_size_px: int, activation: Activation) -> NetworkTable:
    return NetworkTable(
        image_size_px=image_size_px,
        stem_channels=16,
        rows=_rows(*_ROWS_BY_SIZE[image_size_px], activation=activation),
        head_channels=_HEAD_CHANNELS[image_size_px],
        activation=activation,
    )


def _quantized_table(image_size_px: int) -> NetworkTable:
    """Quantisation first: ReLU6, no squeeze-excite, no 7x7 kernels.

    XNNPACK has fast kernels for 3x3 and 5x5 depthwise convolutions only; on an x86
    host an int8 7x7 took 25 times as long as a 5x5 (16x16x48).
    """
    table = _mobilenet_v2_table(image_size_px, "relu6")
    rows = tuple(
        dataclasses.replace(row, kernel_sizes=row.kernel_sizes[:2])
        for row in table.rows
    )
    return dataclasses.replace(table, rows=rows)


def _mobilenet_v3_table(image_size_px: int) -> NetworkTable:
    """Hard-swish and squeeze-excite from the third stage on, ReLU before.

    Where they begin follows Howard et al., MobileNetV3, arXiv:1905.02244, table 1;
    the ratio is AtomNAS+'s idea of squeeze-excite at MobileNetV3's ratio of 1/4.
    """
    rows = tuple(
        row
        if index < 2
        else dataclasses.replace(
            row, activation="hard_swish", squeeze_excite_ratio=0.25 / 3
        )
        for index, row in enumerate(_mobilenet_v2_table(image_size_px, "relu").rows)
    )
    return dataclasses.replace(
        _mobilenet_v2_table(image_size_px, "hard_swish"), rows=rows
    )


def _atomnas_table(image_size_px: int) -> NetworkTable:
    """AtomNAS as published: kernels are searched, blocks' outputs stay as they are.

    The table for 32 px is ours, at about half the channels of the others for this size:
    it is searched in minutes on a CPU.
    """
    table = _mobilenet_v2_table(image_size_px, "relu")
    if image_size_px == 32:
        table = dataclasses.replace(
            table,
            rows=_rows(
                *((1, 16, 1, 1), (6, 16, 2, 1), (6, 24, 2, 2)),
                *((6, 40, 2, 2), (6, 48, 2, 1)),
            ),
            head_channels=256,
        )
    return dataclasses.replace(table, open_widths="kernels")


def _fbnet_table(image_size_px: int) -> NetworkTable:
    """FBNet's macro-architecture; blocks may have 3x3 and 5x5 kernels of any width.

    Source: Wu et al., FBNet, arXiv:1812.03443, table 1. Differs: widths of kernels in
    place of one block out of nine (expansion 1, 3 or 6; grouped 1x1 convolutions are
    left out, as they tie channels to their neighbours). The table for 32 px is ours.
    """
    rows = {
        224: (
            *((1, 16, 1, 1), (6, 24, 4, 2), (6, 32, 4, 2), (6, 64, 4, 2)),
            *((6, 112, 4, 1), (6, 184, 4, 2), (6, 352, 1, 1)),
        ),
        32: ((1, 16, 1, 1), (6, 16, 2, 1), (6, 24, 2, 2), (6, 48, 2, 2), (6, 64, 2, 1)),
    }[image_size_px]
    return NetworkTable(
        image_size_px=image_size_px,
        stem_channels=16,
        rows=tuple(
            dataclasses.replace(row, kernel_sizes=row.kernel_sizes[:2])
            for row in _rows(*rows)
        ),
        head_channels={224: 1504, 32: 256}[image_size_px],
    )


def _widths_table(image_size_px: int) -> NetworkTable:
    """Channel widths only: MobileNetV2 with 3x3 kernels at 1.5 times its channels."""
    rows = {
        # Sandler et al., MobileNetV2, arXiv:1801.04381, table 2.
        224: (
            *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
            *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
        ),
        32: _ROWS_BY_SIZE[32],
    }[image_size_px]
    wide = _rows(
        *((t, round_channels(1.5 * c), n, s) for t, c, n, s in rows), activation="relu6"
    )
    return NetworkTable(
        image_size_px=image_size_px,
        stem_channels=round_channels(1.5 * {224: 32, 32: 16}[image_size_px]),
        rows=tuple(dataclasses.replace(row, kernel_sizes=(3,)) for row in wide),
        head_channels=round_channels(1.5 * _HEAD_CHANNELS[image_size_px]),
        activation="relu6",
    )


TABLES: dict[str, Callable[[], NetworkTable]] = {
    "figs_mobilenet_v2": lambda: _mobilenet_v2_table(224, "relu"),
    "figs_mobilenet_v2_160": lambda: _mobilenet_v2_table(160, "relu"),
    "figs_mobilenet_v2_96": lambda: _mobilenet_v2_table(96, "relu"),
    "figs_mobilenet_v2_32": lambda: _mobilenet_v2_table(32, "relu"),
    "figs_mobilenet_v2_16": lambda: _mobilenet_v2_table(16, "relu"),
    "figs_atomnas": lambda: _atomnas_table(224),
    "figs_atomnas_32": lambda: _atomnas_table(32),
    "figs_mobilenet_v3": lambda: _mobilenet_v3_table(224),
    "figs_mobilenet_v3_96": lambda: _mobilenet_v3_table(96),
    "figs_mobilenet_v3_32": lambda: _mobilenet_v3_table(32),
    "figs_quantized": lambda: _quantized_table(224),
    "figs_quantized_160": lambda: _quantized_table(160),
    "figs_quantized_96": lambda: _quantized_table(96),
    "figs_quantized_32": lambda: _quantized_table(32),
    "figs_quantized_16": lambda: _quantized_table(16),
    "figs_fbnet": lambda: _fbnet_table(224),
    "figs_fbnet_32": lambda: _fbnet_table(32),
    "figs_widths": lambda: _widths_table(224),
    "figs_widths_32": lambda: _widths_table(32),
}


def named_space(
    name: str, *, num_classes: int = 1000, channel_divisor: int = 8
) -> SearchSpace:
    """Returns a search space by name: a table's, or the widths of a one-shot space.

    Raises:
        ValueError: If there is none of that name; the message has the nearest ones.
    """
    if name in ONE_SHOT_SPACES:
        space = named_one_shot_space(name, num_classes=num_classes)
        return width_space(
            name, one_shot_supernet(space), channel_divisor=channel_divisor
        )
    table = _table(name)
    supernet = build_supernet(name, table, num_classes=num_classes)
    return width_space(
        name,
        supernet,
        channel_divisor=channel_divisor,
        open_widths=table.open_widths,
    )


def one_shot_supernet(space: OneShotSpace) -> Architecture:
    """Returns the supernet of widths with all that a one-shot space may choose.

    Every place has each of its kernels, as wide as its largest expansion, side by side.
    A block that loses all its kernels is the identity; the first of a stage cannot.
    """
    widest = space.resolve(space.widest(), name=space.name)
    stages, channels = [], widest.stem.out_channels
    for row, stage in zip(space.stages, widest.stages, strict=True):
        blocks = []
        for block in stage.blocks:
            kernels: dict[int, int] = {}
            for operation in filter(None, row.operations):
                width = space.hidden_channels(operation, channels)
                size = operation.kernel_size
                kernels[size] = max(width, kernels.get(size, 0))
            branches = tuple(Branch(*each) for each in sorted(kernels.items()))
            blocks.append(dataclasses.replace(block, branches=branches))
            channels = row.out_channels[-1]
        stages.append(Stage(tuple(blocks)))
    return dataclasses.replace(widest, stages=tuple(stages))


def space_image_size(name: str) -> int:
    """Returns the input size in pixels of a named space."""
    if name in ONE_SHOT_SPACES:
        return named_one_shot_space(name).image_size_px
    return _table(name).image_size_px


def _table(name: str) -> NetworkTable:
    names = {**TABLES, **dict.fromkeys(ONE_SHOT_SPACES)}
    lookup("space", name, names)
    return TABLES[name]()
