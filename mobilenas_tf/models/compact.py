"""The one builder: an `Architecture` becomes a Keras model.

The same walk builds final networks and, with `gates`, supernets; the two differ in
nothing but the gates. Layer names follow the paths of the architecture with dots:
`stem.conv`, `stage2.block0.kernel5.depthwise.conv`, `head.classifier`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from mobilenas_tf.models.detection_head import build_detection_head
from mobilenas_tf.models.layer_maker import (
    FeatureMap,
    GateFunction,
    LayerMaker,
    Tensor,
    layer_name,
    scaled,
)
from mobilenas_tf.models.layer_set import FUSED, LayerSet
from mobilenas_tf.spec import (
    Architecture,
    Block,
    Branch,
    Convolution,
    Head,
    InvertedResidual,
    Pooling,
    SqueezeExcite,
    Tap,
    head_taps,
    never_negative,
    walk_blocks,
)
from mobilenas_tf.widths import kernel_path, output_groups

# ImageNet's mean and standard deviation of RGB in [0, 1] (torchvision, Keras).
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STDDEV = (0.229, 0.224, 0.225)


def build_network(
    architecture: Architecture,
    *,
    layer_set: LayerSet = FUSED,
    gates: Mapping[str, GateFunction] | None = None,
    dropout_rate: float = 0.0,
    drop_path_rate: float = 0.0,
    batch_norm_momentum: float = 0.99,
) -> Any:
    """Returns a Keras model of images `[B, H, W, 3]` in [-1, 1] to the head's outputs.

    A classifier gives logits `[B, K]`, a detector what `build_detection_head` says.

    Args:
        architecture: What to build.
        layer_set: The flavour of the layers.
        gates: Functions `(x, norm) -> mask [C]` by width path, for a supernet; asked
            by every block that writes the group, with the batch norm (None where there
            is none) that makes the channels. Masks multiply its scale and offset: as
            all activations map 0 to 0, a mask of 0 leaves an exact 0.
        dropout_rate: Before the classifier, while training.
        drop_path_rate: Share of images that skip the last block, if it has a residual,
            while training; of the blocks before it in proportion to their place.
        batch_norm_momentum: Share of the moving statistics that each step keeps.
    """
    image, outputs = connect_network(
        architecture,
        layer_set=layer_set,
        gates=gates,
        dropout_rate=dropout_rate,
        drop_path_rate=drop_path_rate,
        batch_norm_momentum=batch_norm_momentum,
    )
    name = scope_name(architecture.name)
    return layer_set.keras.Model(image, outputs, name=name)


def scope_name(name: str) -> str:
    """Returns a network's name as one that TensorFlow takes for a scope."""
    start = "" if re.match("[A-Za-z0-9.]", name) else "network_"
    return start + re.sub(r"[^A-Za-z0-9_.-]", "_", name)


def build_part(
    path: str,
    part: Block | Head | SqueezeExcite,
    in_channels: int,
    in_size_px: int,
    *,
    layer_set: LayerSet = FUSED,
    batch_norm_momentum: float = 0.99,
    batch_norm_epsilon: float = 1e-3,
    dropout_rate: float = 0.0,
) -> Any:
    """Returns a block, a squeeze-excite or a classifier's head as a model of its own.

    Args:
        path: What the names of its layers begin with.
        part: What it is.
        in_channels: Channels of its input.
        in_size_px: Height and width of its input.
        layer_set: See `build_network`, as for all that follow.
        batch_norm_momentum: As there.
        batch_norm_epsilon: As there.
        dropout_rate: As there.
    """
    maker = LayerMaker(
        layer_set,
        {},
        {path: f"{path}/output"},
        batch_norm_momentum,
        batch_norm_epsilon,
        dropout_rate,
    )
    x = layer_set.keras.Input(
        (in_size_px, in_size_px, in_channels), name=layer_name(path, "input")
    )
    if isinstance(part, Head):
        outputs = _classifier(maker, part, x)
    elif isinstance(part, InvertedResidual):
        branches = _branches(maker, path, part, FeatureMap(x))
        outputs = _inverted_residual(maker, path, part, FeatureMap(x), branches).x
    elif isinstance(part, SqueezeExcite):
        outputs = _squeeze_excite(maker, path, part, x)
    elif isinstance(part, Convolution):
        outputs = _convolution(maker, path, part, x).x
    else:
        outputs = _pooling(maker, path, part, FeatureMap(x)).x
    return layer_set.keras.Model(x, outputs, name=layer_name(path))


