"""The contract that every layer of ours keeps, whatever it computes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf


def check_layer(
    make_layer: Callable[..., keras.layers.Layer],
    inputs: np.ndarray,
    folder: Path,
    *,
    num_trainable: int = 0,
    num_non_trainable: int = 0,
) -> None:
    """Checks config, weights, dtype, shape, graph mode and a saved file.

    Args:
        make_layer: The class, or a function that hands `dtype` on to it.
        inputs: What the layer takes, float32 with a batch axis.
        folder: An empty folder.
        num_trainable: Trained variables, not numbers.
        num_non_trainable: Others, without the state of random seeds.
    """
    layer = make_layer()
    outputs = np.array(layer(inputs, **_inference(layer)))
    assert len(layer.trainable_weights) == num_trainable
    assert len(layer.non_trainable_weights) == num_non_trainable
    spec = layer.compute_output_spec(keras.KerasTensor(inputs.shape))
    assert spec.shape == outputs.shape
    _check_config(layer)
    _check_dtypes(make_layer, inputs)
    _check_graph(layer, inputs, outputs)
    _check_file(layer, inputs, outputs, folder / "layer.keras")


def _inference(layer: keras.layers.Layer) -> dict[str, bool]:
    takes_training = "training" in inspect.signature(layer.call).parameters
    return {"training": False} if takes_training else {}


def _check_config(layer: keras.layers.Layer) -> None:
    config = layer.get_config()
    assert type(layer).from_config(config).get_config() == config


def _check_dtypes(
    make_layer: Callable[..., keras.layers.Layer], inputs: np.ndarray
) -> None:
    for dtype in ("float32", "float64"):
        layer = make_layer(dtype=dtype)
        for training in (False, True):
            options = {"training": training} if _inference(layer) else {}
            outputs = layer(inputs.astype(dtype), **options)
            assert keras.backend.standardize_dtype(outputs.dtype) == dtype


def _check_graph(
    layer: keras.layers.Layer, inputs: np.ndarray, outputs: np.ndarray
) -> None:
    @tf.function
    def in_graph(x):
        return layer(x, **_inference(layer))

    np.testing.assert_allclose(
        in_graph(tf.constant(inputs)), outputs, rtol=1e-6, atol=1e-6
    )


def _check_file(
    layer: keras.layers.Layer, inputs: np.ndarray, outputs: np.ndarray, path: Path
) -> None:
    image = keras.Input(inputs.shape[1:])
    keras.Model(image, layer(image)).save(path)
    kind = type(layer)
    loaded = keras.saving.load_model(
        path, compile=False, custom_objects={kind.__name__: kind}
    )
    np.testing.assert_array_equal(np.array(loaded(inputs, training=False)), outputs)
