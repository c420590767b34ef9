"""The twin of a network in tf_keras, which is the Keras that tfmot works on.

It comes out of the same builder, given tf_keras as its namespace and the few layers
below. Quantising it is left to `qat`.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tf_keras

from mobilenas_tf.models.compact import build_network
from mobilenas_tf.models.layer_set import LayerSet
from mobilenas_tf.models.network_io import is_step, network_weights
from mobilenas_tf.spec import Architecture


def tf_keras_twin(architecture: Architecture, network: keras.Model) -> tf_keras.Model:
    """Returns the tf_keras model that computes what the network does.

    A block of 8-bit weights and activations does not round in the twin: the rounding
    of quantisation-aware training takes its place.

    Args:
        architecture: Of the network.
        network: In Keras 3, of any layer set; its weights are copied by layer name.

    Raises:
        ValueError: If the network is not the architecture's, or has blocks of fewer
            bits than an int8 file.
    """
    twin = build_network(architecture, layer_set=TF_KERAS)
    here = {
        f"{layer.name}/{_variable_name(variable)}": variable
        for layer in twin.layers
        for variable in layer.weights
    }
    there = {k: v for k, v in network_weights(network).items() if not is_step(k)}
    for key in sorted({*here, *there}):
        expected, found = (
            tuple(weights[key].shape) if key in weights else None
            for weights in (here, there)
        )
        if expected != found:
            raise ValueError(
                f"network must have the layers of {architecture.name}. Received: {key} "
                f"of shape {found} instead of {expected}"
            )
    for key, variable in here.items():
        variable.assign(np.asarray(there[key]))
    return twin


def _variable_name(variable: tf.Variable) -> str:
    """Returns the name that Keras 3 has for a variable of a layer."""
    return variable.name.split("/")[-1].split(":")[0].removeprefix("depthwise_")


class _Elementwise(tf_keras.layers.Layer):
    """Something done to each value by itself."""

    def compute_output_shape(self, input_shape):
        """Returns the shape of the input."""
        return input_shape


class HardSwish(_Elementwise):
    """`layers.activations.HardSwish`."""

    def call(self, inputs):
        """Returns the activation of `inputs`, same shape."""
        return inputs * tf.nn.relu6(inputs + 3.0) * (1.0 / 6.0)


class Swish(_Elementwise):
    """`x * sigmoid(x)`, without the factor that `tf.nn.silu` has a tensor for."""

    def call(self, inputs):
        """Returns the activation of `inputs`, same shape."""
        return inputs * tf.sigmoid(inputs)


class ShiftedRelu6(_Elementwise):
    """`relu6(x + 3)`, the first half of a hard sigmoid.

    A layer of its own, as its output is a tensor of the int8 file with a scale of its
    own: shift and clamp go into the convolution in front (`fold_batch_norms`).
    """

    def call(self, inputs):
        """Returns the activation of `inputs`, same shape, in [0, 6]."""
        return tf.nn.relu6(inputs + 3.0)


class Sixth(_Elementwise):
    """`x / 6`, the second half of a hard sigmoid."""

    def call(self, inputs):
        """Returns a sixth of `inputs`, same shape."""
        return inputs * (1.0 / 6.0)


class ChannelShuffle(tf_keras.layers.Layer):
    """`layers.activations.ChannelShuffle`."""

    def __init__(self, groups: int, **kwargs):
        """Creates the layer for `groups` groups of channels."""
        super().__init__(**kwargs)
        self.groups = groups

    def call(self, inputs):
        """Returns `[B, H, W, C]` with channel `g * (C / G) + i` at `i * G + g`."""
        _, height, width, channels = inputs.shape
        shape = (-1, height, width, self.groups, channels // self.groups)
        swapped = tf.transpose(tf.reshape(inputs, shape), (0, 1, 2, 4, 3))
        return tf.reshape(swapped, (-1, height, width, channels))

    def compute_output_shape(self, input_shape):
        """Returns the shape of the input."""
        return input_shape

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "groups": self.groups}


def _hard_sigmoid(name: str) -> Any:
    first = ShiftedRelu6(name=f"{name}.clamp")
    second = Sixth(name=name)
    return lambda x: second(first(x))


TF_KERAS = LayerSet(
    keras=tf_keras,
    batch_normalization=tf_keras.layers.BatchNormalization,
    pointwise_convolution=tf_keras.layers.Conv2D,
    depthwise_convolution=tf_keras.layers.DepthwiseConv2D,
    activations={
        "relu": tf_keras.layers.ReLU,
        "relu6": lambda name: tf_keras.layers.ReLU(6.0, name=name),
        "hard_swish": HardSwish,
        "swish": Swish,
        "sigmoid": lambda name: tf_keras.layers.Activation("sigmoid", name=name),
        "hard_sigmoid": _hard_sigmoid,
    },
    channel_shuffle=ChannelShuffle,
    doubling=tf_keras.layers.UpSampling2D,
)