def connect_network(
    architecture: Architecture,
    *,
    layer_set: LayerSet = FUSED,
    gates: Mapping[str, GateFunction] | None = None,
    dropout_rate: float = 0.0,
    drop_path_rate: float = 0.0,
    batch_norm_momentum: float = 0.99,
) -> tuple[Tensor, Any]:
    """Returns the symbolic image and outputs of `build_network`; arguments as there."""
    maker = LayerMaker(
        layer_set,
        gates or {},
        output_groups(architecture),
        batch_norm_momentum,
        architecture.batch_norm_epsilon,
        dropout_rate,
        _drop_path_rates(architecture, drop_path_rate),
    )
    size_px = architecture.image_size_px
    image = layer_set.keras.Input((size_px, size_px, 3), name="image")
    x = image
    if architecture.input_normalization == "imagenet":
        x = maker.layers.Rescaling(
            [0.5 / stddev for stddev in IMAGENET_STDDEV],
            [
                (0.5 - mean) / stddev
                for mean, stddev in zip(IMAGENET_MEAN, IMAGENET_STDDEV, strict=True)
            ],
            name="input_normalization",
        )(x)
    taps = head_taps(architecture)
    current = _convolution(maker, "stem", architecture.stem, x)
    maps = {Tap("stem"): current}
    for path, block, _ in walk_blocks(architecture):
        if isinstance(block, InvertedResidual):
            branches = _branches(maker, path, block, current)
            expansion = Tap(path, is_expansion=True)
            if expansion in taps:
                maps[expansion] = _expansion(maker, path, branches)
            current = _inverted_residual(maker, path, block, current, branches)
        elif isinstance(block, Convolution):
            current = _convolution(maker, path, block, current.x)
        else:
            current = _pooling(maker, path, block, current)
        maps[Tap(path)] = current
    features = [maps[tap] for tap in taps]
    if isinstance(architecture.head, Head):
        return image, _classifier(maker, architecture.head, features[0].x)
    return image, build_detection_head(maker, architecture.head, features)


def _drop_path_rates(architecture: Architecture, last: float) -> dict[str, float]:
    """Returns the rates by block, rising in proportion to its place."""
    paths = [path for path, _, _ in walk_blocks(architecture)]
    return {
        path: last * number / len(paths) for number, path in enumerate(paths, start=1)
    }


def _convolution(
    maker: LayerMaker, path: str, block: Convolution, x: Tensor
) -> FeatureMap:
    x = maker.layers.Conv2D(
        block.out_channels,
        block.kernel_size,
        block.stride,
        padding="same",
        use_bias=False,
        name=layer_name(path, "conv"),
    )(x)
    x, mask = maker.gated_norm(path, x, maker.output_of[path])
    return FeatureMap(maker.activation(path, x, block.activation), mask)


def _pooling(
    maker: LayerMaker, path: str, block: Pooling, features: FeatureMap
) -> FeatureMap:
    pool = {
        "max": maker.layers.MaxPooling2D,
        "average": maker.layers.AveragePooling2D,
    }[block.kind]
    x = pool(
        block.kernel_size, block.stride, padding="same", name=layer_name(path, "pool")
    )(features.x)
    return FeatureMap(x, features.mask)


@dataclasses.dataclass(frozen=True)
class _Branch:
    """What a kernel works on and what it makes, of the same channels.

    Without expansion the first is the block's input.
    """

    expanded: Tensor
    filtered: FeatureMap


def _inverted_residual(
    maker: LayerMaker,
    path: str,
    block: InvertedResidual,
    features: FeatureMap,
    branches: Sequence[_Branch],
) -> FeatureMap:
    maker = maker.for_block(path, block.bit_widths)
    masks = [branch.filtered.mask for branch in branches]
    y = _joined(maker, f"{path}/concat", [branch.filtered.x for branch in branches])
    if block.squeeze_excite is not None:
        y = _squeeze_excite(maker, path, block.squeeze_excite, y)
    is_signed = not never_negative(block.activation)
    y = maker.rounded(f"{path}/project", y, is_signed=is_signed)
    y = maker.pointwise(
        f"{path}/project", y, block.out_channels, block.projection_groups
    )
    norm = maker.batch_norm(f"{path}/project", y)
    mask = maker.mask(maker.output_of[path], y, norm)
    written = mask
    is_removable = block.has_residual and block.has_expansion
    if is_removable and all(kernel is not None for kernel in masks):
        presence = _presence(masks)
        written = presence if mask is None else mask * presence
    y = scaled(norm, y, written)
    if block.has_residual:
        y = maker.drop_path(path, y)
        y = maker.layers.Add(name=layer_name(path, "add"))([features.x, y])
    return FeatureMap(y, mask)


def _joined(maker: LayerMaker, path: str, maps: Sequence[Tensor]) -> Tensor:
    """Returns maps side by side as one."""
    if len(maps) == 1:
        return maps[0]
    return maker.layers.Concatenate(name=layer_name(path))(list(maps))


