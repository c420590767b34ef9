"""scikit-learn's embedded handwritten digits as an image source."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from mobilenas_tf.training.image_split import (
    ImageSource,
    ImageSplit,
    LoadRequest,
    hold_in_memory,
)

MAX_INTENSITY = 16  # of sklearn.datasets.load_digits


def open_digits() -> ImageSource:
    """Returns 1,797 digits of 8x8 pixels, enlarged with bilinear interpolation."""
    from sklearn.datasets import load_digits

    digits, labels = load_digits(return_X_y=True)
    digits = np.reshape(digits, (-1, 8, 8, 1))
    labels = labels.astype(np.int32)

    def load(request: LoadRequest) -> tuple[ImageSplit, tuple[str, ...]]:
        grey = tf.image.resize(
            digits[request.indices] * (255 / MAX_INTENSITY), [request.size_px] * 2
        )
        images = np.repeat(np.rint(grey).astype(np.uint8), 3, axis=-1)
        return hold_in_memory(images, labels[request.indices]), ()

    return ImageSource(tuple("0123456789"), {"train": labels}, load)
