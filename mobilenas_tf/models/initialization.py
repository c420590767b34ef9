"""Where a network's first weights come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from absl import logging

from mobilenas_tf.architecture_source import ARCHITECTURE_FILE
from mobilenas_tf.json_io import read_architecture
from mobilenas_tf.models.compact import build_network
from mobilenas_tf.models.network_io import (
    INHERITED_WEIGHTS,
    TRAINED_WEIGHTS,
    copy_backbone_weights,
    load_backbone_weights,
    load_weights,
    network_weights,
)
from mobilenas_tf.models.pretrained import (
    check_pretrained,
    check_pretrained_name,
    load_imagenet_weights,
)
from mobilenas_tf.spec import Architecture, with_head
from mobilenas_tf.zoo import zoo_architecture


def weight_initializer(
    source: str, architecture: Architecture
) -> Callable[[keras.Model], None] | None:
    """Returns the function that sets a network's first weights, None for random.

    Args:
        source: `random`, `imagenet`, or a run folder of the same architecture:
            trained weights if there are some, else those that a search left.
        architecture: Of the network.

    Raises:
        FileNotFoundError: If the folder holds no weights.
        ValueError: If the weights are another network's, or not those of the zoo.
    """
    if source == "random":
        return None
    if source == "imagenet":
        check_pretrained(architecture)
        return lambda network: _load_imagenet(network, architecture)
    path = _weights_file(source)
    _check_same_layers(Path(source), architecture)
    return lambda network: load_weights(network, path)


def backbone_initializer(
    source: str, detector: Architecture
) -> Callable[[keras.Model], None] | None:
    """Returns the function that sets a detector's first weights below its head.

    Args:
        source: `random`, `imagenet`, or the run folder of a classifier or detector
            with the same layers below the head.
        detector: Of the network.

    Raises:
        FileNotFoundError: If the folder holds no weights.
        ValueError: If the zoo has no ImageNet weights for these layers.
    """
    if source == "random":
        return None
    if source != "imagenet":
        path = _weights_file(source)
        return lambda network: load_backbone_weights(network, path)
    classifier = dataclasses.replace(
        detector,
        head=zoo_architecture(check_pretrained_name(detector.name)).head,
    )
    check_pretrained(classifier)

    def initialize(network: keras.Model) -> None:
        twin = build_network(classifier)
        _load_imagenet(twin, classifier)
        arrays = {key: np.asarray(v) for key, v in network_weights(twin).items()}
        copy_backbone_weights(network, arrays, where="imagenet")

    return initialize


def _weights_file(run_path: str) -> Path:
    for name in (TRAINED_WEIGHTS, INHERITED_WEIGHTS):
        path = Path(run_path) / name
        if path.exists():
            return path
    raise FileNotFoundError(
        "init_weights must be random, imagenet or the folder of a finished run. "
        f"Received: init_weights={run_path!r}"
    )


def _load_imagenet(network: keras.Model, architecture: Architecture) -> None:
    skipped = load_imagenet_weights(network, architecture)
    if skipped:
        logging.info("Left at random: %s.", ", ".join(skipped))


def _check_same_layers(run_path: Path, architecture: Architecture) -> None:
    """Refuses a run of another network; name and image size change no weight."""
    found = read_architecture(run_path / ARCHITECTURE_FILE)
    resized = with_head(
        dataclasses.replace(found, name=architecture.name),
        image_size_px=architecture.image_size_px,
    )
    if resized != architecture:
        raise ValueError(
            "init_weights must be a run whose network has the layers of "
            f"{architecture.name}. Received: init_weights={str(run_path)!r}, a run of "
            f"another {found.name}"
        )