def _expansion(maker: LayerMaker, path: str, branches: Sequence[_Branch]) -> FeatureMap:
    """Returns the expansions of all kernels as one map for the head.

    The gates stand behind the depthwise convolutions, so that the masks must be applied
    here once more: a detector's head must not see what the network will not have.
    """
    parts, masks = [], []
    for branch in branches:
        x, mask = branch.expanded, branch.filtered.mask
        parts.append(x if mask is None else x * mask)
        masks.append(keras.ops.ones(x.shape[-1]) if mask is None else mask)
    x = _joined(maker, f"{path}/expansion", parts)
    if all(branch.filtered.mask is None for branch in branches):
        return FeatureMap(x)
    return FeatureMap(x, keras.ops.concatenate(masks, axis=0))


def _presence(masks: Sequence[Tensor]) -> Tensor:
    """Returns `[]`: the largest mask value of any kernel's channel.

    0 once the last channel is closed; the batch norm behind would otherwise make a
    constant out of nothing.
    """
    return keras.ops.max(keras.ops.concatenate(list(masks), axis=0))


def _branches(
    maker: LayerMaker, path: str, block: InvertedResidual, features: FeatureMap
) -> list[_Branch]:
    maker, x = maker.for_block(path, block.bit_widths), features.x
    if block.bit_widths is not None:
        is_signed = block.bit_widths.is_input_signed
        x = maker.rounded(f"{path}/input", x, is_signed=is_signed)
    features = FeatureMap(x, features.mask)
    return [_branch(maker, path, block, branch, features) for branch in block.branches]


def _branch(
    maker: LayerMaker,
    path: str,
    block: InvertedResidual,
    branch: Branch,
    features: FeatureMap,
) -> _Branch:
    kernel = kernel_path(path, branch.kernel_size)
    x = features.x
    if block.has_expansion:
        expand = f"{kernel}/expand"
        x = maker.pointwise(expand, x, branch.channels, block.expansion_groups)
        x = maker.batch_norm(expand, x)(x)
        x = maker.activation(expand, x, block.activation)
    expanded = x
    if block.has_shuffle:
        x = maker.layer_set.channel_shuffle(
            groups=max(block.expansion_groups, block.projection_groups),
            name=layer_name(kernel, "shuffle"),
        )(x)
    depthwise = f"{kernel}/depthwise"
    if block.has_expansion:
        is_signed = not never_negative(block.activation)
        x = maker.rounded(depthwise, x, is_signed=is_signed)
    x = maker.depthwise(
        depthwise, x, branch.kernel_size, block.stride, block.padding_px
    )
    norm = maker.batch_norm(depthwise, x)
    # Without expansion the channels are those of the block's input.
    mask = maker.mask(kernel, x, norm) if block.has_expansion else features.mask
    x = maker.activation(depthwise, scaled(norm, x, mask), block.activation)
    return _Branch(expanded, FeatureMap(x, mask))


def _squeeze_excite(
    maker: LayerMaker, path: str, squeeze_excite: SqueezeExcite, x: Tensor
) -> Tensor:
    path = f"{path}/squeeze_excite"
    channels = x.shape[-1]
    s = maker.layers.GlobalAveragePooling2D(
        keepdims=True, name=layer_name(path, "pool")
    )(x)
    s = maker.layers.Conv2D(
        squeeze_excite.hidden_channels, 1, name=layer_name(path, "reduce")
    )(s)
    s = maker.activation(path, s, squeeze_excite.activation)
    mask = maker.mask(path, s)
    if mask is not None:
        s = s * mask
    s = maker.layers.Conv2D(channels, 1, name=layer_name(path, "expand"))(s)
    s = maker.activation(path, s, squeeze_excite.gate)
    return maker.layers.Multiply(name=layer_name(path, "scale"))([x, s])


def _classifier(maker: LayerMaker, head: Head, x: Tensor) -> Tensor:
    if head.conv_channels is not None:
        x = maker.pointwise("head", x, head.conv_channels)
        x, _ = maker.gated_norm("head", x, "head/conv")
        x = maker.activation("head", x, head.activation)
    x = maker.layers.GlobalAveragePooling2D(name="head.pool")(x)
    if head.hidden_channels is not None:
        x = maker.layers.Dense(
            head.hidden_channels, use_bias=head.has_hidden_bias, name="head.hidden"
        )(x)
        x = maker.activation("head/hidden", x, head.activation)
        mask = maker.mask("head/hidden", x)
        x = x if mask is None else x * mask
    if maker.dropout_rate:
        x = maker.layers.Dropout(maker.dropout_rate, name="head.dropout")(x)
    return maker.layers.Dense(head.num_classes, name="head.classifier")(x)
