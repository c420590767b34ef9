"""The folder of a finished training, for the tests here."""

from __future__ import annotations

from pathlib import Path

import keras

from mobilenas_tf.models.compact import build_network
from mobilenas_tf.models.network_io import save_network
from mobilenas_tf.spec import (
    Architecture,
    Branch,
    Convolution,
    Head,
    InvertedResidual,
    Stage,
)
from mobilenas_tf.training.config import AugmentationConfig, DataConfig
from mobilenas_tf.training.data import ClassificationData, load_classification_data


def make_run(path: Path) -> Path:
    """Writes a network for digits of 16 px with random weights; returns its folder."""
    keras.utils.set_random_seed(0)
    architecture = small_architecture()
    path.mkdir(parents=True)
    save_network(path, architecture, build_network(architecture))
    return path


def small_architecture() -> Architecture:
    """Returns a network for digits of 16 px: one block."""
    return Architecture(
        name="small",
        image_size_px=16,
        stem=Convolution(8, 3, 2),
        stages=(Stage((InvertedResidual(8, (Branch(3, 16),), has_residual=True),)),),
        head=Head(num_classes=10, conv_channels=32),
    )


def digits(image_size_px: int = 16) -> ClassificationData:
    """Returns the digits: 1,258 images to train, 359 to test, 10 classes."""
    config = DataConfig(image_size_px=image_size_px, batch_size=64)
    return load_classification_data(config, AugmentationConfig())
