"""The one builder: an `Architecture` becomes a Keras model.

The same walk builds final networks and, with `gates`, supernets; the two differ in
nothing but the gates. Layer names follow the paths of the architecture with dots:
`stem.conv`, `stage2.block0.kernel5.depthwise.conv`, `head.classifier`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from mobilenas_tf.models.layer_set import FUSED, Layer, LayerSet
from mobilenas_tf.spec import (
    Architecture,
    Branch,
    Convolution,
    Head,
    InvertedResidual,
    Pooling,
    SqueezeExcite,
    walk_blocks,
)
from mobilenas_tf.widths import kernel_path, output_groups

Tensor = Any
# (a tensor of the network, the batch norm that makes the channels) -> mask [C]
GateFunction = Callable[[Tensor, Layer | None], Tensor]
# ImageNet's mean and standard deviation of RGB in [0, 1] (torchvision, Keras).
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STDDEV = (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class _Maker:
    """Makes named layers; what every step of the walk needs."""

    layer_set: LayerSet
    gates: Mapping[str, GateFunction]
    output_of: Mapping[str, str]
    batch_norm_momentum: float
    batch_norm_epsilon: float
    dropout_rate: float

    @property
    def layers(self) -> Any:
        return self.layer_set.keras.layers

    def mask(self, path: str, x: Tensor, norm: Layer | None = None) -> Tensor | None:
        """Returns the mask `[C]` of the gate at `path`, None where there is none."""
        return self.gates[path](x, norm) if path in self.gates else None

    def batch_norm(self, path: str, x: Tensor) -> Layer:
        """Returns the batch norm of x, built."""
        layer = self.layer_set.batch_normalization(
            momentum=self.batch_norm_momentum,
            epsilon=self.batch_norm_epsilon,
            name=layer_name(path, "bn"),
        )
        layer.build(x.shape)
        return layer

    def gated_norm(
        self, path: str, x: Tensor, group: str
    ) -> tuple[Tensor, Tensor | None]:
        """Returns x normalised and masked by its group's gate, and the mask."""
        norm = self.batch_norm(path, x)
        mask = self.mask(group, x, norm)
        return _scaled(norm, x, mask), mask

    def activation(self, path: str, x: Tensor, kind: str) -> Tensor:
        if kind == "linear":
            return x
        return self.layer_set.activations[kind](name=layer_name(path, kind))(x)

    def pointwise(self, path: str, x: Tensor, filters: int, groups: int = 1) -> Tensor:
        return self.layer_set.pointwise_convolution(
            filters, 1, groups=groups, use_bias=False, name=layer_name(path, "conv")
        )(x)


def layer_name(*parts: str) -> str:
    """Returns the Keras name of a path; Keras forbids slashes in names."""
    return ".".join(parts).replace("/", ".")


