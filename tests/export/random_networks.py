"""Small networks of every family, of random weights whose outputs are no noise."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np

from detection.boxes import corners_to_centers
from detection.heads import detector_anchors
from mobilenas_tf.detection_spec import DetectionHead, ScoreActivation
from mobilenas_tf.models.compact import build_network
from mobilenas_tf.models.layer_set import STOCK
from mobilenas_tf.spaces import named_space
from mobilenas_tf.spec import (
    Architecture,
    Branch,
    Convolution,
    Head,
    InvertedResidual,
    Stage,
    round_channels,
)
from mobilenas_tf.widths import resize, width_groups
from mobilenas_tf.zoo import zoo_architecture
from tests.small_detectors import FPNLITE, SSDLITE, small_detector

CLASS_NAMES = ("Ahorn", "Birke", "Eibe", "Föhre", "Weiße Weide")


def zoo_network(name: str) -> Architecture:
    """Returns the first blocks of a published network's stages, an eighth as wide."""
    network = zoo_architecture(name, num_classes=len(CLASS_NAMES), image_size_px=32)
    network = dataclasses.replace(
        network,
        stages=(
            *(Stage(stage.blocks[:1]) for stage in network.stages[:-1]),
            Stage(network.stages[-1].blocks[:2]),
        ),
    )
    widths = {
        group.path: min(group.channels, round_channels(group.channels / 8))
        for group in width_groups(network)
    }
    return resize(network, widths)


def fbnet() -> Architecture:
    """Returns a network of FBNet's blocks: grouped 1x1 convolutions with a shuffle."""
    blocks = [
        InvertedResidual(
            out_channels=16,
            branches=(Branch(3, 16),),
            stride=stride,
            has_residual=stride == 1,
            activation="relu",
            expansion_groups=2,
            projection_groups=2,
            has_shuffle=True,
        )
        for stride in (2, 1)
    ]
    return Architecture(
        name="fbnet",
        image_size_px=32,
        stem=Convolution(16, 3, 2, "relu"),
        stages=(Stage(tuple(blocks)),),
        head=Head(len(CLASS_NAMES), conv_channels=32, activation="relu"),
    )


def figs_network() -> Architecture:
    """Returns a network of a search space with two parallel kernels in most blocks."""
    space = named_space("figs_mobilenet_v3_32", num_classes=len(CLASS_NAMES))
    return space.resolve(
        {
            choice.path: 0 if choice.path.endswith("kernel7") else 8
            for choice in space.choices
        }
    )


CLASSIFIERS = {
    "mobilenet_v2": lambda: zoo_network("mobilenet_v2"),
    "mobilenet_v3": lambda: zoo_network("mobilenet_v3_large"),
    "mnasnet": lambda: zoo_network("mnasnet_a1"),
    "efficientnet": lambda: zoo_network("efficientnet_b0"),
    "fbnet": fbnet,
    "figs": figs_network,
}
_HEADS: dict[str, DetectionHead] = {"ssdlite": SSDLITE, "fpnlite": FPNLITE}


def detector(head: str, score_activation: ScoreActivation) -> Architecture:
    """Returns a detector of 64x64 images and three classes."""
    return small_detector(
        dataclasses.replace(_HEADS[head], score_activation=score_activation)
    )


def center_anchors(architecture: Architecture) -> np.ndarray:
    """Returns a detector's anchors `[A, 4]`: y_center, x_center, height, width."""
    return np.asarray(corners_to_centers(detector_anchors(architecture)))


def random_pixels(count: int, size_px: int, seed: int = 0) -> np.ndarray:
    """Returns images `[count, S, S, 3]` uint8 of squares, 8 pixels wide, of any colour.

    Their means differ, which white noise's hardly do.
    """
    rng = np.random.default_rng(seed)
    squares = rng.uniform(size=(count, size_px // 8, size_px // 8, 3))
    contrast = rng.uniform(size=(count, 1, 1, 3))
    pixels = 255 * (
        contrast * squares + (1 - contrast) * rng.uniform(size=(count, 1, 1, 3))
    )
    return np.repeat(np.repeat(np.rint(pixels).astype(np.uint8), 8, axis=1), 8, axis=2)


def normalized(pixels: np.ndarray) -> np.ndarray:
    """Returns pixels as networks take them, float32 in [-1, 1]."""
    return (pixels / 127.5 - 1).astype(np.float32)


def random_network(architecture: Architecture, images: np.ndarray) -> keras.Model:
    """Returns a network that tells the images apart.

    Each batch norm has the images' statistics, so that no activation dies out or
    explodes, and each output has mean 0 and standard deviation 2.
    """
    network = build_network(architecture, layer_set=STOCK, batch_norm_momentum=0.0)
    network(images, training=True)
    outputs = network(images, training=False)
    if not isinstance(outputs, dict):
        outputs = {"head.classifier": outputs}
    for name, values in outputs.items():
        columns = np.asarray(values, np.float64).reshape(-1, values.shape[-1])
        factor = 2.0 / (columns - columns.mean(axis=0)).std()
        for layer in network.layers:
            if name in layer.name and getattr(layer, "use_bias", False):
                kernel, bias = layer.get_weights()
                shift = -factor * (
                    columns.mean(axis=0) - bias.reshape(-1, len(columns.T))
                )
                layer.set_weights([kernel * factor, shift.reshape(bias.shape)])
    return network
