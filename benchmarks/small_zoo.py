"""Published networks made small: narrower, and for images of 32 px."""

from __future__ import annotations

import dataclasses

from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.costs.uniform import scaled_network
from mobilenas_tf.spec import Architecture, Stage
from mobilenas_tf.zoo import zoo_architecture

SMALL_PX = 32
_KEPT_STRIDES = (2, 3)  # of the blocks that have one, counted from 1


def narrow_network(
    name: str, *, image_size_px: int, num_classes: int, max_macs: float
) -> Architecture:
    """Returns the widest multiple of a network of the zoo within a budget.

    At 32 px the network has a stride of 8 instead of 32, as our spaces for this size
    have: the stem's stays, and those of the second and third block with one.

    Raises:
        ValueError: If the narrowest network is over the budget.
    """
    full = zoo_architecture(name, num_classes=num_classes, image_size_px=image_size_px)
    if image_size_px == SMALL_PX:
        full = _with_fewer_strides(full)
    return scaled_network(
        full, cost=lambda network: float(network_cost(network).macs), budget=max_macs
    )


def _with_fewer_strides(network: Architecture) -> Architecture:
    stages, strided = [], 0
    for stage in network.stages:
        blocks = []
        for block in stage.blocks:
            strided += block.stride > 1
            stride = block.stride if strided in _KEPT_STRIDES else 1
            blocks.append(dataclasses.replace(block, stride=stride))
        stages.append(Stage(tuple(blocks)))
    return dataclasses.replace(network, stages=tuple(stages))
