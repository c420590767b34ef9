"""A network on disk: `architecture.json` and its weights beside it."""

from __future__ import annotations

import os
from pathlib import Path

import keras

from mobilenas_tf.architecture_source import ARCHITECTURE_FILE
from mobilenas_tf.json_io import (
    read_architecture,
    replace_when_whole,
    write_architecture,
)
from mobilenas_tf.models.compact import build_network
from mobilenas_tf.models.layer_set import FUSED, LayerSet
from mobilenas_tf.spec import Architecture

TRAINED_WEIGHTS = "trained.weights.h5"
INHERITED_WEIGHTS = "inherited.weights.h5"


def save_network(
    folder: str | os.PathLike[str],
    architecture: Architecture,
    network: keras.Model,
    *,
    weights_file: str = TRAINED_WEIGHTS,
) -> None:
    """Writes a network's architecture and weights into a folder, each file whole."""
    folder = Path(folder)
    with replace_when_whole(folder / weights_file) as temporary:
        network.save_weights(temporary)
    write_architecture(folder / ARCHITECTURE_FILE, architecture)


def load_network(
    folder: str | os.PathLike[str],
    *,
    weights_file: str = TRAINED_WEIGHTS,
    layer_set: LayerSet = FUSED,
) -> tuple[Architecture, keras.Model]:
    """Returns the architecture and the network with its weights from a folder.

    Raises:
        FileNotFoundError: If the folder holds no such network.
        ValueError: If a file is damaged, or the two do not belong together.
    """
    folder = Path(folder)
    for name in (ARCHITECTURE_FILE, weights_file):
        if not (folder / name).exists():
            raise FileNotFoundError(
                f"{folder} must be the folder of a finished run, with {name} in it. "
                f"{name} is missing"
            )
    architecture = read_architecture(folder / ARCHITECTURE_FILE)
    network = build_network(architecture)
    load_weights(network, folder / weights_file)
    if layer_set is FUSED:
        return architecture, network
    # The file names layers by class; the order of the weights is the same in all sets.
    flavoured = build_network(architecture, layer_set=layer_set)
    flavoured.set_weights(network.get_weights())
    return architecture, flavoured


def load_weights(network: keras.Model, path: str | os.PathLike[str]) -> None:
    """Loads a weights file into a network of the same architecture.

    Raises:
        ValueError: If the file is damaged or of another architecture.
    """
    try:
        network.load_weights(path)
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(
            f"{path} must hold the weights of {network.name}. "
            f"Received: {str(error).splitlines()[0]}"
        ) from error
