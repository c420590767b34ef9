"""The FBNet family as tables: one line a stage, blocks as their authors write them.

A block reads `k5 c24 s2 e5.4566 [se] [hs] [g2] [pad1] [x3]`: depthwise kernel, output
channels, stride, expansion, then squeeze-excite, hard-swish in place of ReLU, grouped
1x1 convolutions with a shuffle between them, another padding than SAME, and how often;
repeats have stride 1. `skip` is an identity, or a 1x1 convolution where the channels
change.
`conv c1984` ends in a 1x1 convolution, `pool c1984 e6` in one that expands, the pooling
and a dense layer, as MobileNetV3 does.

Sources: Wu et al., FBNet, arXiv:1812.03443; Wan et al., FBNetV2, arXiv:2004.05565; Dai
et al., FBNetV3, arXiv:2006.02049; blocks and widths as in the released models.
"""

from __future__ import annotations

import dataclasses

from mobilenas_tf.spec import (
    Activation,
    Architecture,
    Block,
    Branch,
    Convolution,
    Head,
    InvertedResidual,
    SqueezeExcite,
    Stage,
)

NUM_CLASSES = 1000
SQUEEZE_SHARE = 0.25


@dataclasses.dataclass(frozen=True)
class FbnetTable:
    """A network of the family.

    Attributes:
        image_size_px: That its counts are published for.
        stem: Channels of the 3x3 convolution of stride 2.
        stages: One line each, blocks separated by `|`.
        head: The last line.
        stem_activation: Of the stem.
        squeezes_input: Whether squeeze-excites have a quarter of the block's input
            channels (V3), not of its expanded ones.
    """

    image_size_px: int
    stem: int
    stages: tuple[str, ...]
    head: str
    stem_activation: Activation = "hard_swish"
    squeezes_input: bool = False


_V2_F1 = FbnetTable(
    128,
    8,
    (
        "k5 c8 e1",
        "k5 c24 s2 e5.4566 | k5 c24 e4.7912",
        "k5 c32 s2 e5.3501 se | k5 c24 e4.5379 se",
        "k5 c56 s2 e5.7133 hs | k3 c56 e4.1212 hs | k3 c56 e5.1246 se hs | skip c80 | "
        "k5 c80 e4.507 se hs | k5 c80 e1.7712 se hs",
        "k3 c144 s2 e4.5685 se hs | k5 c144 e5.84 se hs | k5 c144 e6.8754 se hs | "
        "skip c224",
    ),
    "pool c1600 e6",
)
_V2_L1 = FbnetTable(
    224,
    16,
    (
        "k3 c16 e1 hs",
        "k5 c24 s2 e5.4566 hs | k5 c24 e1.7912 hs | k3 c24 e1.7912 hs | "
        "k5 c24 e1.7912 hs",
        "k5 c40 s2 e5.3501 se hs | k5 c32 e3.5379 se hs | k5 c32 e4.5379 se hs x2",
        "k5 c64 s2 e5.7133 hs | k3 c64 e2.1212 hs | skip c64 | k3 c64 e3.1246 hs | "
        "k3 c112 e5.0333 hs | k5 c112 e2.507 se hs | k5 c112 e1.7712 se hs | "
        "k5 c112 e2.7712 se hs | k5 c112 e3.7712 se hs x2",
        "k3 c184 s2 e5.5685 se hs | k5 c184 e2.84 se hs x2 | k5 c184 e4.8754 se hs x2 "
        "| skip c224",
    ),
    "pool c1984 e6",
)
_V3_A = FbnetTable(
    224,
    16,
    (
        "k3 c16 e1 hs x2",
        "k5 c24 s2 e4 hs | k5 c24 e2 hs x3",
        "k5 c40 s2 e5 se hs | k5 c40 e3 se hs x4",
        "k5 c72 s2 e5 hs pad1 | k3 c72 e3 hs x4 | k3 c120 e5 se hs | "
        "k5 c120 e3 se hs x5",
        "k3 c184 s2 e6 se hs pad0 | k5 c184 e4 se hs x5 | k5 c224 e6 se hs",
    ),
    "pool c1984 e6",
    squeezes_input=True,
)

