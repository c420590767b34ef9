"""Opening and running a `.tflite` classifier with LiteRT. No TensorFlow."""

from __future__ import annotations

import collections
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils

_FILE_IDENTIFIER = b"TFL3"  # `file_identifier` of the TFLite schema, bytes 4 to 8


def read_tflite(source: str | os.PathLike[str] | bytes) -> bytes:
    """Returns the content of a `.tflite` file, given by path or already read.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it does not start like a `.tflite` file.
    """
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    if data[4:8] != _FILE_IDENTIFIER:
        raise ValueError(
            f"{_name(source)} must be a .tflite file, which has TFL3 as its bytes 4 to "
            f"8. Received: {len(data)} bytes that start with {data[:8]!r}"
        )
    return data


def load_interpreter(
    source: str | os.PathLike[str] | bytes, *, num_threads: int = 1
) -> Interpreter:
    """Returns a LiteRT interpreter with its tensors allocated.

    Args:
        source: Path or content of a `.tflite` file.
        num_threads: Threads of the interpreter.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no `.tflite` file, or a damaged one.
    """
    data = read_tflite(source)
    try:
        interpreter = Interpreter(model_content=data, num_threads=num_threads)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"{_name(source)} must be a whole .tflite file; it is truncated, damaged "
            "or has operators that LiteRT does not know, so export or copy it again. "
            f"Received: {' '.join(str(error).split())}"
        ) from error
    return interpreter


def _name(source: str | os.PathLike[str] | bytes) -> str:
    return "tflite content" if isinstance(source, bytes) else os.fspath(source)


def predict(interpreter: Interpreter, images: np.ndarray) -> np.ndarray:
    """Returns the logits of images, one run each.

    Quantises by the parameters of the input and dequantises by those of the output.
    (Resizing the input to a batch of 32 was measured to gain only 5 %.)

    Args:
        interpreter: Of a classifier with batch size 1, from `load_interpreter`.
        images: `[B, H, W, C]`, float in [-1, 1].

    Returns:
        logits: `[B, K]`, float32.

    Raises:
        ValueError: If the file is no such classifier or the images do not fit it.
    """
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(
            "interpreter must have one input and one output. Received: "
            f"{len(inputs)} inputs and {len(outputs)} outputs"
        )
    shape = tuple(int(size) for size in inputs[0]["shape"])
    if shape != (1, *images.shape[1:]):
        raise ValueError(
            f"images must have the shape [B, H, W, C] of an input {shape} with any B. "
            f"Received: shape={images.shape}"
        )
    input_index, output_index = inputs[0]["index"], outputs[0]["index"]
    logits = np.empty((len(images), *outputs[0]["shape"][1:]), np.float32)
    for index, image in enumerate(images):
        interpreter.set_tensor(input_index, quantize(image[None], inputs[0]))
        interpreter.invoke()
        output = interpreter.get_tensor(output_index)
        logits[index] = dequantize(output[0], outputs[0])
    return logits


def quantize(values: np.ndarray, tensor: Mapping[str, Any]) -> np.ndarray:
    """Returns real values in the type and scale of a tensor; float stays float.

    Args:
        values: Any shape, float.
        tensor: An entry of `get_input_details()`.
    """
    dtype, (scale, zero_point) = tensor["dtype"], tensor["quantization"]
    if not np.issubdtype(dtype, np.integer):
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    centre = (limits.min + limits.max) / 2
    # An input that covers [-1, 1] has the zero point 127.5, stored as 127 or 128.
    # Taken exactly, the image of pixel p becomes p, which is what an app feeds.
    if math.isclose(scale, 1 / 127.5, rel_tol=1e-6) and abs(zero_point - centre) < 1:
        zero_point = centre
    steps = np.rint(values / scale + zero_point)
    return np.clip(steps, limits.min, limits.max).astype(dtype)


def dequantize(values: np.ndarray, tensor: Mapping[str, Any]) -> np.ndarray:
    """Returns the real values, float32, that a tensor holds.

    Args:
        values: Any shape, in the tensor's type.
        tensor: An entry of `get_output_details()`.
    """
    scale, zero_point = tensor["quantization"]
    if not np.issubdtype(tensor["dtype"], np.integer):
        return values.astype(np.float32)
    return ((values.astype(np.float32) - zero_point) * scale).astype(np.float32)


def count_operators(source: str | os.PathLike[str] | bytes) -> dict[str, int]:
    """Returns how often each operator occurs in a file, `{"CONV_2D": 36, ...}`."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(read_tflite(source)))
    names = (
        flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex)
        for graph in model.subgraphs or ()
        for operator in graph.operators or ()
    )
    return dict(collections.Counter(str(name) for name in names).most_common())
