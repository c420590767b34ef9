"""Parts of a latency table as Keras models of stock layers, ready to be converted."""

from __future__ import annotations

import keras

from mobilenas_tf.costs.latency_parts import (
    Depthwise,
    Part,
    Pointwise,
    Rearrangement,
)
from mobilenas_tf.layers.activations import ChannelShuffle
from mobilenas_tf.models.compact import build_part
from mobilenas_tf.models.layer_set import STOCK

# What calling a runtime costs is measured on eight channels of one pixel.
_CALL_SHAPE = (1, 1, 8)


def call_model() -> keras.Model:
    """Returns a model that does next to nothing."""
    x = keras.Input(_CALL_SHAPE, name="image")
    return keras.Model(x, keras.layers.Conv2D(_CALL_SHAPE[-1], 1)(x))


def part_model(part: Part) -> keras.Model:
    """Returns a part, with random weights, as a model of one input."""
    layer, size_px, channels = part.layer, part.in_size_px, part.in_channels
    if not isinstance(layer, Pointwise | Depthwise | Rearrangement):
        return build_part("part", layer, channels, size_px, layer_set=STOCK)
    if isinstance(layer, Rearrangement) and layer.kind == "concat":
        channels = -(-channels // 2)  # of each half
    x = keras.Input((size_px, size_px, channels), name="image")
    return keras.Model(x, _output(layer, x))


def _output(layer: Pointwise | Depthwise | Rearrangement, x: keras.KerasTensor):
    if isinstance(layer, Rearrangement):
        if layer.kind == "shuffle":
            return ChannelShuffle(layer.groups)(x)
        join = {"concat": keras.layers.Concatenate, "sum": keras.layers.Add}
        return join[layer.kind]()([x, x])
    if isinstance(layer, Pointwise):
        x = keras.layers.Conv2D(layer.out_channels, 1, groups=layer.groups)(x)
    else:
        padding = "same" if layer.padding_px is None else "valid"
        if layer.padding_px:
            x = keras.layers.ZeroPadding2D(layer.padding_px)(x)
        x = keras.layers.DepthwiseConv2D(layer.kernel_size, layer.stride, padding)(x)
    if layer.activation == "linear":
        return x
    return STOCK.activations[layer.activation](name=layer.activation)(x)
