"""Builds detection heads on the feature maps that a backbone gives them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from mobilenas_tf.detection_spec import DetectionHead, FpnLiteHead, SsdLiteHead
from mobilenas_tf.models.layer_maker import (
    FeatureMap,
    LayerMaker,
    Tensor,
    layer_name,
    scaled,
)
from mobilenas_tf.models.layer_set import Layer
from mobilenas_tf.widths import extra_path

# Probability of an object that every anchor starts from, so that the many anchors
# without one do not drown the few with one in the first steps (Lin et al., Focal Loss,
# arXiv:1708.02002, sections 3.3 and 4.1).
PRIOR = 0.01


def build_detection_head(
    maker: LayerMaker, head: DetectionHead, features: Sequence[FeatureMap]
) -> dict[str, Tensor]:
    """Returns class logits and encoded boxes of all anchors.

    Anchors run level by level from the finest, in a level row by row, in a row cell by
    cell, in a cell in the order of the head's shapes.

    Args:
        maker: Makes the layers.
        head: What to build.
        features: What it works on, as `spec.head_taps` has it.

    Returns:
        `class_logits`: `[B, A, head.num_logits]`; `box_encodings`: `[B, A, 4]`, to be
        decoded by `detection.box_coder`.
    """
    if isinstance(head, FpnLiteHead):
        levels = _pyramid(maker, head, features)
    else:
        levels = _extras(maker, head, features)
    outputs = {}
    for name, values, bias in (
        ("class_logits", head.num_logits, -math.log((1 - PRIOR) / PRIOR)),
        ("box_encodings", 4, 0.0),
    ):
        if head.score_activation == "softmax":
            bias = 0.0
        if isinstance(head, FpnLiteHead):
            maps = _shared_predictions(maker, head, levels, name, (values, bias))
        else:
            maps = _own_predictions(maker, head, levels, name, (values, bias))
        predictions = [
            maker.layers.Reshape(
                (-1, values), name=layer_name(f"head/level{index}/{name}", "anchors")
            )(x)
            for index, x in enumerate(maps)
        ]
        outputs[name] = maker.layers.Concatenate(axis=1, name=layer_name("head", name))(
            predictions
        )
    return outputs


def _own_predictions(
    maker: LayerMaker,
    head: DetectionHead,
    levels: Sequence[FeatureMap],
    name: str,
    values_and_bias: tuple[int, float],
) -> Iterator[Tensor]:
    """Yields `[B, H, W, anchors of the level * values]` by predictors of each level."""
    for index, level in enumerate(levels):
        path = f"head/level{index}/{name}"
        num_shapes = len(head.anchors[index])
        x = maker.depthwise(f"{path}/depthwise", level.x)
        x = _normalized(maker, f"{path}/depthwise", head, FeatureMap(x, level.mask))
        yield _output_layer(maker, path, num_shapes, values_and_bias)(x)


def _shared_predictions(
    maker: LayerMaker,
    head: FpnLiteHead,
    levels: Sequence[FeatureMap],
    name: str,
    values_and_bias: tuple[int, float],
) -> Iterator[Tensor]:
    """Yields the same by one tower for all levels, with batch norms for each."""
    shared = tower_paths(head, f"head/{name}")
    convolutions = [
        maker.depthwise_layer(path)
        if path.endswith("depthwise")
        else maker.pointwise_layer(path, head.channels)
        for path in shared
    ]
    num_shapes = len(head.anchors[0])
    output = _output_layer(maker, f"head/{name}", num_shapes, values_and_bias)
    for index, level in enumerate(levels):
        x = level.x
        own = tower_paths(head, f"head/level{index}/{name}")
        for convolution, path in zip(convolutions, own, strict=True):
            x = _normalized(maker, path, head, FeatureMap(convolution(x)))
        yield output(x)


def tower_paths(head: FpnLiteHead, path: str) -> list[str]:
    """Returns the paths of a tower's convolutions, or of a level's batch norms there.

    Args:
        head: The head.
        path: Of the tower.
    """
    parts = ("depthwise", "output")
    towers = [f"tower{i}/{part}" for i in range(head.tower_depth) for part in parts]
    return [f"{path}/{part}" for part in (*towers, "depthwise")]


def _normalized(
    maker: LayerMaker, path: str, head: DetectionHead, features: FeatureMap
) -> Tensor:
    """Returns x after batch norm, mask and the head's activation."""
    x = scaled(maker.batch_norm(path, features.x), features.x, features.mask)
    return maker.activation(path, x, head.activation)


