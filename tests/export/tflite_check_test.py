"""Files that LiteRT would believe: each lie is found before it takes memory for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from export.flatbuffer import write_model
from export.interpreter import load_interpreter, running
from export.tflite_check import check_tflite

Change = Callable[[Any, Any], None]


def _changed(content: bytes, change: Change) -> bytes:
    """Returns a file whose objects a function of model and graph has changed."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    change(model, model.subgraphs[0])
    return write_model(model)


def _input(graph: Any) -> Any:
    return graph.tensors[graph.inputs[0]]


def _convolution(graph: Any) -> Any:
    return next(op for op in graph.operators if len(op.inputs) == 3)


def _weights(graph: Any) -> Any:
    return graph.tensors[_convolution(graph).inputs[1]]


def _set(holder: Any, **values: Any) -> None:
    for name, value in values.items():
        setattr(holder, name, value)


def _make_optional(model: Any, graph: Any) -> None:
    del model
    _convolution(graph).inputs[1] = -1


LIES: dict[str, tuple[Change, str]] = {
    "huge shape": (
        lambda model, graph: _set(graph.tensors[3], shape=[1, 2**20, 2**10, 3]),
        r"has the shape \[1, 1048576, 1024, 3\], more than 268,435,456 bytes",
    ),
    "negative shape": (
        lambda model, graph: _set(graph.tensors[3], shape=[1, -2]),
        r"has the shape \[1, -2\]",
    ),
    "weights of another shape": (
        lambda model, graph: _set(_weights(graph), shape=[8, 3, 3, 4]),
        r"has \d+ bytes for the shape \[8, 3, 3, 4\]",
    ),
    "negative scale": (
        lambda model, graph: _set(_input(graph).quantization, scale=[-1.0]),
        "has scales beyond 1e-30 to 1e",
    ),
    "scale that is no number": (
        lambda model, graph: _set(_input(graph).quantization, scale=[float("nan")]),
        "has scales beyond",
    ),
    "zero point beyond the type": (
        lambda model, graph: _set(_input(graph).quantization, zeroPoint=[2**35]),
        "has zero points beyond its type",
    ),
    "fewer zero points than scales": (
        lambda model, graph: _set(_weights(graph).quantization, zeroPoint=[0]),
        "has zero points beyond its type",
    ),
    "scales of no axis": (
        lambda model, graph: _set(_weights(graph).quantization, quantizedDimension=7),
        r"has \d+ scales for the shape",
    ),
    "no buffer": (
        lambda model, graph: _set(_weights(graph), buffer=10_000),
        "has no buffer",
    ),
    "weights that are not there": (
        lambda model, graph: _set(_weights(graph), buffer=0),
        r"operator \d reads the empty tensor",
    ),
    "a name that is no text": (
        lambda model, graph: _set(graph.tensors[3], name=b"\xff\xfe"),
        "has a name that is no text",
    ),
    "weights left out": (_make_optional, "tensor -1 of .* is asked for"),
    "output that nothing writes": (
        lambda model, graph: graph.operators.pop(),
        "output 0 is never written",
    ),
    "output that is no tensor": (
        lambda model, graph: _set(graph, outputs=[999]),
        "tensor 999 of .* is asked for",
    ),
    "tensor that is written twice": (
        lambda model, graph: _set(graph.operators[1], outputs=graph.inputs),
        r"operator 1 writes the tensor \d+ again",
    ),
    "operator of no kind": (
        lambda model, graph: _set(graph.operators[0], opcodeIndex=99),
        "operator 0 is of no kind",
    ),
    "signature of no graph": (
        lambda model, graph: _set(model.signatureDefs[0], subgraphIndex=3),
        "signature 0 is of no graph",
    ),
    "signature of no tensor": (
        lambda model, graph: _set(model.signatureDefs[0].inputs[0], tensorIndex=999),
        "tensor 999 of .* is asked for",
    ),
}


def test_whole_files_pass(int8_file: bytes, float_file: bytes) -> None:
    for content in (int8_file, float_file):
        check_tflite(content)
        check_tflite(_changed(content, lambda model, graph: None))


def test_recurrent_operators_may_leave_out_their_second_input(
    float_file: bytes,
) -> None:
    def as_lstm(model: Any, graph: Any) -> None:
        _make_optional(model, graph)
        kind = schema.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM
        for code in model.operatorCodes:
            _set(code, builtinCode=kind, deprecatedBuiltinCode=kind)

    check_tflite(_changed(float_file, as_lstm))


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_found(lie: str, int8_file: bytes) -> None:
    change, words = LIES[lie]
    with pytest.raises(ValueError, match=words):
        check_tflite(_changed(int8_file, change))


@pytest.mark.parametrize("lie", ["negative scale", "huge shape", "weights left out"])
def test_a_file_that_lies_is_one_sentence_that_names_it(
    lie: str, int8_file: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "lying.tflite"
    path.write_bytes(_changed(int8_file, LIES[lie][0]))
    with pytest.raises(ValueError) as error:
        load_interpreter(path)
    assert str(error.value).startswith(f"{path} must be a whole .tflite file; it is ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_are_one_sentence(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "random.tflite"
    noise = np.random.default_rng(seed).bytes(seed * 100)
    path.write_bytes(b"\x1c\x00\x00\x00TFL3" + noise)
    with pytest.raises(ValueError, match="random.tflite must be a whole .tflite file"):
        load_interpreter(path)


@pytest.mark.parametrize("kind", [RuntimeError, ValueError])
def test_what_litert_says_while_a_file_runs_is_one_sentence(
    kind: type[Exception],
) -> None:
    words = r"a.tflite must run in LiteRT. Received: node 3 \(ADD\) failed"
    with pytest.raises(ValueError, match=words), running("a.tflite"):
        raise kind("node 3 (ADD)\n failed")


def test_a_constant_of_no_element_has_no_bytes(float_file: bytes) -> None:
    def add_empty_shape(model: Any, graph: Any) -> None:
        del model
        shape = schema.TensorT(shape=[0], type=schema.TensorType.INT32, name=b"shape")
        graph.tensors.append(shape)
        graph.operators[-1].inputs = [
            *graph.operators[-1].inputs,
            len(graph.tensors) - 1,
        ]

    check_tflite(_changed(float_file, add_empty_shape))