TABLES: dict[str, FbnetTable] = {
    "fbnet_a": FbnetTable(
        224,
        16,
        (
            "skip c16",
            "k3 c24 s2 e3 | k3 c24 e1 | skip c24 | skip c24",
            "k5 c32 s2 e6 | k3 c32 e3 | k5 c32 e1 | k3 c32 e3",
            "k5 c64 s2 e6 | k5 c64 e3 | k5 c64 e1 g2 | k5 c64 e6 | k3 c112 e6 | "
            "k5 c112 e1 g2 | k5 c112 e3 | k3 c112 e1 g2",
            "k5 c184 s2 e6 | k5 c184 e6 | k5 c184 e3 | k5 c184 e6 | k5 c352 e6",
        ),
        "conv c1504",
        "relu",
    ),
    "fbnet_b": FbnetTable(
        224,
        16,
        (
            "k3 c16 e1",
            "k3 c24 s2 e6 | k5 c24 e1 | k3 c24 e1 | k3 c24 e1",
            "k5 c32 s2 e6 | k5 c32 e3 | k3 c32 e6 | k5 c32 e6",
            "k5 c64 s2 e6 | k5 c64 e6 | skip c64 | k5 c64 e3 | k5 c112 e6 | "
            "k3 c112 e1 | k5 c112 e1 | k5 c112 e3",
            "k5 c184 s2 e6 | k5 c184 e1 | k5 c184 e6 | k5 c184 e6 | k3 c352 e6",
        ),
        "conv c1984",
        "relu",
    ),
    "fbnet_c": FbnetTable(
        224,
        16,
        (
            "k3 c16 e1",
            "k3 c24 s2 e6 | skip c24 | k3 c24 e1 | k3 c24 e1",
            "k5 c32 s2 e6 | k5 c32 e3 | k5 c32 e6 | k3 c32 e6",
            "k5 c64 s2 e6 | k5 c64 e3 | k5 c64 e6 | k5 c64 e6 | k5 c112 e6 | "
            "k5 c112 e6 | k5 c112 e6 | k5 c112 e3",
            "k5 c184 s2 e6 | k5 c184 e6 | k5 c184 e6 | k5 c184 e6 | k3 c352 e6",
        ),
        "conv c1984",
        "relu",
    ),
    "fbnet_v2_f1": _V2_F1,
    "fbnet_v2_f2": dataclasses.replace(_V2_F1, image_size_px=160),
    "fbnet_v2_f3": dataclasses.replace(_V2_F1, image_size_px=192, head="pool c1984 e6"),
    "fbnet_v2_f4": FbnetTable(
        224,
        16,
        (
            "k3 c16 e1 hs",
            "k5 c24 s2 e5.4566 hs | k5 c24 e1.7912 hs x2",
            "k5 c32 s2 e5.3501 se | k5 c32 e3.5379 se | k5 c32 e4.5379 se x2",
            "k5 c64 s2 e5.7133 hs | k3 c64 e2.1212 hs | skip c64 | "
            "k3 c104 e5.0333 hs | k5 c104 e2.507 se hs | k5 c104 e1.7712 se hs | "
            "k5 c112 e3.7712 se hs",
            "k3 c184 s2 e5.5685 se hs | k5 c184 e2.84 se hs | "
            "k5 c184 e4.8754 se hs | skip c224",
        ),
        "pool c1984 e6",
    ),
    "fbnet_v2_l1": _V2_L1,
    "fbnet_v2_l2": dataclasses.replace(_V2_L1, image_size_px=256),
    "fbnet_v3_a0": FbnetTable(
        224,
        12,
        (
            "k3 c12 e1 hs",
            "k3 c24 s2 e4 hs | k3 c24 e2 hs x2",
            "k3 c40 s2 e4 se hs | k3 c40 e2 se hs x2",
            "k5 c72 s2 e4 hs | k3 c72 e3 hs x2 | k3 c104 e4 se hs | "
            "k5 c104 e3 se hs x3",
            "k3 c176 s2 e4 se hs | k3 c176 e4 se hs x3 | k3 c208 e5 se hs",
        ),
        "pool c1984 e5",
        squeezes_input=True,
    ),
    "fbnet_v3_a": _V3_A,
    "fbnet_v3_b": dataclasses.replace(_V3_A, image_size_px=248),
    "fbnet_v3_c": FbnetTable(
        248,
        16,
        (
            "k3 c16 e1 hs x2",
            "k5 c24 s2 e5 hs | k3 c24 e3 hs x4",
            "k5 c48 s2 e5 se hs | k5 c48 e2 se hs x4",
            "k5 c88 s2 e4 hs pad1 | k3 c88 e3 hs x4 | k3 c120 e4 se hs | "
            "k5 c120 e3 se hs x5",
            "k5 c216 s2 e5 se hs pad1 | k5 c216 e5 se hs x5 | k5 c216 e6 se hs",
        ),
        "pool c1984 e6",
        squeezes_input=True,
    ),
    "fbnet_v3_d": FbnetTable(
        248,
        24,
        (
            "k3 c16 e1 hs x2",
            "k3 c24 s2 e5 hs | k3 c24 e2 hs x5",
            "k5 c40 s2 e4 se hs | k3 c40 e3 se hs x4",
            "k3 c72 s2 e5 hs | k3 c72 e3 hs x4 | k3 c128 e5 se hs | "
            "k5 c128 e3 se hs x6",
            "k3 c208 s2 e6 se hs | k5 c208 e5 se hs x5 | k5 c240 e6 se hs",
        ),
        "pool c1984 e6",
        squeezes_input=True,
    ),
    "fbnet_v3_e": FbnetTable(
        264,
        24,
        (
            "k3 c16 e1 hs x3",
            "k5 c24 s2 e4 hs | k5 c24 e2 hs x4",
            "k5 c48 s2 e4 se hs | k5 c48 e3 se hs x4",
            "k5 c80 s2 e5 hs pad1 | k3 c80 e3 hs x4 | k3 c128 e5 se hs | "
            "k5 c128 e3 se hs x7",
            "k3 c216 s2 e6 se hs | k5 c216 e5 se hs x5 | k5 c240 e6 se hs",
        ),
        "pool c1984 e6",
        squeezes_input=True,
    ),
    "fbnet_v3_f": FbnetTable(
        272,
        24,
        (
            "k3 c24 e1 hs x3",
            "k5 c32 s2 e4 hs | k5 c32 e2 hs x4",
            "k5 c56 s2 e4 se hs | k5 c56 e3 se hs x4",
            "k5 c88 s2 e5 hs | k3 c88 e3 hs x4 | k3 c144 e5 se hs | "
            "k5 c144 e3 se hs x8",
            "k3 c248 s2 e6 se hs pad0 | k5 c248 e5 se hs x6 | k5 c272 e6 se hs",
        ),
        "pool c1984 e6",
        squeezes_input=True,
    ),
    "fbnet_v3_g": FbnetTable(
        320,
        32,
        (
            "k3 c24 e1 hs x3",
            "k5 c40 s2 e4 hs | k5 c40 e2 hs x4",
            "k5 c56 s2 e4 se hs | k5 c56 e3 se hs x4",
            "k5 c104 s2 e5 hs | k3 c104 e3 hs x4 | k3 c160 e5 se hs | "
            "k5 c160 e3 se hs x8",
            "k3 c264 s2 e6 se hs | k5 c264 e5 se hs x6 | k5 c288 e6 se hs x2",
        ),
        "pool c1984 e6",
        squeezes_input=True,
    ),
}