def _output_layer(
    maker: LayerMaker, path: str, num_shapes: int, values_and_bias: tuple[int, float]
) -> Layer:
    values, bias = values_and_bias
    initializers = maker.layer_set.keras.initializers
    return maker.layers.Conv2D(
        num_shapes * values,
        1,
        # As in both published implementations (facts of SSDLite, section 4.1).
        kernel_initializer=initializers.RandomNormal(stddev=0.03),
        bias_initializer=initializers.Constant(bias),
        name=layer_name(path, "output"),
    )


def _extras(
    maker: LayerMaker, head: SsdLiteHead, features: Sequence[FeatureMap]
) -> list[FeatureMap]:
    fine, coarse = features
    if head.conv_channels is not None:
        coarse = _gated_pointwise(
            maker,
            "head",
            coarse,
            head.conv_channels,
            ("head/conv", head.conv_activation),
        )
    levels = [fine, coarse]
    for index, extra in enumerate(head.extras):
        path = extra_path(index)
        squeeze, output = f"{path}/squeeze", f"{path}/output"
        below = _gated_pointwise(
            maker,
            squeeze,
            levels[-1],
            extra.squeezed_channels,
            (squeeze, head.activation),
        )
        below = _depthwise(maker, f"{path}/depthwise", head, below, stride=2)
        levels.append(
            _gated_pointwise(
                maker, output, below, extra.out_channels, (output, head.activation)
            )
        )
    return levels


def _pyramid(
    maker: LayerMaker, head: FpnLiteHead, features: Sequence[FeatureMap]
) -> list[FeatureMap]:
    laterals = [
        maker.pointwise(f"head/pyramid{index}/lateral", tap.x, head.channels)
        for index, tap in enumerate(features)
    ]
    laterals = [
        maker.batch_norm(f"head/pyramid{index}/lateral", x)(x)
        for index, x in enumerate(laterals)
    ]
    x = laterals[-1]
    levels = [FeatureMap(x)]
    for index in range(len(laterals) - 2, -1, -1):
        path = f"head/pyramid{index}"
        x = maker.layer_set.doubling(name=layer_name(path, "double"))(x)
        x = maker.layers.Add(name=layer_name(path, "add"))([laterals[index], x])
        levels.insert(0, _separable(maker, path, head, FeatureMap(x), stride=1))
    for index in range(len(laterals), len(head.anchors)):
        levels.append(
            _separable(maker, f"head/pyramid{index}", head, levels[-1], stride=2)
        )
    return levels


def _separable(
    maker: LayerMaker,
    path: str,
    head: FpnLiteHead,
    features: FeatureMap,
    *,
    stride: int,
) -> FeatureMap:
    features = _depthwise(maker, f"{path}/depthwise", head, features, stride=stride)
    output = f"{path}/output"
    return _gated_pointwise(
        maker, output, features, head.channels, (output, head.activation)
    )


def _depthwise(
    maker: LayerMaker,
    path: str,
    head: DetectionHead,
    features: FeatureMap,
    *,
    stride: int,
) -> FeatureMap:
    x = maker.depthwise(path, features.x, stride=stride)
    x = _normalized(maker, path, head, FeatureMap(x, features.mask))
    return FeatureMap(x, features.mask)


def _gated_pointwise(
    maker: LayerMaker,
    path: str,
    features: FeatureMap,
    channels: int,
    group_and_activation: tuple[str, str],
) -> FeatureMap:
    group, activation = group_and_activation
    x = maker.pointwise(path, features.x, channels)
    x, mask = maker.gated_norm(path, x, group)
    return FeatureMap(maker.activation(path, x, activation), mask)
