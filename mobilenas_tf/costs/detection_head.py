"""Cost of detection heads, for fixed and for expected widths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mobilenas_tf.costs.layers import (
    FeatureMap,
    LayerCost,
    convolution_layer,
    depthwise_layer,
)
from mobilenas_tf.costs.ops import Cost, Count, batch_norm, convolution, out_size
from mobilenas_tf.detection_spec import DetectionHead, FpnLiteHead, SsdLiteHead
from mobilenas_tf.widths import extra_path


def detection_layer_costs(
    head: DetectionHead, taps: Sequence[FeatureMap], widths: Mapping[str, Count]
) -> tuple[LayerCost, ...]:
    """Returns the costs of a detection head's parts, in order of use.

    Args:
        head: The head.
        taps: What it works on, as `spec.head_taps` has it.
        widths: Channels by width-group path; groups that are not named have the head's.
    """
    if isinstance(head, FpnLiteHead):
        layers, levels = _pyramid(head, taps)
    else:
        layers, levels = _extras(head, taps, widths)
    for index, (level, shapes) in enumerate(zip(levels, head.anchors, strict=True)):
        cost = _predictors(head, level, len(shapes))
        if isinstance(head, FpnLiteHead) and index > 0:
            # The convolutions of the first level, batch norms of its own.
            num_norms = 2 * (2 * head.tower_depth + 1)
            params = num_norms * batch_norm(head.channels).params
            cost = Cost(cost.macs, params)
        outputs = len(shapes) * (head.num_logits + 4)
        layers.append(LayerCost(f"head/level{index}", cost, level.size_px, outputs))
    return tuple(layers)


def _extras(
    head: SsdLiteHead, taps: Sequence[FeatureMap], widths: Mapping[str, Count]
) -> tuple[list[LayerCost], list[FeatureMap]]:
    fine, coarse = taps
    layers = []
    if head.conv_channels is not None:
        channels = widths.get("head/conv", head.conv_channels)
        cost = convolution_layer(coarse.channels, channels, out_size_px=coarse.size_px)
        layers.append(LayerCost("head/conv", cost, coarse.size_px, channels))
        coarse = FeatureMap(channels, coarse.size_px)
    levels = [fine, coarse]
    for index, extra in enumerate(head.extras):
        path, below = extra_path(index), levels[-1]
        squeezed = widths.get(f"{path}/squeeze", extra.squeezed_channels)
        channels = widths.get(f"{path}/output", extra.out_channels)
        size_px = out_size(below.size_px, 2)
        cost = (
            convolution_layer(below.channels, squeezed, out_size_px=below.size_px)
            + depthwise_layer(squeezed, out_size_px=size_px)
            + convolution_layer(squeezed, channels, out_size_px=size_px)
        )
        layers.append(LayerCost(path, cost, size_px, channels))
        levels.append(FeatureMap(channels, size_px))
    return layers, levels


def _pyramid(
    head: FpnLiteHead, taps: Sequence[FeatureMap]
) -> tuple[list[LayerCost], list[FeatureMap]]:
    layers, levels = [], []
    for index, tap in enumerate(taps):
        cost = convolution_layer(tap.channels, head.channels, out_size_px=tap.size_px)
        if index < len(taps) - 1:  # the coarsest is not smoothed: nothing is added
            cost = cost + _separable(head.channels, tap.size_px)
        layers.append(
            LayerCost(f"head/pyramid{index}", cost, tap.size_px, head.channels)
        )
        levels.append(FeatureMap(head.channels, tap.size_px))
    for index in range(len(taps), len(head.anchors)):
        size_px = out_size(levels[-1].size_px, 2)
        cost = _separable(head.channels, size_px)
        layers.append(LayerCost(f"head/pyramid{index}", cost, size_px, head.channels))
        levels.append(FeatureMap(head.channels, size_px))
    return layers, levels


def _separable(channels: Count, out_size_px: int) -> Cost:
    return depthwise_layer(channels, out_size_px=out_size_px) + convolution_layer(
        channels, channels, out_size_px=out_size_px
    )


def _predictors(head: DetectionHead, level: FeatureMap, num_shapes: int) -> Cost:
    """Two predictors: for `num_logits` scores and 4 box coordinates an anchor."""
    tower = Cost()
    if isinstance(head, FpnLiteHead):
        for _ in range(head.tower_depth):
            tower = tower + _separable(head.channels, level.size_px)
    cost = Cost()
    for values in (head.num_logits, 4):
        cost = (
            cost
            + tower
            + depthwise_layer(level.channels, out_size_px=level.size_px)
            + convolution(
                level.channels,
                num_shapes * values,
                out_size_px=level.size_px,
                has_bias=True,
            )
        )
    return cost