def build_network(
    architecture: Architecture,
    *,
    layer_set: LayerSet = FUSED,
    gates: Mapping[str, GateFunction] | None = None,
    dropout_rate: float = 0.0,
    batch_norm_momentum: float = 0.99,
) -> Any:
    """Returns a Keras model of images `[B, H, W, 3]` in [-1, 1] to logits `[B, K]`.

    Args:
        architecture: What to build.
        layer_set: The flavour of the layers.
        gates: Functions `(x, norm) -> mask [C]` by width path, for a supernet; asked
            by every block that writes the group, with the batch norm (None where there
            is none) that makes the channels. Masks multiply its scale and offset: as
            all activations map 0 to 0, a mask of 0 leaves an exact 0.
        dropout_rate: Before the classifier, while training.
        batch_norm_momentum: Share of the moving statistics that each step keeps.
    """
    maker = _Maker(
        layer_set,
        gates or {},
        output_groups(architecture),
        batch_norm_momentum,
        architecture.batch_norm_epsilon,
        dropout_rate,
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
    # `live` is the mask of the channels of x, None where they are not gated.
    x, live = _convolution(maker, "stem", architecture.stem, x)
    for path, block, _ in walk_blocks(architecture):
        if isinstance(block, InvertedResidual):
            x, live = _inverted_residual(maker, path, block, x, live)
        elif isinstance(block, Convolution):
            x, live = _convolution(maker, path, block, x)
        else:
            x = _pooling(maker, path, block, x)
    logits = _head(maker, architecture.head, x)
    return layer_set.keras.Model(image, logits, name=architecture.name)


def _convolution(
    maker: _Maker, path: str, block: Convolution, x: Tensor
) -> tuple[Tensor, Tensor | None]:
    x = maker.layers.Conv2D(
        block.out_channels,
        block.kernel_size,
        block.stride,
        padding="same",
        use_bias=False,
        name=layer_name(path, "conv"),
    )(x)
    x, mask = maker.gated_norm(path, x, maker.output_of[path])
    return maker.activation(path, x, block.activation), mask


def _pooling(maker: _Maker, path: str, block: Pooling, x: Tensor) -> Tensor:
    pool = {
        "max": maker.layers.MaxPooling2D,
        "average": maker.layers.AveragePooling2D,
    }[block.kind]
    return pool(
        block.kernel_size, block.stride, padding="same", name=layer_name(path, "pool")
    )(x)


def _inverted_residual(
    maker: _Maker, path: str, block: InvertedResidual, x: Tensor, live: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    branches = [
        _branch(maker, path, block, branch, x, live) for branch in block.branches
    ]
    expanded, masks = zip(*branches, strict=True)
    y = expanded[0]
    if len(expanded) > 1:
        y = maker.layers.Concatenate(name=layer_name(path, "concat"))(list(expanded))
    if block.squeeze_excite is not None:
        y = _squeeze_excite(maker, path, block.squeeze_excite, y)
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
    y = _scaled(norm, y, written)
    if block.has_residual:
        y = maker.layers.Add(name=layer_name(path, "add"))([x, y])
    return y, mask


def _presence(masks: Sequence[Tensor]) -> Tensor:
    """Returns `[]`: the largest mask value of any kernel's channel.

    0 once the last channel is closed; the batch norm behind would otherwise make a
    constant out of nothing.
    """
    return keras.ops.max(keras.ops.concatenate(list(masks), axis=0))


def _branch(
    maker: _Maker,
    path: str,
    block: InvertedResidual,
    branch: Branch,
    x: Tensor,
    live: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    """Returns a kernel's channels and their mask: without expansion that of x."""
    kernel = kernel_path(path, branch.kernel_size)
    if block.has_expansion:
        expand = f"{kernel}/expand"
        x = maker.pointwise(expand, x, branch.channels, block.expansion_groups)
        x = maker.batch_norm(expand, x)(x)
        x = maker.activation(expand, x, block.activation)
    if block.has_shuffle:
        x = maker.layer_set.channel_shuffle(
            groups=max(block.expansion_groups, block.projection_groups),
            name=layer_name(kernel, "shuffle"),
        )(x)
    depthwise = f"{kernel}/depthwise"
    x = maker.layer_set.depthwise_convolution(
        branch.kernel_size,
        block.stride,
        padding="same",
        use_bias=False,
        name=layer_name(depthwise, "conv"),
    )(x)
    norm = maker.batch_norm(depthwise, x)
    mask = maker.mask(kernel, x, norm) if block.has_expansion else live
    x = _scaled(norm, x, mask)
    return maker.activation(depthwise, x, block.activation), mask


def _scaled(norm: Layer, x: Tensor, mask: Tensor | None) -> Tensor:
    return norm(x) if mask is None else norm(x, channel_scale=mask)


def _squeeze_excite(
    maker: _Maker, path: str, squeeze_excite: SqueezeExcite, x: Tensor
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


def _head(maker: _Maker, head: Head, x: Tensor) -> Tensor:
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
