"""Published networks as data, each with its published counts and their source.

Every network is written like the table of its paper, one row a stage. Search spaces
are left to `spaces`, ImageNet weights to `models.pretrained`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Literal

from mobilenas_tf.names import lookup
from mobilenas_tf.spaces import TABLES, NetworkTable, StageRow, build_supernet
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
    walk_blocks,
    with_head,
)
from mobilenas_tf.widths import kernel_path, resize
from mobilenas_tf.zoo_fbnet import fbnet

NUM_CLASSES = 1000  # ImageNet's: all counts are published for it
_K3, _K5 = (3,), (5,)


def mobilenet_v2(width_multiplier: float = 1.0) -> Architecture:
    """Returns MobileNetV2 for 1,000 classes at 224 px.

    The multiplier scales every layer; the last convolution never falls below 1,280
    channels.

    Source: Sandler et al., MobileNetV2, arXiv:1801.04381, table 2; rounding and last
    layer as in the reference code (tensorflow/models, slim/nets/mobilenet).

    Raises:
        ValueError: If `width_multiplier` is not positive.
    """
    if not width_multiplier > 0:
        raise ValueError(
            "width_multiplier must be positive. "
            f"Received: width_multiplier={width_multiplier}"
        )
    rows = (  # expansion, output channels, depth, stride
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    table = NetworkTable(
        image_size_px=224,
        stem_channels=round_channels(32 * width_multiplier),
        rows=tuple(
            StageRow(
                expansion,
                round_channels(channels * width_multiplier),
                depth,
                stride,
                kernel_sizes=_K3,
                activation="relu6",
            )
            for expansion, channels, depth, stride in rows
        ),
        head_channels=max(1280, round_channels(1280 * width_multiplier)),
        activation="relu6",
    )
    suffix = "" if width_multiplier == 1 else f"_{width_multiplier:g}"
    return build_supernet(f"mobilenet_v2{suffix}", table, num_classes=NUM_CLASSES)


@dataclasses.dataclass(frozen=True)
class _V3Row:
    """One stage of MobileNetV3; `expanded_channels` has one count a block."""

    kernel_size: int
    out_channels: int
    has_squeeze_excite: bool
    activation: Activation
    stride: int
    expanded_channels: tuple[int, ...]


# Howard et al., Searching for MobileNetV3, arXiv:1905.02244, tables 1 and 2.
_V3_LARGE = (
    _V3Row(3, 16, False, "relu", 1, (16,)),
    _V3Row(3, 24, False, "relu", 2, (64, 72)),
    _V3Row(5, 40, True, "relu", 2, (72, 120, 120)),
    _V3Row(3, 80, False, "hard_swish", 2, (240, 200, 184, 184)),
    _V3Row(3, 112, True, "hard_swish", 1, (480, 672)),
    _V3Row(5, 160, True, "hard_swish", 2, (672, 960, 960)),
)
_V3_SMALL = (
    _V3Row(3, 16, True, "relu", 2, (16,)),
    _V3Row(3, 24, False, "relu", 2, (72, 88)),
    _V3Row(5, 40, True, "hard_swish", 2, (96, 240, 240)),
    _V3Row(5, 48, True, "hard_swish", 1, (120, 144)),
    _V3Row(5, 96, True, "hard_swish", 2, (288, 576, 576)),
)


def _mobilenet_v3(
    name: str, rows: tuple[_V3Row, ...], hidden_channels: int
) -> Architecture:
    """Returns MobileNetV3; its last convolution repeats the last expansion."""
    channels = stem_channels = 16
    stages = []
    for row in rows:
        blocks = []
        for index, expanded in enumerate(row.expanded_channels):
            stride = row.stride if index == 0 else 1
            blocks.append(_v3_block(row, channels, expanded, stride))
            channels = row.out_channels
        stages.append(Stage(tuple(blocks)))
    return Architecture(
        name=name,
        image_size_px=224,
        stem=Convolution(stem_channels, 3, 2, "hard_swish"),
        stages=tuple(stages),
        head=Head(
            num_classes=NUM_CLASSES,
            conv_channels=rows[-1].expanded_channels[-1],
            hidden_channels=hidden_channels,
            activation="hard_swish",
        ),
    )


def _v3_block(
    row: _V3Row, in_channels: int, expanded: int, stride: int
) -> InvertedResidual:
    squeeze_excite = None
    if row.has_squeeze_excite:
        squeeze_excite = SqueezeExcite(round_channels(expanded // 4))
    return InvertedResidual(
        out_channels=row.out_channels,
        branches=(Branch(row.kernel_size, expanded),),
        stride=stride,
        has_expansion=expanded != in_channels,
        has_residual=stride == 1 and in_channels == row.out_channels,
        activation=row.activation,
        squeeze_excite=squeeze_excite,
    )


# Tan et al., MnasNet, arXiv:1807.11626, figure 7: expansion, channels, depth, stride.
_MNASNET_A1 = (
    StageRow(1, 16, 1, 1, _K3),
    StageRow(6, 24, 2, 2, _K3),
    StageRow(3, 40, 3, 2, _K5),
    StageRow(6, 80, 4, 2, _K3),
    StageRow(6, 112, 2, 1, _K3),
    StageRow(6, 160, 3, 2, _K5),
    StageRow(6, 320, 1, 1, _K3),
)
_MNASNET_B1 = (
    StageRow(1, 16, 1, 1, _K3),
    StageRow(3, 24, 3, 2, _K3),
    StageRow(3, 40, 3, 2, _K5),
    StageRow(6, 80, 3, 2, _K5),
    StageRow(6, 96, 2, 1, _K3),
    StageRow(6, 192, 4, 2, _K5),
    StageRow(6, 320, 1, 1, _K3),
)
# Tan and Le, EfficientNet, arXiv:1905.11946, table 1.
_EFFICIENTNET_B0 = (
    StageRow(1, 16, 1, 1, _K3, "swish"),
    StageRow(6, 24, 2, 2, _K3, "swish"),
    StageRow(6, 40, 2, 2, _K5, "swish"),
    StageRow(6, 80, 3, 2, _K3, "swish"),
    StageRow(6, 112, 3, 1, _K5, "swish"),
    StageRow(6, 192, 4, 2, _K5, "swish"),
    StageRow(6, 320, 1, 1, _K3, "swish"),
)


def _stem_32_network(
    name: str, rows: tuple[StageRow, ...], activation: Activation = "relu"
) -> Architecture:
    table = NetworkTable(224, 32, rows, 1280, activation)
    return build_supernet(name, table, num_classes=NUM_CLASSES)


def _with_squeeze_excite(
    architecture: Architecture, *, stages: frozenset[int], activation: Activation
) -> Architecture:
    """Adds squeeze-excites of a quarter of each block's *input* channels.

    MnasNet and EfficientNet gate with a sigmoid, unlike MobileNetV3. `stages` count
    from 1.
    """
    channels = {path: count for path, _, count in walk_blocks(architecture)}

    def squeezed(number: int, stage: Stage) -> Stage:
        hidden = [
            channels[f"stage{number}/block{index}"] // 4
            for index in range(len(stage.blocks))
        ]
        return Stage(
            tuple(
                dataclasses.replace(
                    block, squeeze_excite=SqueezeExcite(count, activation, "sigmoid")
                )
                for block, count in zip(stage.blocks, hidden, strict=True)
            )
        )

    return dataclasses.replace(
        architecture,
        stages=tuple(
            squeezed(number, stage) if number in stages else stage
            for number, stage in enumerate(architecture.stages, start=1)
        ),
    )


def _mnasnet_a1() -> Architecture:
    return _with_squeeze_excite(
        _stem_32_network("mnasnet_a1", _MNASNET_A1),
        stages=frozenset({3, 5, 6}),
        activation="relu",
    )


def _efficientnet_b0() -> Architecture:
    network = _stem_32_network("efficientnet_b0", _EFFICIENTNET_B0, "swish")
    return dataclasses.replace(
        _with_squeeze_excite(
            network, stages=frozenset(range(1, 8)), activation="swish"
        ),
        input_normalization="imagenet",
    )


# Channels of the 3x3, 5x5 and 7x7 kernels that AtomNAS-A kept, by block of stages 2
# to 7. Structure as published with the code of Mei et al., arXiv:1912.09640.
_ATOMNAS_A = (
    ((16, 12, 9), (19, 2, 1), (9, 7, 1), (14, 1, 0)),
    ((46, 49, 50), (27, 19, 14), (22, 11, 3), (30, 14, 3)),
    ((127, 130, 111), (33, 25, 45), (38, 12, 34), (53, 23, 19)),
    ((344, 196, 168), (44, 18, 27), (37, 29, 18), (52, 21, 24)),
    ((381, 364, 342), (123, 76, 162), (179, 107, 212), (238, 111, 171)),
    ((654, 495, 546),),
)


def _atomnas_supernet(stem_channels: int) -> Architecture:
    table = TABLES["figs_mobilenet_v2"]()
    return build_supernet(
        "atomnas_supernet",
        dataclasses.replace(table, stem_channels=stem_channels),
        num_classes=NUM_CLASSES,
    )


def _atomnas_a() -> Architecture:
    widths = {
        kernel_path(f"stage{number}/block{index}", kernel_size): channels
        for number, blocks in enumerate(_ATOMNAS_A, start=2)
        for index, kernels in enumerate(blocks)
        for kernel_size, channels in zip((3, 5, 7), kernels, strict=True)
    }
    return dataclasses.replace(resize(_atomnas_supernet(16), widths), name="atomnas_a")


def _detection_block(
    expansion: int,
    in_channels: int,
    out_channels: int,
    kernel_size: int = 3,
    stride: int = 1,
    *,
    has_residual: bool = True,
) -> InvertedResidual:
    """Returns a block of MobileDet-CPU; an expansion of 1 is none."""
    expanded = expansion * in_channels
    return InvertedResidual(
        out_channels=out_channels,
        branches=(Branch(kernel_size, expanded),),
        stride=stride,
        has_expansion=expansion > 1,
        has_residual=has_residual,
        activation="hard_swish",
        squeeze_excite=SqueezeExcite(
            round_channels(expanded * 0.25), "hard_swish", "sigmoid"
        ),
    )


def _mobiledet_cpu() -> Architecture:
    """Returns MobileDet-CPU's backbone under a plain classifier."""
    block = partial(_detection_block, has_residual=False)
    wide, narrow = _detection_block(8, 72, 72), _detection_block(4, 72, 72)
    stages = (
        (block(1, 16, 8),),
        (block(4, 8, 16, stride=2),),
        (block(8, 16, 32, stride=2), *3 * (_detection_block(4, 32, 32),)),
        (
            block(8, 32, 72, 5, 2),
            wide,
            _detection_block(4, 72, 72, 5),
            narrow,
            block(8, 72, 72),
            *3 * (wide,),
        ),
        (
            block(8, 72, 104, 5, 2),
            *2 * (_detection_block(4, 104, 104, 5),),
            _detection_block(4, 104, 104),
            block(8, 104, 144),
        ),
    )
    return Architecture(
        name="mobiledet_cpu",
        image_size_px=320,
        stem=Convolution(16, 3, 2, "hard_swish"),
        stages=tuple(Stage(blocks) for blocks in stages),
        head=Head(NUM_CLASSES),
    )


