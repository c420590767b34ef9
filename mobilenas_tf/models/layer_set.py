"""The layers that the builder is given, in the flavour that a job needs.

Training takes the fused batch norm; stock batch norm is for export tools that know
stock layers only, and for comparisons.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import ModuleType
from typing import Any

import keras

from mobilenas_tf.layers.activations import ChannelShuffle, HardSigmoid, HardSwish
from mobilenas_tf.layers.norms import FusedBatchNormalization

Layer = Any


@dataclasses.dataclass(frozen=True)
class LayerSet:
    """What `build_network` makes networks of.

    `keras` is the namespace of the stock layers. `batch_normalization` takes
    `momentum`, `epsilon`, `name`; entries of `activations` take `name`;
    `channel_shuffle` takes `groups` and `name`.
    """

    keras: ModuleType
    batch_normalization: Callable[..., Layer]
    activations: dict[str, Callable[..., Layer]]
    channel_shuffle: Callable[..., Layer]


_KERAS_ACTIVATIONS: dict[str, Callable[..., Layer]] = {
    "relu": keras.layers.ReLU,
    "relu6": lambda name: keras.layers.ReLU(6.0, name=name),
    "hard_swish": HardSwish,
    "swish": lambda name: keras.layers.Activation("silu", name=name),
    "sigmoid": lambda name: keras.layers.Activation("sigmoid", name=name),
    "hard_sigmoid": HardSigmoid,
}

FUSED = LayerSet(keras, FusedBatchNormalization, _KERAS_ACTIVATIONS, ChannelShuffle)
STOCK = dataclasses.replace(FUSED, batch_normalization=keras.layers.BatchNormalization)
