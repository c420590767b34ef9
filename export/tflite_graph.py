"""The operators of a `.tflite` file and their tensors, as values. No TensorFlow.

What they say of a file is left to `operators.py`.
"""

from __future__ import annotations

import dataclasses
import functools
import os

import numpy as np
from ai_edge_litert.tools import flatbuffer_utils

from export.interpreter import load_interpreter, read_tflite

_CUSTOM = "CUSTOM"
_FLOAT_TYPES = frozenset({"FLOAT16", "FLOAT32", "FLOAT64", "BFLOAT16"})


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor of a graph, told apart from the others by its index.

    `dtype` is the name in the TFLite schema, such as `INT8`. `shape` has -1 where the
    size is known at run time only. Constants, such as weights, have their values in the
    file.
    """

    index: int
    name: str
    dtype: str
    shape: tuple[int, ...]
    is_constant: bool

    @property
    def is_float_at_run_time(self) -> bool:
        """Whether an operator reads or writes floating-point numbers here."""
        return self.dtype in _FLOAT_TYPES and not self.is_constant


@dataclasses.dataclass(frozen=True)
class Operator:
    """An operator by its name in the TFLite schema, custom ones by their own."""

    name: str
    version: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    is_custom: bool = False

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Inputs and outputs; optional inputs that are not given are left out."""
        return (*self.inputs, *self.outputs)


@dataclasses.dataclass(frozen=True)
class Graph:
    """Operators in the order of execution, and the tensors that apps fill and read."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    operators: tuple[Operator, ...]


def read_graphs(source: str | os.PathLike[str] | bytes) -> tuple[Graph, ...]:
    """Returns the graphs of a `.tflite` file, given by path or already read.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no `.tflite` file, or a damaged one.
    """
    load_interpreter(source)  # checks the whole file, which reading it below does not
    content = bytearray(read_tflite(source))
    model = flatbuffer_utils.read_model_from_bytearray(content)
    return tuple(_read_graph(model, subgraph) for subgraph in model.subgraphs or ())


def _read_graph(
    model: flatbuffer_utils.ModelT, subgraph: flatbuffer_utils.SubGraphT
) -> Graph:
    tensors = [
        _read_tensor(model, index, tensor)
        for index, tensor in enumerate(subgraph.tensors or ())
    ]
    pick = functools.partial(_pick, tensors)
    codes = model.operatorCodes or ()
    operators = []
    for operator in subgraph.operators or ():
        code = codes[operator.opcodeIndex]
        name = str(flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex))
        is_custom = name == _CUSTOM
        operators.append(
            Operator(
                name=_text(code.customCode) if is_custom else name,
                version=code.version,
                inputs=pick(operator.inputs),
                outputs=pick(operator.outputs),
                is_custom=is_custom,
            )
        )
    return Graph(pick(subgraph.inputs), pick(subgraph.outputs), tuple(operators))


def _read_tensor(
    model: flatbuffer_utils.ModelT, index: int, tensor: flatbuffer_utils.TensorT
) -> Tensor:
    buffers = model.buffers or ()
    shape = tensor.shapeSignature if _has(tensor.shapeSignature) else tensor.shape
    return Tensor(
        index=index,
        name=_text(tensor.name),
        dtype=flatbuffer_utils.type_to_name(tensor.type),
        shape=tuple(int(size) for size in (() if shape is None else shape)),
        is_constant=_has(buffers[tensor.buffer].data),
    )


def _pick(tensors: list[Tensor], indices: list[int] | None) -> tuple[Tensor, ...]:
    """Returns tensors by index; -1 stands for an optional input that is not given."""
    return tuple(tensors[index] for index in indices or () if index >= 0)


def _has(values: np.ndarray | list[int] | bytes | None) -> bool:
    return values is not None and len(values) > 0


def _text(name: bytes | str | None) -> str:
    return name.decode() if isinstance(name, bytes) else str(name or "")
