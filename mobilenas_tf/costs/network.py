"""Cost of a whole architecture: one walk for fixed and for expected widths.

`macs` counts the multiply-adds of all convolutions and dense layers (squeeze-excite
included), `params` every trained number (batch norm's scale and offset and all biases
included). This is the counting of torchvision and of the papers that publish both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mobilenas_tf.costs.detection_head import detection_layer_costs
from mobilenas_tf.costs.layers import FeatureMap, LayerCost, convolution_layer
from mobilenas_tf.costs.ops import (
    Cost,
    Count,
    batch_norm,
    convolution,
    depthwise,
)
from mobilenas_tf.detection_spec import DetectionHead
from mobilenas_tf.spec import (
    Architecture,
    Convolution,
    Head,
    InvertedResidual,
    Pooling,
    Tap,
    head_taps,
    output_size_px,
    walk_blocks,
)
from mobilenas_tf.widths import kernel_path, output_groups


def network_cost(
    architecture: Architecture, widths: Mapping[str, Count] | None = None
) -> Cost:
    """Returns the cost of the architecture, or its expected cost under gates.

    With independent gates the expected number of multiply-adds of a convolution is
    `k^2 H W E[C_in] E[C_out]`: the formula for fixed networks, evaluated at the
    expected widths. A network whose gates are hard costs exactly what the resized
    network costs. In between, a residual block without expansion multiplies the width
    of its input with itself, and a block's presence multiplies widths that depend on
    it: the value is an approximation there.

    Args:
        architecture: The (largest) network.
        widths: Channels by width-group path, ints or scalar tensors; groups that are
            not named have the architecture's channels. The path `<block>/presence`
            holds the probability that a block that can vanish is there.
    """
    total = Cost()
    for layer in layer_costs(architecture, widths):
        total = total + layer.cost
    return total


def layer_costs(
    architecture: Architecture, widths: Mapping[str, Count] | None = None
) -> tuple[LayerCost, ...]:
    """Returns the costs of stem, blocks and head, in order. Arguments as above."""
    widths = widths or {}
    output_of = output_groups(architecture)
    stem = architecture.stem
    size_px = output_size_px(stem, architecture.image_size_px)
    channels = widths.get("stem/output", stem.out_channels)
    stem_cost = convolution_layer(
        3, channels, kernel_size=stem.kernel_size, out_size_px=size_px
    )
    layers = [LayerCost("stem", stem_cost, size_px, channels)]
    maps = {Tap("stem"): FeatureMap(channels, size_px)}
    for path, block, _ in walk_blocks(architecture):
        in_channels, in_size_px = channels, size_px
        size_px = output_size_px(block, in_size_px)
        if isinstance(block, Pooling):
            cost = Cost()
        elif isinstance(block, Convolution):
            channels = widths.get(output_of[path], block.out_channels)
            cost = convolution_layer(
                in_channels,
                channels,
                kernel_size=block.kernel_size,
                out_size_px=size_px,
            )
        else:
            channels = widths.get(output_of[path], block.out_channels)
            ends = (in_channels, channels)
            cost, expanded = _inverted_residual(
                path, block, ends, (in_size_px, size_px), widths
            )
            maps[Tap(path, is_expansion=True)] = FeatureMap(expanded, in_size_px)
        maps[Tap(path)] = FeatureMap(channels, size_px)
        layers.append(LayerCost(path, cost, size_px, channels))
    taps = [maps[tap] for tap in head_taps(architecture)]
    return (*layers, *_head_layers(architecture.head, taps, widths))


def cost_function(
    architecture: Architecture, metric: str
) -> Callable[[Mapping[str, Count]], Count]:
    """Returns `widths -> cost` for the metric `macs` or `params`."""
    if metric not in ("macs", "params"):
        raise ValueError(f"metric must be macs or params. Received: metric={metric!r}")
    return lambda widths: getattr(network_cost(architecture, widths), metric)


def _inverted_residual(
    path: str,
    block: InvertedResidual,
    in_out_channels: tuple[Count, Count],
    in_out_size_px: tuple[int, int],
    widths: Mapping[str, Count],
) -> tuple[Cost, Count]:
    """Returns the block's cost and the channels of its expansion."""
    in_channels, out_channels = in_out_channels
    in_size_px, out_size_px = in_out_size_px
    # Everything else in a block is in proportion to its kernels' channels.
    presence = widths.get(f"{path}/presence", 1)
    total, expanded = Cost(), 0
    for branch in block.branches:
        width = in_channels
        if block.has_expansion:
            width = widths.get(kernel_path(path, branch.kernel_size), branch.channels)
        expanded = expanded + width
        kernel = depthwise(
            width, kernel_size=branch.kernel_size, out_size_px=out_size_px
        )
        total = total + kernel + batch_norm(width)
    if block.has_expansion:
        expansion = convolution(
            in_channels,
            expanded,
            out_size_px=in_size_px,
            groups=block.expansion_groups,
        )
        total = total + expansion + batch_norm(expanded)
    if block.squeeze_excite is not None:
        hidden = widths.get(
            f"{path}/squeeze_excite", block.squeeze_excite.hidden_channels
        )
        total = total + convolution(expanded, hidden) + Cost(params=hidden * presence)
        total = total + convolution(hidden, expanded, has_bias=True)
    projection = convolution(
        expanded,
        out_channels,
        out_size_px=out_size_px,
        groups=block.projection_groups,
    )
    return total + projection + batch_norm(out_channels * presence), expanded


def _head_layers(
    head: Head | DetectionHead,
    taps: Sequence[FeatureMap],
    widths: Mapping[str, Count],
) -> tuple[LayerCost, ...]:
    if not isinstance(head, Head):
        return detection_layer_costs(head, taps, widths)
    (tap,) = taps
    total, channels = Cost(), tap.channels
    if head.conv_channels is not None:
        conv_channels = widths.get("head/conv", head.conv_channels)
        total = total + convolution_layer(
            channels, conv_channels, out_size_px=tap.size_px
        )
        channels = conv_channels
    if head.hidden_channels is not None:
        hidden = widths.get("head/hidden", head.hidden_channels)
        total = total + convolution(channels, hidden, has_bias=head.has_hidden_bias)
        channels = hidden
    total = total + convolution(channels, head.num_classes, has_bias=True)
    return (LayerCost("head", total, 1, head.num_classes),)
