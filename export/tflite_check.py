"""Whether what a `.tflite` file says can be true, before LiteRT takes memory for it.

LiteRT looks whether the file is a flatbuffer of its schema. It believes the numbers in
it: a damaged scale ends the process, a damaged shape takes all memory. No TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

MAX_TENSOR_BYTES = 2**28
# Scales of tensors lie between about 1e-9 (of biases) and 1e3.
_SCALES = (1e-30, 1e30)
_TYPES = schema.TensorType
_BITS_BY_TYPE = {
    _TYPES.FLOAT32: 32,
    _TYPES.FLOAT16: 16,
    _TYPES.BFLOAT16: 16,
    _TYPES.FLOAT64: 64,
    _TYPES.INT2: 2,
    _TYPES.INT4: 4,
    _TYPES.INT8: 8,
    _TYPES.UINT8: 8,
    _TYPES.INT16: 16,
    _TYPES.UINT16: 16,
    _TYPES.INT32: 32,
    _TYPES.UINT32: 32,
    _TYPES.INT64: 64,
    _TYPES.UINT64: 64,
    _TYPES.BOOL: 8,
}
_ZERO_POINTS_BY_TYPE = {
    _TYPES.INT8: (-128, 127),
    _TYPES.UINT8: (0, 255),
    _TYPES.INT16: (-(2**15), 2**15 - 1),
    _TYPES.INT4: (-8, 7),
    _TYPES.INT2: (-2, 1),
}
_LEFT_OUT = -1  # stands for an optional input
_OPERATORS = schema.BuiltinOperator
# Other operators have input and weights first, which are never optional.
_RECURRENT = {
    _OPERATORS.LSTM,
    _OPERATORS.RNN,
    _OPERATORS.BIDIRECTIONAL_SEQUENCE_LSTM,
    _OPERATORS.BIDIRECTIONAL_SEQUENCE_RNN,
    _OPERATORS.UNIDIRECTIONAL_SEQUENCE_LSTM,
    _OPERATORS.UNIDIRECTIONAL_SEQUENCE_RNN,
}


def check_tflite(content: bytes) -> None:
    """Looks at tensors, operators and their ends.

    Args:
        content: A flatbuffer of the TFLite schema, which LiteRT has verified.

    Raises:
        ValueError: Names the first thing that cannot be.
    """
    model: Any = schema.Model.GetRootAs(content)
    graphs = [model.Subgraphs(index) for index in range(model.SubgraphsLength())]
    for graph in graphs:
        constants = {
            index
            for index in range(graph.TensorsLength())
            if _check_tensor(model, graph.Tensors(index), f"tensor {index}")
        }
        _check_order(model, graph, constants)
    for index in range(model.MetadataLength()):
        if not 0 <= model.Metadata(index).Buffer() < model.BuffersLength():
            raise ValueError(f"metadata {index} has no buffer")
    for index in range(model.SignatureDefsLength()):
        signature = model.SignatureDefs(index)
        if not 0 <= signature.SubgraphIndex() < len(graphs):
            raise ValueError(f"signature {index} is of no graph")
        _text(signature.SignatureKey(), f"signature {index}")
        for end in _ends(signature):
            _text(end.Name(), f"signature {index}")
            _check_index(end.TensorIndex(), graphs[signature.SubgraphIndex()])


def _ends(signature: Any) -> Iterator[Any]:
    yield from map(signature.Inputs, range(signature.InputsLength()))
    yield from map(signature.Outputs, range(signature.OutputsLength()))


def _check_tensor(model: Any, tensor: Any, where: str) -> bool:
    """Refuses a tensor that cannot be; returns whether its values are in the file."""
    where = f"{where} ({_text(tensor.Name(), where)!r:.60})"
    shape = [tensor.Shape(axis) for axis in range(tensor.ShapeLength())]
    if any(size < 0 for size in shape):
        raise ValueError(f"{where} has the shape {shape}")
    bits = _BITS_BY_TYPE.get(tensor.Type())
    num_bytes = None if bits is None else -(-math.prod(shape) * bits // 8)
    if num_bytes is not None and num_bytes > MAX_TENSOR_BYTES:
        raise ValueError(
            f"{where} has the shape {shape}, more than {MAX_TENSOR_BYTES:,} bytes"
        )
    _check_quantization(tensor, shape, where)
    if not 0 <= tensor.Buffer() < model.BuffersLength():
        raise ValueError(f"{where} has no buffer")
    buffer = model.Buffers(tensor.Buffer())
    given = buffer.DataLength()
    is_dense = tensor.Sparsity() is None and num_bytes is not None
    if given and is_dense and given != num_bytes:
        raise ValueError(f"{where} has {given:,} bytes for the shape {shape}")
    # Those of very large files lie behind the flatbuffer; of no element there are none.
    return bool(given or buffer.Size() or tensor.IsVariable() or num_bytes == 0)


def _check_quantization(tensor: Any, shape: list[int], where: str) -> None:
    quantization = tensor.Quantization()
    if quantization is None or quantization.ScaleIsNone():
        return
    scales, low_high = quantization.ScaleAsNumpy(), _SCALES
    if not np.all((scales >= low_high[0]) & (scales <= low_high[1])):
        raise ValueError(f"{where} has scales beyond {low_high[0]:g} to {low_high[1]}")
    count = len(scales)
    if not quantization.ZeroPointIsNone():
        zero_points = quantization.ZeroPointAsNumpy()
        low, high = _ZERO_POINTS_BY_TYPE.get(tensor.Type(), (0, 0))
        if len(zero_points) != count or not np.all(
            (zero_points >= low) & (zero_points <= high)
        ):
            raise ValueError(f"{where} has zero points beyond its type")
    axis = quantization.QuantizedDimension()
    if count > 1 and not (0 <= axis < len(shape) and shape[axis] == count):
        raise ValueError(f"{where} has {count} scales for the shape {shape}")


def _check_order(model: Any, graph: Any, constants: set[int]) -> None:
    """Refuses operators that read what nothing has written, or write it again."""
    written = set(constants)
    for number in range(graph.InputsLength()):
        written.add(_check_index(graph.Inputs(number), graph))
    for number in range(graph.OperatorsLength()):
        operator, where = graph.Operators(number), f"operator {number}"
        least = _least_inputs(model, operator, where)
        for end in range(operator.InputsLength()):
            tensor = operator.Inputs(end)
            if tensor == _LEFT_OUT and end >= least:
                continue
            if _check_index(tensor, graph) not in written:
                raise ValueError(f"{where} reads the empty tensor {tensor}")
        for end in range(operator.OutputsLength()):
            tensor = _check_index(operator.Outputs(end), graph)
            if tensor in written:
                raise ValueError(f"{where} writes the tensor {tensor} again")
            written.add(tensor)
    for number in range(graph.OutputsLength()):
        if _check_index(graph.Outputs(number), graph) not in written:
            raise ValueError(f"output {number} is never written")


def _least_inputs(model: Any, operator: Any, where: str) -> int:
    """Returns how many of an operator's first inputs may not be left out."""
    if not 0 <= operator.OpcodeIndex() < model.OperatorCodesLength():
        raise ValueError(f"{where} is of no kind")
    code = model.OperatorCodes(operator.OpcodeIndex())
    # Older files have the first field only, which ends at 127.
    kind = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
    return 0 if kind in _RECURRENT else 2


def _check_index(index: int, graph: Any) -> int:
    if not 0 <= index < graph.TensorsLength():
        raise ValueError(f"tensor {index} of {graph.TensorsLength()} is asked for")
    return index


def _text(name: bytes | None, where: str) -> str:
    try:
        return (name or b"").decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{where} has a name that is no text") from error
