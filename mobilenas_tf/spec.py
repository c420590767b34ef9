"""Networks as values: frozen dataclasses that describe one resolved architecture.

Everything that builds, counts, searches, trains, exports or times a network receives
an `Architecture`. Reading and writing JSON is left to `json_io`, the walk over
searchable widths to `widths`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Literal

from mobilenas_tf.detection_spec import DetectionHead, FpnLiteHead, SsdLiteHead
from mobilenas_tf.names import check_name
from mobilenas_tf.spec_fields import (
    ADDED_LATER,
    Activation,
    GateActivation,
    check_member,
    check_positive,
)

InputNormalization = Literal["symmetric", "imagenet"]


def round_channels(channels: float, divisor: int = 8) -> int:
    """Returns `channels` rounded to a multiple of `divisor`, losing at most 10 %.

    Source: MobileNetV2 reference code, `_make_divisible`: the nearest multiple, at
    least `divisor`, and one multiple more where rounding took away over 10 %.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


@dataclasses.dataclass(frozen=True)
class SqueezeExcite:
    """Squeeze-and-excitation: pool, 1x1 to `hidden_channels`, 1x1 back, gate, scale.

    Source: Hu et al., Squeeze-and-Excitation Networks, arXiv:1709.01507, section 3.
    """

    hidden_channels: int
    activation: Activation = "relu"
    gate: GateActivation = "hard_sigmoid"

    def __post_init__(self) -> None:
        check_positive(self, hidden_channels=self.hidden_channels)
        check_member(self, "activation", Activation)
        check_member(self, "gate", GateActivation)


@dataclasses.dataclass(frozen=True)
class Branch:
    """One depthwise kernel of a block and the number of channels that it serves."""

    kernel_size: int
    channels: int

    def __post_init__(self) -> None:
        check_positive(self, kernel_size=self.kernel_size, channels=self.channels)


@dataclasses.dataclass(frozen=True)
class BitWidths:
    """Bits to which a block's kernels and the inputs of its convolutions are rounded.

    `is_input_signed` is false where a ReLU stands in front of the block, so that no
    level is spent on negative inputs. What is added to a residual is not rounded.
    """

    weights: int
    activations: int
    is_input_signed: bool = True

    def __post_init__(self) -> None:
        for name in ("weights", "activations"):
            value = getattr(self, name)
            if type(value) is not int or not 2 <= value <= 8:
                raise ValueError(
                    f"{name} of BitWidths must be an integer from 2 to 8. "
                    f"Received: {name}={value!r}"
                )

    @property
    def label(self) -> str:
        """Both in short: `w4a8` for weights of 4 bits and activations of 8."""
        return f"w{self.weights}a{self.activations}"

    @property
    def is_int8(self) -> bool:
        """Whether these are the widths that int8 kernels compute with."""
        return self.weights == self.activations == 8


