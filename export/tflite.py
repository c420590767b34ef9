"""Conversion of a Keras 3 network into a `.tflite` file.

Running such a file is left to `interpreter.py`, comparing it with the network it was
made from to `parity.py`.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from export.calibration import make_representative_dataset
from export.config import ExportConfig


def convert_to_tflite(
    model: keras.Model,
    config: ExportConfig,
    representative_images: np.ndarray | None = None,
) -> bytes:
    """Returns the model as the content of a `.tflite` file of batch size 1.

    Its signature `serving_default` takes `image` and gives `logits`, or the outputs of
    the model by name where it has several: a detector's scores and boxes never share a
    scale. With uint8 input the file takes raw pixels. Int8 weights have one scale per
    output channel.

    Args:
        model: From images `[B, H, W, 3]`, float32 in [-1, 1], H and W fixed, to
            logits `[B, K]` or to a dict of outputs.
        config: Quantisation, type of input and output, size of the calibration set.
        representative_images: `[B, H, W, 3]`, float in [-1, 1], as the network will
            see them in use. Only int8 looks at them, and needs them.

    Raises:
        ValueError: On a model without fixed input size, or for int8 images that are
            missing or off (see `make_representative_dataset`).
    """
    input_shape = tuple(model.input_shape[1:])
    if len(input_shape) != 3 or None in input_shape:
        raise ValueError(
            "model must have one input of shape [B, H, W, C] with H, W and C fixed. "
            f"Received: input shape {model.input_shape}"
        )
    calibration = None
    if config.quantization == "int8":
        calibration = _calibration(representative_images, config, input_shape)
    with tempfile.TemporaryDirectory() as saved_model_dir:
        _write_saved_model(model, (1, *input_shape), saved_model_dir)
        converter = tf.lite.TFLiteConverter.from_saved_model(saved_model_dir)
        if config.quantization != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if config.quantization == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if config.quantization == "int8":
            converter.representative_dataset = calibration
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = tf.dtypes.as_dtype(config.tensor_type)
            converter.inference_output_type = tf.dtypes.as_dtype(config.tensor_type)
        with warnings.catch_warnings():
            # The converter calibrates with TensorFlow's own, deprecated interpreter.
            warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter is")
            return converter.convert()


def _calibration(
    images: np.ndarray | None, config: ExportConfig, input_shape: tuple[int, ...]
) -> Callable[[], Iterator[dict[str, np.ndarray]]]:
    if images is None or images.shape[1:] != input_shape:
        raise ValueError(
            "representative_images must be given for quantization=int8 in the shape "
            f"that the model takes, {(None, *input_shape)}. Received: "
            f"{'None' if images is None else f'shape={images.shape}'}"
        )
    return make_representative_dataset(images, config.calibration_images)


def _write_saved_model(
    model: keras.Model, input_shape: tuple[int, ...], directory: str
) -> None:
    # Not TFLiteConverter.from_concrete_functions: with a Keras 3 model it leaves the
    # variables behind and the file gives NaN. A fixed batch keeps the graph free of
    # shape arithmetic.
    def named_outputs(image: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = model(image, training=False)
        return outputs if isinstance(outputs, dict) else {"logits": outputs}

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serving_default",
        named_outputs,
        input_signature=[tf.TensorSpec(input_shape, tf.float32, name="image")],
    )
    archive.write_out(directory, verbose=False)
