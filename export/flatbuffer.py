"""A `.tflite` file as objects of the TFLite schema that can be added to, and back.

No TensorFlow. What is added is left to `float_tail.py` and `metadata.py`; to look at a
file's operators, take `tflite_graph.py`.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, cast

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from export.interpreter import load_interpreter

Model = Any
"""A `schema.ModelT`, whose generated annotations are off: they take every list for one
that may be missing, and names, which are bytes, for strings."""

_FILE_IDENTIFIER = b"TFL3"
_ALIGNMENT = 16  # of weights: `force_align` of `Buffer.data` in the TFLite schema
_TENSOR_TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int32): schema.TensorType.INT32,
}


def read_model(content: bytes) -> Model:
    """Returns the objects of a file, without what follows the model (labels).

    Raises:
        ValueError: If the content is no `.tflite` file with one signature, or damaged.
    """
    load_interpreter(content)  # checks the whole file, which reading it below does not
    model = cast(Model, flatbuffer_utils.read_model_from_bytearray(bytearray(content)))
    signatures = model.signatureDefs or []
    if len(signatures) != 1 or len(model.subgraphs) != 1:
        raise ValueError(
            "content must be a .tflite file with one signature and one graph. "
            f"Received: {len(signatures)} signatures, {len(model.subgraphs)} graphs"
        )
    return model


@dataclasses.dataclass(frozen=True)
class _AlignedBuffer:
    """A buffer that is packed as the schema's `force_align` demands of its data.

    The schema's Python code leaves that out.
    """

    buffer: schema.BufferT

    def Pack(self, builder: flatbuffers.Builder) -> int:
        """Returns where the buffer begins; called by the model's `Pack`."""
        data = self.buffer.data
        builder.Prep(_ALIGNMENT, 0 if data is None else len(data))
        return self.buffer.Pack(builder)


def write_model(model: Model) -> bytes:
    """Returns the content of a file, its weights aligned as a converter aligns them."""
    builder = flatbuffers.Builder(1024)
    aligned = copy.copy(model)
    aligned.buffers = [_AlignedBuffer(buffer) for buffer in model.buffers]
    builder.Finish(aligned.Pack(builder), file_identifier=_FILE_IDENTIFIER)
    return bytes(builder.Output())


def output_indices(model: Model) -> dict[str, int]:
    """Returns the indices of the output tensors by name, in the file's order.

    Names are the signature's. The order is the graph's, for apps that go by position;
    the signature has one of its own.
    """
    names = {
        output.tensorIndex: output.name.decode()
        for output in model.signatureDefs[0].outputs
    }
    return {names[index]: index for index in model.subgraphs[0].outputs}


def float_outputs(model: Model, *names: str) -> tuple[int, ...]:
    """Returns the indices of the outputs of these names, for an operator to go on with.

    Raises:
        ValueError: If the file has other outputs, or they are not float32.
    """
    indices = output_indices(model)
    tensors = model.subgraphs[0].tensors
    types = {
        name: flatbuffer_utils.type_to_name(tensors[index].type).lower()
        for name, index in indices.items()
    }
    if types != dict.fromkeys(names, "float32"):
        received = ", ".join(f"{name} ({type_})" for name, type_ in types.items())
        raise ValueError(
            f"outputs of the file must be {' and '.join(names)}, of type float32. "
            f"Received: {received}"
        )
    return tuple(indices[name] for name in names)


def set_outputs(model: Model, tensors: Mapping[str, int]) -> None:
    """Gives the file other outputs, by name, in this order."""
    model.subgraphs[0].outputs = list(tensors.values())
    model.signatureDefs[0].outputs = [
        schema.TensorMapT(name.encode(), index) for name, index in tensors.items()
    ]


def tensor_shape(model: Model, index: int) -> tuple[int, ...]:
    """Returns the shape of a tensor."""
    return tuple(int(size) for size in model.subgraphs[0].tensors[index].shape)


def add_tensor(model: Model, name: str, shape: Sequence[int]) -> int:
    """Returns the index of a new float32 tensor that an operator is to write."""
    return _append_tensor(model, name, shape, type_=schema.TensorType.FLOAT32, buffer=0)


def add_constant(model: Model, name: str, values: np.ndarray) -> int:
    """Returns the index of a new tensor with these values, float32 or int32."""
    model.buffers.append(
        schema.BufferT(data=np.frombuffer(values.tobytes(), dtype=np.uint8))
    )
    return _append_tensor(
        model,
        name,
        values.shape,
        type_=_TENSOR_TYPES[values.dtype],
        buffer=len(model.buffers) - 1,
    )


def _append_tensor(
    model: Model, name: str, shape: Sequence[int], *, type_: int, buffer: int
) -> int:
    tensors = model.subgraphs[0].tensors
    tensors.append(
        schema.TensorT(
            shape=[int(size) for size in shape],
            type=type_,
            buffer=buffer,
            name=name.encode(),
            hasRank=True,
        )
    )
    return len(tensors) - 1


def add_operator(
    model: Model,
    code: int,
    inputs: Sequence[int],
    outputs: Sequence[int],
    *,
    options: Any = None,
) -> None:
    """Adds a built-in operator behind those that are there.

    Args:
        model: Of the file.
        code: Of `schema.BuiltinOperator`.
        inputs: Indices of the tensors that it reads.
        outputs: Indices of those that it writes.
        options: Its options, such as a `schema.SoftmaxOptionsT`, where it has any.
    """
    operator = schema.OperatorT(
        _operator_code(model, code), list(inputs), list(outputs)
    )
    if options is not None:
        name = type(options).__name__.removesuffix("T")
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
        operator.builtinOptions = options
    model.subgraphs[0].operators.append(operator)


def add_custom_operator(
    model: Model,
    name: str,
    inputs: Sequence[int],
    outputs: Sequence[int],
    *,
    options: bytes,
) -> None:
    """Adds a custom operator; its options are a flexbuffer."""
    model.subgraphs[0].operators.append(
        schema.OperatorT(
            _operator_code(model, schema.BuiltinOperator.CUSTOM, name),
            list(inputs),
            list(outputs),
            customOptions=np.frombuffer(options, dtype=np.uint8),
        )
    )


def _operator_code(model: Model, code: int, name: str | None = None) -> int:
    """Returns the index of a new operator code; two of a kind do no harm."""
    model.operatorCodes.append(
        schema.OperatorCodeT(
            # Older readers know this field only, which ends at 127.
            deprecatedBuiltinCode=min(code, 127),
            customCode=None if name is None else name.encode(),
            builtinCode=code,
        )
    )
    return len(model.operatorCodes) - 1
