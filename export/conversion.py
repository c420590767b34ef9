"""From a trained network to the content of its file, by the route asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras
import numpy as np

from export.config import ExportConfig
from export.tflite import convert_to_tflite

Tail = Callable[[bytes], bytes]
# Makes a file as the options say, with float32 outputs if it is given a tail.
FineTuned = Callable[[ExportConfig, Tail | None], bytes]


def convert_network(
    network: keras.Model,
    config: ExportConfig,
    images: np.ndarray | None,
    *,
    tail: Tail | None,
    fine_tuned: FineTuned | None = None,
) -> bytes:
    """Returns the content of the file that the options describe.

    Args:
        network: See `convert_to_tflite`.
        config: The route, and the type of the input.
        images: `[B, H, W, 3]`, float in [-1, 1], to calibrate with; `int8` needs them.
        tail: Puts float operators behind the network, see `float_tail`; the outputs
            are float32 then. None leaves them in the input's type.
        fine_tuned: Makes the file of `int8_qat`.

    Raises:
        ValueError: If something that the route needs is missing or off.
    """
    if config.quantization == "int8_qat":
        if fine_tuned is None:
            raise ValueError(
                "fine_tuned must be given for quantization=int8_qat. Received: None"
            )
        return fine_tuned(config, tail)
    if config.quantizer == "tensorflow":
        return convert_to_tflite(network, config, images, tail=tail)
    from export.quantizer_route import quantize_with_litert

    if images is None:
        raise ValueError("images must be given for quantizer=litert. Received: None")
    float_config = dataclasses.replace(
        config, quantization="float32", io="auto", quantizer="tensorflow"
    )
    return quantize_with_litert(
        convert_to_tflite(network, float_config),
        images,
        io=config.tensor_type,
        tail=tail,
    )
