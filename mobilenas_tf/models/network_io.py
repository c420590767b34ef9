"""A network on disk: `architecture.json` and its weights beside it.

Weights are a NumPy archive keyed `<layer name>/<variable>`. Layer names are paths of
the architecture, so that a file outlives changes of layer classes and fits every layer
set; Keras' own format names layers by class.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from mobilenas_tf.architecture_source import ARCHITECTURE_FILE
from mobilenas_tf.json_io import read_architecture, write_architecture
from mobilenas_tf.models.array_file import read_arrays, write_arrays
from mobilenas_tf.models.compact import build_network
from mobilenas_tf.models.layer_set import FUSED, LayerSet
from mobilenas_tf.spec import Architecture

TRAINED_WEIGHTS = "trained.npz"
INHERITED_WEIGHTS = "inherited.npz"


def save_network(
    folder: str | os.PathLike[str],
    architecture: Architecture,
    network: keras.Model,
    *,
    weights_file: str = TRAINED_WEIGHTS,
) -> None:
    """Writes a network's architecture and weights into a folder, each file whole."""
    folder = Path(folder)
    write_arrays(folder / weights_file, network_weights(network))
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
    network = build_network(architecture, layer_set=layer_set)
    load_weights(network, folder / weights_file)
    return architecture, network


def load_weights(network: keras.Model, path: str | os.PathLike[str]) -> None:
    """Loads a weights file into a network of the same architecture.

    A network for int8 files passes over the steps of those that round themselves.

    Raises:
        ValueError: If the file is damaged or of another architecture; the network is
            unchanged then.
    """
    arrays = read_arrays(path)
    weights = network_weights(network)
    there = {
        key: array.shape
        for key, array in arrays.items()
        if key in weights or not is_step(key)
    }
    here = {key: tuple(variable.shape) for key, variable in weights.items()}
    for key in sorted({*here, *there}):
        if here.get(key) != there.get(key):
            raise ValueError(
                f"{path} must hold the weights of {network.name}. Received: {key} of "
                f"shape {there.get(key)} instead of {here.get(key)}"
            )
    for key, variable in weights.items():
        variable.assign(arrays[key])


def load_backbone_weights(network: keras.Model, path: str | os.PathLike[str]) -> None:
    """Loads a weights file of a network with the same layers below another head.

    Of the head those variables are loaded that have the same name and shape.

    Raises:
        ValueError: If the file is damaged or lacks a variable below the head; the
            network is unchanged then.
    """
    copy_backbone_weights(network, read_arrays(path), where=str(path))


def copy_backbone_weights(
    network: keras.Model, arrays: Mapping[str, Any], *, where: str
) -> None:
    """Sets weights by name as `load_backbone_weights` does; `where` names them."""
    weights = network_weights(network)
    fitting = {
        key
        for key, variable in weights.items()
        if key in arrays and tuple(arrays[key].shape) == tuple(variable.shape)
    }
    for key, variable in weights.items():
        if key not in fitting and not key.startswith("head."):
            found = arrays[key].shape if key in arrays else None
            raise ValueError(
                f"{where} must hold the weights below the head of {network.name}. "
                f"Received: {key} of shape {found} instead of {tuple(variable.shape)}"
            )
    for key in fitting:
        weights[key].assign(arrays[key])


def network_weights(network: keras.Model) -> dict[str, keras.Variable]:
    """Returns a network's variables by `<layer name>/<variable>`."""
    return {
        f"{layer.name}/{variable.name}": variable
        for layer in network.layers
        for variable in layer.weights
    }


def is_step(key: str) -> bool:
    """Returns whether a key of `network_weights` is that of a quantiser's step."""
    return key.endswith("/step")