# How a source counts: `all` as `costs.network` does; without batch norms' scale and
# offset; or as `costs.fbnet_counting` says.
Counting = Literal["all", "without_batch_norm", "fbnet"]


@dataclasses.dataclass(frozen=True)
class ZooEntry:
    """A network, and its counts to the digits that its source gives.

    `build` returns it for 1,000 classes at the size the counts hold for. A count that
    nobody published is None.
    """

    build: Callable[[], Architecture]
    published_params: int | None
    published_macs: int | None
    source: str
    counting: Counting = "all"


_SLIM_V2 = "checkpoint table of tensorflow/models, slim/nets/mobilenet"

# Other multipliers of MobileNetV2: `mobilenet_v2(width_multiplier)`.
ZOO: dict[str, ZooEntry] = {
    "mobilenet_v2": ZooEntry(
        mobilenet_v2, 3_504_872, 300_774_000, "arXiv:1801.04381; torchvision's layers"
    ),
    "mobilenet_v2_0.35": ZooEntry(
        partial(mobilenet_v2, 0.35),
        1_660_000,
        59_000_000,
        _SLIM_V2,
        "without_batch_norm",
    ),
    "mobilenet_v2_0.5": ZooEntry(
        partial(mobilenet_v2, 0.5),
        1_950_000,
        97_000_000,
        _SLIM_V2,
        "without_batch_norm",
    ),
    "mobilenet_v2_0.75": ZooEntry(
        partial(mobilenet_v2, 0.75),
        2_610_000,
        209_000_000,
        _SLIM_V2,
        "without_batch_norm",
    ),
    "mobilenet_v2_1.3": ZooEntry(
        partial(mobilenet_v2, 1.3),
        5_340_000,
        509_000_000,
        _SLIM_V2,
        "without_batch_norm",
    ),
    "mobilenet_v2_1.4": ZooEntry(
        partial(mobilenet_v2, 1.4),
        6_060_000,
        582_000_000,
        _SLIM_V2,
        "without_batch_norm",
    ),
    "mobilenet_v3_large": ZooEntry(
        partial(_mobilenet_v3, "mobilenet_v3_large", _V3_LARGE, 1280),
        5_483_032,
        216_590_000,
        "arXiv:1905.02244, table 1; torchvision's layers",
    ),
    "mobilenet_v3_small": ZooEntry(
        partial(_mobilenet_v3, "mobilenet_v3_small", _V3_SMALL, 1024),
        2_542_856,
        56_510_000,
        "arXiv:1905.02244, table 2; torchvision's layers",
    ),
    "mnasnet_a1": ZooEntry(
        _mnasnet_a1, 3_887_038, 311_580_000, "arXiv:1807.11626, figure 7; timm's layers"
    ),
    "mnasnet_b1": ZooEntry(
        partial(_stem_32_network, "mnasnet_b1", _MNASNET_B1),
        4_383_312,
        314_420_000,
        "arXiv:1807.11626; torchvision's layers",
    ),
    "atomnas_a": ZooEntry(
        _atomnas_a, 3_885_272, 258_230_000, "arXiv:1912.09640; structure with its code"
    ),
    "efficientnet_b0": ZooEntry(
        _efficientnet_b0,
        5_288_548,
        385_800_000,
        "arXiv:1905.11946, table 1; torchvision's layers",
    ),
    "atomnas_supernet": ZooEntry(
        partial(_atomnas_supernet, 32),
        11_240_000,
        1_521_000_000,
        "arXiv:1912.09640, table 1, with AtomNAS-C's stem of 32 channels",
    ),
}