def fbnet(name: str) -> Architecture:
    """Returns a network of the family for 1,000 classes, by its name in `TABLES`.

    Differs: without the biases in front of batch norms that FBNet-A, -B and -C were
    released with, as they change nothing.
    """
    table = TABLES[name]
    channels, stages = table.stem, []
    for line in table.stages:
        blocks: list[Block] = []
        for text in line.split("|"):
            row = _Row.parse(text)
            for index in range(row.repeats):
                repeated = row if index == 0 else dataclasses.replace(row, stride=1)
                blocks += _blocks(repeated, channels, table.squeezes_input)
                channels = row.out_channels
        stages.append(Stage(tuple(blocks)))
    return Architecture(
        name=name,
        image_size_px=table.image_size_px,
        stem=Convolution(table.stem, 3, 2, table.stem_activation),
        stages=tuple(stages),
        head=_head(_Row.parse(table.head), channels),
    )


@dataclasses.dataclass(frozen=True)
class _Row:
    """A block of a table."""

    kind: str
    out_channels: int
    stride: int = 1
    expansion: float = 1.0
    has_squeeze_excite: bool = False
    activation: Activation = "relu"
    groups: int = 1
    padding_px: int | None = None
    repeats: int = 1

    @classmethod
    def parse(cls, text: str) -> _Row:
        kind, *words = text.split()
        fields: dict[str, object] = {}
        for word in words:
            if word == "se":
                fields["has_squeeze_excite"] = True
            elif word == "hs":
                fields["activation"] = "hard_swish"
            elif word.startswith("pad"):
                fields["padding_px"] = int(word.removeprefix("pad"))
            elif word.startswith("e"):
                fields["expansion"] = float(word[1:])
            else:
                names = {"c": "out_channels", "s": "stride", "g": "groups"}
                fields[(names | {"x": "repeats"})[word[0]]] = int(word[1:])
        return cls(kind, **fields)  # pyright: ignore[reportArgumentType]


