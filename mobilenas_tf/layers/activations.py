"""Activations of mobile networks, in the form that converters recognise."""

from __future__ import annotations

import keras


class HardSwish(keras.layers.Layer):
    """`x * relu6(x + 3) / 6`; converts to the single operator HARD_SWISH.

    Source: Howard et al., Searching for MobileNetV3, arXiv:1905.02244, section 5.2.
    """

    def call(self, inputs):
        """Returns the activation of `inputs`, same shape."""
        return inputs * keras.ops.relu6(inputs + 3.0) * (1.0 / 6.0)


class HardSigmoid(keras.layers.Layer):
    """`relu6(x + 3) / 6`, the gate of MobileNetV3's squeeze-and-excitation.

    Source: Howard et al., Searching for MobileNetV3, arXiv:1905.02244, section 5.2.
    """

    def call(self, inputs):
        """Returns the activation of `inputs`, same shape, in [0, 1]."""
        return keras.ops.relu6(inputs + 3.0) * (1.0 / 6.0)


class ChannelShuffle(keras.layers.Layer):
    """Interleaves the channels of `groups` groups.

    Source: Zhang et al., ShuffleNet, arXiv:1707.01083, section 3.1.
    """

    def __init__(self, groups: int, **kwargs):
        """Creates the layer for `groups` groups of channels."""
        super().__init__(**kwargs)
        self.groups = groups

    def build(self, input_shape):
        """Checks that the channels divide into the groups."""
        if input_shape[-1] % self.groups:
            raise ValueError(
                f"groups must divide the {input_shape[-1]} channels. "
                f"Received: groups={self.groups}"
            )

    def call(self, inputs):
        """Returns `[B, H, W, C]` with channel `g * (C / G) + i` at `i * G + g`."""
        _, height, width, channels = inputs.shape
        grouped = keras.ops.reshape(
            inputs, (-1, height, width, self.groups, channels // self.groups)
        )
        swapped = keras.ops.transpose(grouped, (0, 1, 2, 4, 3))
        return keras.ops.reshape(swapped, (-1, height, width, channels))

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "groups": self.groups}
