"""A small trained-looking classifier and its int8 file, made once for all tests."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from export.config import ExportConfig
from export.tflite import convert_to_tflite
from mobilenas_tf.layers.norms import FusedBatchNormalization
from tests.export.small_classifier import build_classifier


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """Sixteen dim images: none of their values comes near -1 or 1."""
    return np.random.default_rng(0).uniform(-0.8, 0.6, (16, 16, 16, 3)).astype("f4")


@pytest.fixture(scope="session")
def classifier() -> keras.Model:
    """The network with our fused batch norm."""
    return build_classifier(FusedBatchNormalization)


@pytest.fixture(scope="session")
def int8_file(classifier: keras.Model, images: np.ndarray) -> bytes:
    """The network in int8 with uint8 input and output."""
    config = ExportConfig(calibration_images=len(images))
    return convert_to_tflite(classifier, config, images)


@pytest.fixture(scope="session")
def float_file(classifier: keras.Model) -> bytes:
    """The network in float32."""
    return convert_to_tflite(
        classifier, ExportConfig(quantization="float32", io="float32")
    )
