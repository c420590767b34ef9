"""Where a network's first weights come from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
from absl import logging

from mobilenas_tf.models.network_io import (
    INHERITED_WEIGHTS,
    TRAINED_WEIGHTS,
    load_weights,
)
from mobilenas_tf.models.pretrained import load_imagenet_weights
from mobilenas_tf.spec import Architecture


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
    """
    if source == "random":
        return None
    if source == "imagenet":
        return lambda network: _load_imagenet(network, architecture)
    for name in (TRAINED_WEIGHTS, INHERITED_WEIGHTS):
        path = Path(source) / name
        if path.exists():
            return lambda network: load_weights(network, path)
    raise FileNotFoundError(
        "init_weights must be random, imagenet or the folder of a finished run. "
        f"Received: init_weights={source!r}"
    )


def _load_imagenet(network: keras.Model, architecture: Architecture) -> None:
    skipped = load_imagenet_weights(network, architecture)
    if skipped:
        logging.info("Left at random: %s.", ", ".join(skipped))