@dataclasses.dataclass(frozen=True)
class InvertedResidual:
    """Inverted residual block with one or more parallel depthwise kernels.

    `[1x1 expansion] -> depthwise kernels side by side -> [squeeze-excite] -> 1x1
    projection (linear) [+ input]`, each convolution followed by batch norm. The
    expansion makes the branches' channels together; without it the depthwise
    convolution works on the block's input. `padding_px` is what the depthwise kernels
    see around their input; None is SAME. With `bit_widths` all three kinds of
    convolutions compute with rounded weights and inputs, while training and after it.

    Source: Sandler et al., MobileNetV2, arXiv:1801.04381, section 3.3; parallel
    kernels: Mei et al., AtomNAS, arXiv:1912.09640, section 3.1; grouped 1x1 with
    channel shuffle: Wu et al., FBNet, arXiv:1812.03443, section 3.1.
    """

    out_channels: int
    branches: tuple[Branch, ...]
    stride: int = 1
    has_expansion: bool = True
    has_residual: bool = False
    activation: Activation = "relu6"
    squeeze_excite: SqueezeExcite | None = None
    expansion_groups: int = 1
    projection_groups: int = 1
    has_shuffle: bool = False
    padding_px: int | None = dataclasses.field(default=None, metadata=ADDED_LATER)
    bit_widths: BitWidths | None = dataclasses.field(default=None, metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        check_positive(
            self,
            out_channels=self.out_channels,
            stride=self.stride,
            expansion_groups=self.expansion_groups,
            projection_groups=self.projection_groups,
        )
        check_member(self, "activation", Activation)
        kernels = [branch.kernel_size for branch in self.branches]
        if not kernels or kernels != sorted(set(kernels)):
            raise ValueError(
                "branches of InvertedResidual must have distinct kernel sizes in "
                f"rising order, at least one. Received: kernel sizes {kernels}"
            )
        if not self.has_expansion and len(self.branches) != 1:
            raise ValueError(
                "branches of InvertedResidual must be one where has_expansion is "
                f"false. Received: kernel sizes {kernels}"
            )
        if self.has_residual and self.stride != 1:
            raise ValueError(
                "stride of InvertedResidual must be 1 where has_residual is true. "
                f"Received: stride={self.stride}"
            )
        if self.padding_px is not None and (
            self.padding_px < 0 or len(self.branches) > 1 or self.has_residual
        ):
            raise ValueError(
                "padding_px of InvertedResidual must be at least 0, and not given "
                "with several branches or a residual. "
                f"Received: padding_px={self.padding_px}"
            )
        if self.bit_widths is not None and self.squeeze_excite is not None:
            raise ValueError(
                "bit_widths of InvertedResidual must not be given with squeeze_excite, "
                f"whose layers are not rounded. Received: {self.bit_widths}"
            )

    @property
    def expanded_channels(self) -> int:
        """Channels between expansion and projection, all branches together."""
        return sum(branch.channels for branch in self.branches)


@dataclasses.dataclass(frozen=True)
class Convolution:
    """Convolution, batch norm and activation."""

    out_channels: int
    kernel_size: int = 3
    stride: int = 1
    activation: Activation = "relu6"

    def __post_init__(self) -> None:
        check_positive(
            self,
            out_channels=self.out_channels,
            kernel_size=self.kernel_size,
            stride=self.stride,
        )
        check_member(self, "activation", Activation)


@dataclasses.dataclass(frozen=True)
class Pooling:
    """Max or average pooling with SAME padding; keeps the channels."""

    kind: Literal["max", "average"]
    kernel_size: int = 3
    stride: int = 1

    def __post_init__(self) -> None:
        check_positive(self, kernel_size=self.kernel_size, stride=self.stride)
        if self.kind not in ("max", "average"):
            raise ValueError(
                f"kind of Pooling must be max or average. Received: kind={self.kind!r}"
            )


Block = InvertedResidual | Convolution | Pooling


def output_size_px(block: Block, size_px: int) -> int:
    """Returns the height or width behind a block; SAME padding gives `ceil(n / s)`."""
    if not isinstance(block, InvertedResidual) or block.padding_px is None:
        return -(-size_px // block.stride)
    (branch,) = block.branches
    return (size_px + 2 * block.padding_px - branch.kernel_size) // block.stride + 1


@dataclasses.dataclass(frozen=True)
class Stage:
    """Blocks in sequence. An identity ("skip") is a block that is not there."""

    blocks: tuple[Block, ...] = ()


@dataclasses.dataclass(frozen=True)
class Head:
    """`[1x1 convolution, batch norm] -> global average pooling -> [dense] -> classes`.

    `hidden_channels` is the dense layer after pooling (MobileNetV3's 1,280), with a
    bias unless `has_hidden_bias` is false. Dropout belongs to training, not here.
    """

    num_classes: int
    conv_channels: int | None = None
    hidden_channels: int | None = None
    has_hidden_bias: bool = True
    activation: Activation = "relu6"

    def __post_init__(self) -> None:
        optional = {
            name: getattr(self, name)
            for name in ("conv_channels", "hidden_channels")
            if getattr(self, name) is not None
        }
        check_positive(self, num_classes=self.num_classes, **optional)
        check_member(self, "activation", Activation)


@dataclasses.dataclass(frozen=True)
class Architecture:
    """One complete network: a classifier, or with a `DetectionHead` a detector.

    The input is a float32 RGB image in [-1, 1], `[B, image_size_px, image_size_px,
    3]`. With `input_normalization="imagenet"` the network itself starts by turning
    it into ImageNet's mean and standard deviation. `batch_norm_epsilon` is here as
    it changes what the network computes.
    """

    name: str
    image_size_px: int
    stem: Convolution
    stages: tuple[Stage, ...]
    head: Head | DetectionHead
    input_normalization: InputNormalization = "symmetric"
    batch_norm_epsilon: float = 1e-3

    def __post_init__(self) -> None:
        check_name(self.name, "name of Architecture")
        check_positive(self, image_size_px=self.image_size_px)
        check_member(self, "input_normalization", InputNormalization)
        if not self.batch_norm_epsilon > 0:
            raise ValueError(
                "batch_norm_epsilon of Architecture must be positive. "
                f"Received: batch_norm_epsilon={self.batch_norm_epsilon}"
            )
        size_px = output_size_px(self.stem, self.image_size_px)
        is_signed = not never_negative(self.stem.activation)
        for path, block, in_channels in walk_blocks(self):
            _check_block(path, block, in_channels)
            _check_input_sign(path, block, is_signed)
            is_signed = _is_output_signed(block, is_signed)
            size_px = output_size_px(block, size_px)
            if size_px < 1:
                raise ValueError(
                    f"image_size_px of {self.name} must be larger: {path} has no "
                    f"output. Received: image_size_px={self.image_size_px}"
                )
        head_taps(self)


def _check_block(path: str, block: Block, in_channels: int) -> None:
    if not isinstance(block, InvertedResidual):
        return
    if block.has_residual and block.out_channels != in_channels:
        raise ValueError(
            f"out_channels of {path} must equal its {in_channels} input channels as "
            f"has_residual is true. Received: out_channels={block.out_channels}"
        )
    expanded = block.expanded_channels
    if not block.has_expansion and expanded != in_channels:
        raise ValueError(
            f"branches of {path} must have its {in_channels} input channels as "
            f"has_expansion is false. Received: channels={expanded}"
        )
    for channels, groups, name in (
        (in_channels, block.expansion_groups, "expansion_groups"),
        (expanded, block.expansion_groups, "expansion_groups"),
        (expanded, block.projection_groups, "projection_groups"),
        (block.out_channels, block.projection_groups, "projection_groups"),
    ):
        if channels % groups:
            raise ValueError(
                f"{name} of {path} must divide {channels} channels. "
                f"Received: {name}={groups}"
            )


def never_negative(activation: Activation) -> bool:
    """Returns whether an activation puts out no negative values."""
    return activation in ("relu", "relu6")


def _check_input_sign(path: str, block: Block, is_signed: bool) -> None:
    widths = block.bit_widths if isinstance(block, InvertedResidual) else None
    if is_signed and widths is not None and not widths.is_input_signed:
        raise ValueError(
            f"is_input_signed of {path} must be true, as what comes in may be "
            "negative. Received: is_input_signed=False"
        )


def _is_output_signed(block: Block, is_input_signed: bool) -> bool:
    if isinstance(block, Pooling):
        return is_input_signed
    if isinstance(block, Convolution):
        return not never_negative(block.activation)
    return True


def walk_blocks(architecture: Architecture) -> Iterator[tuple[str, Block, int]]:
    """Yields `(path, block, input channels)` for every block, in order of use.

    Paths read `stage3/block1`; stages count from 1, blocks from 0.
    """
    channels = architecture.stem.out_channels
    for stage_index, stage in enumerate(architecture.stages, start=1):
        for block_index, block in enumerate(stage.blocks):
            yield f"stage{stage_index}/block{block_index}", block, channels
            if not isinstance(block, Pooling):
                channels = block.out_channels


def feature_channels(architecture: Architecture) -> int:
    """Returns the channels that enter the head."""
    channels = architecture.stem.out_channels
    for _, block, _ in walk_blocks(architecture):
        if not isinstance(block, Pooling):
            channels = block.out_channels
    return channels


@dataclasses.dataclass(frozen=True)
class Tap:
    """A feature map that the head works on.

    What the block (or `stem`) at `path` puts out, or its expansion: the channels of all
    its kernels in front of the depthwise convolutions.
    """

    path: str
    is_expansion: bool = False


def head_taps(architecture: Architecture) -> tuple[Tap, ...]:
    """Returns the feature maps that the head takes, fine to coarse.

    Raises:
        ValueError: If a detection head needs strides that the blocks do not have, or
            another image size.
    """
    stride, last = architecture.stem.stride, "stem"
    by_stride = {stride: Tap(last)}
    for path, block, _ in walk_blocks(architecture):
        if block.stride > 1 and isinstance(architecture.head, SsdLiteHead):
            if isinstance(block, InvertedResidual) and block.has_expansion:
                by_stride[stride] = Tap(path, is_expansion=True)
        stride, last = stride * block.stride, path
        by_stride[stride] = Tap(path)
    head = architecture.head
    if isinstance(head, Head):
        return (Tap(last),)
    if isinstance(head, FpnLiteHead) and architecture.image_size_px % 32:
        raise ValueError(
            "image_size_px must be a multiple of 32 for a FpnLiteHead, so that each "
            f"level is half the one below. Received: {architecture.image_size_px}"
        )
    if isinstance(head, FpnLiteHead) and any(
        isinstance(block, InvertedResidual) and block.padding_px is not None
        for _, block, _ in walk_blocks(architecture)
    ):
        raise ValueError(
            f"stages of {architecture.name} must have no block with padding_px for a "
            "FpnLiteHead, so that each level is half the one below"
        )
    needed = (16, 32) if isinstance(head, SsdLiteHead) else (8, 16, 32)
    if missing := [s for s in needed if s not in by_stride]:
        raise ValueError(
            f"stages must have feature maps of the strides {needed} for a "
            f"{type(head).__name__}. Received: none of stride {missing[0]} in "
            f"{architecture.name}"
        )
    return tuple(by_stride[s] for s in needed)


def with_head(
    architecture: Architecture,
    *,
    num_classes: int | None = None,
    image_size_px: int | None = None,
) -> Architecture:
    """Returns the architecture for other classes or another input size; None keeps."""
    head = architecture.head
    if num_classes is not None:
        head = dataclasses.replace(head, num_classes=num_classes)
    if image_size_px is None:
        image_size_px = architecture.image_size_px
    return dataclasses.replace(architecture, head=head, image_size_px=image_size_px)


def describe_block(block: Block) -> str:
    """Returns a block in one line, e.g. `k3 96 + k5 48, stride 2, SE 24, relu6`."""
    if isinstance(block, Pooling):
        return f"{block.kind} pooling {block.kernel_size}, stride {block.stride}"
    if isinstance(block, Convolution):
        size = f"{block.kernel_size}x{block.kernel_size}"
        return f"{size} convolution, stride {block.stride}, {block.activation}"
    parts = [" + ".join(f"k{b.kernel_size} {b.channels}" for b in block.branches)]
    if not block.has_expansion:
        parts.append("no expansion")
    groups = max(block.expansion_groups, block.projection_groups)
    if groups > 1:
        parts.append(f"groups {groups}{', shuffled' * block.has_shuffle}")
    if block.stride > 1:
        parts.append(f"stride {block.stride}")
    if block.padding_px is not None:
        parts.append(f"padding {block.padding_px}")
    if block.has_residual:
        parts.append("residual")
    if block.squeeze_excite is not None:
        parts.append(f"SE {block.squeeze_excite.hidden_channels}")
    if block.bit_widths is not None:
        parts.append(block.bit_widths.label)
    return ", ".join([*parts, block.activation])


def describe_head_layer(head: Head | DetectionHead, path: str) -> str:
    """Returns a part of the head, as costs name it, in a few words."""
    if isinstance(head, Head):
        return "classifier"
    name = path.removeprefix("head/")
    if name.startswith("level"):
        num_shapes = len(head.anchors[int(name.removeprefix("level"))])
        return f"scores and boxes of {num_shapes} anchors a cell"
    if name.startswith("extra"):
        return "1x1, 3x3 depthwise of stride 2, 1x1"
    return "1x1 convolution" if name == "conv" else "feature pyramid"