_FBNET, _FBNET_V2, _FBNET_V3 = (
    f"{paper}; models released by its authors"
    for paper in ("arXiv:1812.03443", "arXiv:2004.05565", "arXiv:2006.02049")
)


def _fbnet_entry(
    name: str, params: int | None, macs: int | None, source: str
) -> dict[str, ZooEntry]:
    return {name: ZooEntry(partial(fbnet, name), params, macs, source, "fbnet")}


ZOO |= {
    **_fbnet_entry("fbnet_a", 4_270_290, 244_526_360, _FBNET),
    **_fbnet_entry("fbnet_b", 4_766_670, 291_101_640, _FBNET),
    **_fbnet_entry("fbnet_c", 5_525_420, 378_233_440, _FBNET),
    **_fbnet_entry("fbnet_v2_f1", 5_999_408, 56_410_560, _FBNET_V2),
    **_fbnet_entry("fbnet_v2_f2", 5_999_408, 85_441_392, _FBNET_V2),
    **_fbnet_entry("fbnet_v2_f3", 6_899_504, 121_824_000, _FBNET_V2),
    **_fbnet_entry("fbnet_v2_f4", 6_994_824, 238_351_984, _FBNET_V2),
    **_fbnet_entry("fbnet_v2_l1", 8_496_520, 326_023_008, _FBNET_V2),
    **_fbnet_entry("fbnet_v2_l2", 8_496_520, 423_912_768, _FBNET_V2),
    # A comment says 217 M FLOPs; nothing else is public.
    **_fbnet_entry("fbnet_v3_a0", None, None, _FBNET_V3),
    **_fbnet_entry("fbnet_v3_a", 8_542_224, 356_598_280, _FBNET_V3),
    **_fbnet_entry("fbnet_v3_b", 8_542_224, 461_550_136, _FBNET_V3),
    **_fbnet_entry("fbnet_v3_c", 9_907_136, 556_969_904, _FBNET_V3),
    **_fbnet_entry("fbnet_v3_d", 10_237_552, 644_420_352, _FBNET_V3),
    **_fbnet_entry("fbnet_v3_e", 10_699_464, 762_046_336, _FBNET_V3),
    **_fbnet_entry("fbnet_v3_f", 13_803_072, 1_181_644_520, _FBNET_V3),
    **_fbnet_entry("fbnet_v3_g", 16_513_648, 2_129_656_384, _FBNET_V3),
    "mobiledet_cpu": ZooEntry(
        _mobiledet_cpu,
        None,
        None,
        "Xiong et al., MobileDets, arXiv:2004.14525; TF Object Detection API",
    ),
}


def zoo_architecture(
    name: str, *, num_classes: int = NUM_CLASSES, image_size_px: int | None = None
) -> Architecture:
    """Returns a published network, for other classes or another input size if asked.

    Raises:
        ValueError: If there is none of that name; the message has the nearest ones.
    """
    return with_head(
        lookup("architecture", name, ZOO).build(),
        num_classes=num_classes,
        image_size_px=image_size_px,
    )
