"""Small images whose class shows, and small networks: what training tests need."""

from __future__ import annotations

import keras
import numpy as np

from mobilenas_tf.layers.gates import LogisticSigmoidGate
from mobilenas_tf.models.supernet import Supernet, build_supernet_model
from mobilenas_tf.space import Choice, SearchSpace, width_space
from mobilenas_tf.spec import (
    Architecture,
    Branch,
    Convolution,
    Head,
    InvertedResidual,
    Stage,
)
from mobilenas_tf.training.config import AugmentationConfig, DataConfig
from mobilenas_tf.training.data import ClassificationData
from mobilenas_tf.training.image_split import ImageSplit, hold_in_memory

NUM_CLASSES, SIZE_PX = 3, 8


def colour_split(count: int, seed: int) -> ImageSplit:
    """Returns noisy images whose class is the strongest of red, green and blue."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, NUM_CLASSES, count).astype("int32")
    pixels = rng.uniform(0, 160, (count, SIZE_PX, SIZE_PX, 3))
    pixels += 60 * np.eye(NUM_CLASSES)[labels][:, None, None]
    return hold_in_memory(pixels.astype("uint8"), labels)


def colour_data(num_train: int = 64, batch_size: int = 16) -> ClassificationData:
    return ClassificationData(
        class_names=("red", "green", "blue"),
        train_split=colour_split(num_train, seed=0),
        validation_split=colour_split(30, seed=1),
        test_split=colour_split(40, seed=2),
        config=DataConfig(image_size_px=SIZE_PX, batch_size=batch_size),
        augmentation=AugmentationConfig(crop="none", horizontal_flip="off"),
    )


def small_architecture() -> Architecture:
    kernels = (Branch(3, 16), Branch(5, 16))
    return Architecture(
        name="small",
        image_size_px=SIZE_PX,
        stem=Convolution(8, 3, 2, "relu"),
        stages=(
            Stage(
                (
                    InvertedResidual(8, kernels),
                    InvertedResidual(8, kernels, has_residual=True),
                )
            ),
        ),
        head=Head(NUM_CLASSES, conv_channels=16),
    )


def small_space() -> SearchSpace:
    return width_space("small", small_architecture(), channel_divisor=2)


def small_supernet(temperature: float = 0.5, **options) -> Supernet:
    def make_gate(choice: Choice, name: str, seed: int) -> LogisticSigmoidGate:
        return LogisticSigmoidGate(
            choice.values[-1], temperature=temperature, seed=seed, name=name
        )

    return build_supernet_model(small_space(), make_gate, **options)


def linear_network(dropout_rate: float = 0.0) -> keras.Model:
    """Returns the quickest classifier that there is."""
    image = keras.Input((SIZE_PX, SIZE_PX, 3))
    x = keras.layers.Flatten()(image)
    if dropout_rate:
        x = keras.layers.Dropout(dropout_rate)(x)
    return keras.Model(image, keras.layers.Dense(NUM_CLASSES)(x))


def all_weights(model: keras.Model) -> list[np.ndarray]:
    return [np.array(weight) for weight in model.weights]


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)
