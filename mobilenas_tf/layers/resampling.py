"""Resampling of feature maps, in the form that converters recognise."""

from __future__ import annotations

import keras


class NearestDoubling(keras.layers.Layer):
    """Doubles height and width by repeating every cell.

    Converts to RESIZE_NEAREST_NEIGHBOR; Keras' UpSampling2D becomes TILE of a tensor
    with five axes, which delegates of phones do not take.

    Source: Lin et al., Feature Pyramid Networks, arXiv:1612.03144, section 3.
    """

    def call(self, inputs):
        """Returns `[B, 2 H, 2 W, C]` of `inputs` `[B, H, W, C]`."""
        _, height, width, _ = inputs.shape
        return keras.ops.image.resize(
            inputs, (2 * height, 2 * width), interpolation="nearest"
        )