def _divisible(channels: float) -> int:
    """Returns the nearest multiple of 8, one more where it took away over 5 %."""
    rounded = max(8, int(channels / 8 + 0.5) * 8)
    return rounded + 8 if rounded < 0.95 * channels else rounded


def _blocks(row: _Row, in_channels: int, squeezes_input: bool) -> list[Block]:
    if row.kind == "skip":
        same = row.out_channels == in_channels
        return [] if same else [Convolution(row.out_channels, 1, 1, "relu")]
    expanded = _divisible(in_channels * row.expansion)
    squeeze_excite = None
    if row.has_squeeze_excite:
        of = expanded / row.expansion if squeezes_input else expanded
        squeeze_excite = SqueezeExcite(
            _divisible(int(SQUEEZE_SHARE * of)), row.activation
        )
    has_expansion = expanded != in_channels
    return [
        InvertedResidual(
            out_channels=row.out_channels,
            branches=(Branch(int(row.kind.removeprefix("k")), expanded),),
            stride=row.stride,
            has_expansion=has_expansion,
            has_residual=row.stride == 1 and in_channels == row.out_channels,
            activation=row.activation,
            squeeze_excite=squeeze_excite,
            expansion_groups=row.groups if has_expansion else 1,
            projection_groups=row.groups,
            has_shuffle=row.groups > 1,
            padding_px=row.padding_px,
        )
    ]


def _head(row: _Row, in_channels: int) -> Head:
    if row.kind == "conv":
        return Head(NUM_CLASSES, conv_channels=row.out_channels, activation="relu")
    return Head(
        NUM_CLASSES,
        conv_channels=_divisible(in_channels * row.expansion),
        hidden_channels=row.out_channels,
        has_hidden_bias=False,
        activation="hard_swish",
    )
