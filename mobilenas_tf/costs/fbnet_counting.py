"""Parameters and FLOPs as the authors of FBNet publish them.

Parameters are the weights of convolutions and dense layers, without biases and batch
norms; FLOPs are multiply-adds plus one for every element that an average pool reads.
Found by counting their published networks, which this rule gives to the unit.
"""

from __future__ import annotations

from mobilenas_tf.costs.layers import norm_params
from mobilenas_tf.costs.network import layer_costs
from mobilenas_tf.costs.ops import Cost
from mobilenas_tf.spec import Architecture, Head, InvertedResidual, walk_blocks


def fbnet_counts(architecture: Architecture) -> Cost:
    """Returns weights and FLOPs of a classifier.

    Raises:
        ValueError: If it is a detector, or has no last 1x1 convolution.
    """
    head = architecture.head
    if not isinstance(head, Head) or head.conv_channels is None:
        raise ValueError(
            "architecture must be a classifier with a last 1x1 convolution. "
            f"Received: {architecture.name}"
        )
    layers = {layer.path: layer for layer in layer_costs(architecture)}
    total = sum((layer.cost for layer in layers.values()), Cost())
    others = 2 * (architecture.stem.out_channels + head.conv_channels)
    others += head.num_classes
    others += (head.hidden_channels or 0) * head.has_hidden_bias
    pooled = head.conv_channels * list(layers.values())[-2].out_size_px ** 2
    # Behind the dense layer they pool once more what is 1x1 by then.
    pooled += head.hidden_channels or 0
    for path, block, _ in walk_blocks(architecture):
        if not isinstance(block, InvertedResidual):
            others += 2 * getattr(block, "out_channels", 0)
            continue
        others += norm_params(block)
        if block.squeeze_excite is not None:
            others += block.squeeze_excite.hidden_channels + block.expanded_channels
            pooled += block.expanded_channels * layers[path].out_size_px ** 2
    return Cost(macs=total.macs + pooled, params=total.params - others)
