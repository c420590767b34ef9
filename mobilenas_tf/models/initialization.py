"""Where a network's first weights come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import keras
from absl import logging

from mobilenas_tf.architecture_source import ARCHITECTURE_FILE
from mobilenas_tf.json_io import read_architecture
from mobilenas_tf.models.network_io import (
    INHERITED_WEIGHTS,
    TRAINED_WEIGHTS,
    load_weights,
)
from mobilenas_tf.models.pretrained import check_pretrained, load_imagenet_weights
from mobilenas_tf.spec import Architecture, with_head


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
    for name in (TRAINED_WEIGHTS, INHERITED_WEIGHTS):
        path = Path(source) / name
        if path.exists():
            _check_same_layers(Path(source), architecture)
            return lambda network: load_weights(network, path)
    raise FileNotFoundError(
        "init_weights must be random, imagenet or the folder of a finished run. "
        f"Received: init_weights={source!r}"
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
