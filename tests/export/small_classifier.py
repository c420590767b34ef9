"""A small network with all that the exporter must fold, for the tests here."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

from mobilenas_tf.layers.activations import HardSwish


def build_classifier(norm: type[keras.layers.Layer], seed: int = 0) -> keras.Model:
    """Returns a network with one residual block, random weights and statistics."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(inputs)
    x = shortcut = layers.ReLU(6)(norm()(x))
    x = HardSwish()(norm()(layers.Conv2D(16, 1, use_bias=False)(x)))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = layers.ReLU(6)(norm()(x))
    x = norm()(layers.Conv2D(8, 1, use_bias=False)(x))
    x = layers.Add()([shortcut, x])
    x = layers.Dense(5)(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, x)
    generator = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, norm):
            shape = layer.gamma.shape
            layer.set_weights(
                [
                    generator.uniform(0.5, 1.5, shape),
                    generator.normal(0, 0.3, shape),
                    generator.normal(0, 0.3, shape),
                    generator.uniform(0.5, 1.5, shape),
                ]
            )
    return model
