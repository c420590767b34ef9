"""A second way to an int8 file: LiteRT's quantizer, working on the float file.

In the first, `tflite.py`, TensorFlow's converter quantises while it converts.
"""

from __future__ import annotations

import contextlib
import io as streams
import os
import warnings
from collections.abc import Callable, Iterator

import numpy as np
from ai_edge_quantizer import calibrator, qtyping, quantizer, recipe_manager
from ai_edge_quantizer.utils import qsv_utils

from export.calibration import make_representative_dataset
from export.interpreter import load_interpreter
from export.tflite_graph import read_graphs

IO_TYPES = ("float32", "uint8", "int8")
_NARROW_TYPES = frozenset({"FLOAT16", "INT8", "UINT8", "INT16"})
_UINT8 = qtyping.OpQuantizationConfig(
    activation_tensor_config=qtyping.TensorQuantizationConfig(
        num_bits=8, symmetric=False, dtype=qtyping.TensorDataType.UINT
    ),
    # There are none; the quantizer knows this combination only.
    weight_tensor_config=qtyping.TensorQuantizationConfig(
        num_bits=8, symmetric=True, granularity=qtyping.QuantGranularity.CHANNELWISE
    ),
    compute_precision=qtyping.ComputePrecision.INTEGER,
)


def quantize_with_litert(
    float_content: bytes,
    images: np.ndarray,
    *,
    io: str,
    tail: Callable[[bytes], bytes] | None = None,
) -> bytes:
    """Returns a float32 `.tflite` file in int8: weights per channel, and activations.

    The range of an activation is from the smallest to the largest value that any image
    gives. (The quantizer's own default is a moving average over the images, which cuts
    off what few of them need: a detector's outputs had a signal-to-noise ratio of 12 dB
    with it and 20 dB with the extremes.) The input's scale is exactly 2 / 255, see
    `make_representative_dataset`. Names in the signature stay. Operators that the
    quantizer does not know in int8, such as TILE, stay in float:
    `operators.float_operators` finds them.

    Args:
        float_content: Content of a float32 file of batch size 1 with one signature and
            one input, without a float tail.
        images: `[N, H, W, C]`, float in [-1, 1], as the network will see them in use.
            All are used.
        io: Type of input and outputs: `float32`, `uint8` (raw pixels) or `int8`.
        tail: Puts float operators behind the network, as functions of `float_tail` do.
            The outputs are float32 then, whatever the type of the input.

    Raises:
        ValueError: If `io` is none of these, the file is no whole float32 file of that
            kind, or the images do not fit it (see `make_representative_dataset`).
    """
    if io not in IO_TYPES:
        raise ValueError(f"io must be one of {', '.join(IO_TYPES)}. Received: io={io}")
    signature, input_name, shape = _float_input(float_content)
    if images.shape[1:] != shape[1:]:
        raise ValueError(
            f"images must have the shape [N, H, W, C] of an input {shape} with any N. "
            f"Received: shape={images.shape}"
        )
    generate = make_representative_dataset(images, max(1, len(images)))
    samples = [{input_name: sample["image"]} for sample in generate()]
    recipe = _recipe(io, "float32" if tail else io)
    with _quiet():
        calibration = calibrator.Calibrator(
            float_content,
            num_threads=os.cpu_count() or 1,
            # The extremes are taken where the tensors are made. The default mode hands
            # all tensors to Python and takes seven times as long.
            mode=calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED,
            qsv_update_func=qsv_utils.min_max_update,
        )
        calibration.calibrate({signature: samples}, recipe)
        quantization = quantizer.Quantizer(
            float_content, recipe.get_quantization_recipe()
        )
        result = quantization.quantize(
            calibration.get_model_qsvs(), enable_progress_report=False
        )
    content = bytes(result.quantized_model or b"")
    return tail(content) if tail else content


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps back the quantizer's progress bars, and its warning of its own means."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(streams.StringIO()):
        warnings.filterwarnings("ignore", r"\s*Warning: Enabling `experimental_pres")
        yield


def _float_input(content: bytes) -> tuple[str, str, tuple[int, ...]]:
    """Returns the names of the signature and of its input, and the input's shape."""
    inputs = [
        (signature, name)
        for signature, ends in load_interpreter(content).get_signature_list().items()
        for name in ends["inputs"]
    ]
    if len(inputs) != 1:
        raise ValueError(
            "float_content must have one signature with one input. Received: "
            f"{len(inputs)} inputs in its signatures"
        )
    (graph,) = read_graphs(content)
    tensors = [tensor for operator in graph.operators for tensor in operator.tensors]
    narrow = sorted({tensor.dtype for tensor in tensors} & _NARROW_TYPES)
    if narrow:
        raise ValueError(
            "float_content must be a float32 file, as ranges of activations are "
            f"measured on it. Received: a file with tensors of type {narrow[0]}"
        )
    custom = [operator.name for operator in graph.operators if operator.is_custom]
    if custom:
        raise ValueError(
            "float_content must be a network alone, as what is behind it would be "
            "quantised too; give that as tail. Received: a file with the operator "
            f"{custom[0]}"
        )
    return *inputs[0], graph.inputs[0].shape


def _recipe(input_type: str, output_type: str) -> recipe_manager.RecipeManager:
    """Returns what the quantizer is to do: everything in int8 but input and outputs."""
    operators = qtyping.TFLOperationName
    recipe = recipe_manager.RecipeManager()
    recipe.add_static_config(
        ".*", operators.ALL_SUPPORTED, activation_num_bits=8, weight_num_bits=8
    )
    borders = ((operators.INPUT, input_type), (operators.OUTPUT, output_type))
    for border, border_type in borders:
        if border_type == "float32":
            no_quantization = quantizer.AlgorithmName.NO_QUANTIZE
            recipe.add_quantization_config(".*", border, algorithm_key=no_quantization)
        elif border_type == "uint8":
            recipe.add_quantization_config(".*", border, _UINT8)
    return recipe
