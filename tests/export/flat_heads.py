"""A detector that is no more than its outputs, for tests of what stands behind them."""

from __future__ import annotations

import functools

import keras
import numpy as np

from export.config import ExportConfig
from export.tflite import convert_to_tflite

NUM_ANCHORS, NUM_CLASSES = 12, 3
IMAGES = np.random.default_rng(0).uniform(-1, 1, (4, 4, 4, 3)).astype("f4")


def anchors() -> np.ndarray:
    """`[A, 4]`: y_center, x_center, height, width. Some reach out of the image."""
    rng = np.random.default_rng(1)
    places = rng.uniform(0.1, 0.9, (NUM_ANCHORS, 2))
    return np.concatenate([places, rng.uniform(0.2, 0.5, (NUM_ANCHORS, 2))], axis=1)


@functools.cache
def flat_heads(num_logits: int) -> keras.Model:
    """Returns `class_logits` `[B, A, num_logits]` and `box_encodings` of an image."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(IMAGES.shape[1:])
    x = keras.layers.Flatten()(inputs)
    outputs = {}
    for name, values in (("class_logits", num_logits), ("box_encodings", 4)):
        dense = keras.layers.Dense(
            NUM_ANCHORS * values,
            kernel_initializer=keras.initializers.RandomNormal(0, 0.5),
        )
        outputs[name] = keras.layers.Reshape((NUM_ANCHORS, values))(dense(x))
    return keras.Model(inputs, outputs)


@functools.cache
def raw_file(num_logits: int) -> bytes:
    """Returns its float32 file."""
    return convert_to_tflite(flat_heads(num_logits), ExportConfig("float32"))


@functools.cache
def int8_file(num_logits: int, *, io: str, has_float_outputs: bool) -> bytes:
    """Returns its file of an int8 body."""
    return convert_to_tflite(
        flat_heads(num_logits),
        ExportConfig("int8", io, calibration_images=len(IMAGES)),
        IMAGES,
        tail=(lambda content: content) if has_float_outputs else None,
    )
