"""The layers that the builder is given, in the flavour that a job needs.

Training takes our quicker batch norm and convolutions; the stock layers are for export
tools that know these only, and for comparisons. Both have the same weights.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import keras

from mobilenas_tf.layers.activations import ChannelShuffle, HardSigmoid, HardSwish
from mobilenas_tf.layers.convolutions import (
    DepthwiseConvolution,
    PointwiseConvolution,
)
from mobilenas_tf.layers.norms import FusedBatchNormalization
from mobilenas_tf.layers.quantizers import StepQuantizer
from mobilenas_tf.layers.resampling import NearestDoubling

Layer = Any


@dataclasses.dataclass(frozen=True)
class LayerSet:
    """What `build_network` makes networks of.

    `keras` is the namespace of the stock layers. `batch_normalization` takes
    `momentum`, `epsilon`, `synchronized`, `name`; the convolutions take what Conv2D and
    DepthwiseConv2D take; entries of `activations` take `name`; `channel_shuffle`
    takes `groups` and `name`; `doubling` takes `name`. `quantizer` takes `bits`,
    `is_signed` and `name`, and the convolutions `weight_bits` as well; a set for int8
    files has none, as converters and quantisation-aware training round by themselves.
    """

    keras: ModuleType
    batch_normalization: Callable[..., Layer]
    pointwise_convolution: Callable[..., Layer]
    depthwise_convolution: Callable[..., Layer]
    activations: dict[str, Callable[..., Layer]]
    channel_shuffle: Callable[..., Layer]
    doubling: Callable[..., Layer]
    quantizer: Callable[..., Layer] | None = None


_KERAS_ACTIVATIONS: dict[str, Callable[..., Layer]] = {
    "relu": keras.layers.ReLU,
    "relu6": lambda name: keras.layers.ReLU(6.0, name=name),
    "hard_swish": HardSwish,
    "swish": lambda name: keras.layers.Activation("silu", name=name),
    "sigmoid": lambda name: keras.layers.Activation("sigmoid", name=name),
    "hard_sigmoid": HardSigmoid,
}

FUSED = LayerSet(
    keras=keras,
    batch_normalization=FusedBatchNormalization,
    pointwise_convolution=PointwiseConvolution,
    depthwise_convolution=DepthwiseConvolution,
    activations=_KERAS_ACTIVATIONS,
    channel_shuffle=ChannelShuffle,
    doubling=NearestDoubling,
    quantizer=StepQuantizer,
)
STOCK = dataclasses.replace(
    FUSED,
    quantizer=None,
    batch_normalization=keras.layers.BatchNormalization,
    pointwise_convolution=keras.layers.Conv2D,
    depthwise_convolution=keras.layers.DepthwiseConv2D,
)


def apart_on_replicas(layer_set: LayerSet) -> LayerSet:
    """Returns a set whose batch norms keep to their replica's part of the batch."""
    return dataclasses.replace(
        layer_set,
        batch_normalization=functools.partial(
            layer_set.batch_normalization, synchronized=False
        ),
    )
