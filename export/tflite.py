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
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

from export.calibration import make_representative_dataset
from export.config import ExportConfig


def convert_to_tflite(
    model: keras.Model,
    config: ExportConfig,
    representative_images: np.ndarray | None = None,
    *,
    tail: Callable[[bytes], bytes] | None = None,
) -> bytes:
    """Returns the model as the content of a `.tflite` file of batch size 1.

    Its signature `serving_default` takes `image` and gives `logits`, or the outputs of
    the model by name where it has several: a detector's scores and boxes never share a
    scale. A tail has outputs of its own. With uint8 input the file takes raw pixels.
    Int8 weights have symmetric scales, as `weight_scales` says.

    Args:
        model: From images `[B, H, W, 3]`, float32 in [-1, 1], H and W fixed, to
            logits `[B, K]` or to a dict of outputs.
        config: Quantisation, type of input and output, size of the calibration set.
        representative_images: `[B, H, W, 3]`, float in [-1, 1], as the network will
            see them in use. Only int8 looks at them, and needs them.
        tail: Puts float operators behind the network, as functions of `float_tail` do.
            Its outputs are float32 then, whatever the type of the input.

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
            # The converter has no other switch for it.
            converter._experimental_disable_per_channel = (
                config.weight_scales == "tensor"
            )
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = tf.dtypes.as_dtype(config.tensor_type)
            converter.inference_output_type = (
                tf.float32 if tail else converter.inference_input_type
            )
        with warnings.catch_warnings():
            # The converter calibrates with TensorFlow's own, deprecated interpreter.
            warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter is")
            content = converter.convert()
    return tail(content) if tail else content


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
    # A fixed batch keeps the graph free of shape arithmetic. The variables become
    # constants first: saving them and loading them again, as Keras' ExportArchive
    # does, takes three quarters of a conversion. (The converter's own ways round that
    # leave the variables behind with a Keras 3 model, and the file gives NaN.)
    image = tf.TensorSpec(input_shape, tf.float32, name="image")
    names: list[str] = []

    def list_outputs(image: tf.Tensor) -> list[tf.Tensor]:
        outputs = model(image, training=False)
        outputs = outputs if isinstance(outputs, dict) else {"logits": outputs}
        names[:] = outputs
        return list(outputs.values())

    traced = tf.function(list_outputs, autograph=False).get_concrete_function(image)
    frozen = convert_variables_to_constants_v2(traced)
    module = tf.Module()
    module.predict = tf.function(
        lambda image: dict(zip(names, frozen(image), strict=True)),
        input_signature=[image],
        autograph=False,
    )
    # Functions with gradients of their own, such as swish, cannot be saved with them.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, directory, module.predict, options=options)
