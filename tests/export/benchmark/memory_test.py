"""Memory of a file, on graphs whose tensors' sizes are known."""

from __future__ import annotations

from pathlib import Path

import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from export.benchmark.memory import measure_memory

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the system does not tell"
)
MB = 10**6


def _write_doubling(path: Path, num_bytes: int) -> Path:
    """Writes a graph x + x of one float tensor."""
    model = schema.ModelT()
    model.version = 3
    model.operatorCodes = [schema.OperatorCodeT()]  # ADD is 0
    model.operatorCodes[0].version = 1
    model.buffers = [schema.BufferT()]
    graph = schema.SubGraphT()
    for name in (b"x", b"y"):
        tensor = schema.TensorT()
        tensor.shape, tensor.name = [1, num_bytes // 4], name
        graph.tensors = [*(graph.tensors or []), tensor]
    add = schema.OperatorT()
    add.inputs, add.outputs = [0, 0], [1]
    add.builtinOptionsType = schema.BuiltinOptions.AddOptions
    add.builtinOptions = schema.AddOptionsT()
    graph.operators, graph.inputs, graph.outputs = [add], [0], [1]
    model.subgraphs = [graph]
    path.write_bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    return path


def test_memory_is_that_of_the_tensors(tmp_path: Path) -> None:
    small, large = (
        measure_memory(_write_doubling(tmp_path / f"{size}.tflite", size * MB), 1)
        for size in (1, 41)
    )
    assert small is not None and large is not None
    assert 0 < small < 50 * MB  # what LiteRT itself takes is in it
    # Input and output grow by 40 MB each; pages and arenas round them up.
    assert large - small == pytest.approx(80 * MB, rel=0.05)


def test_file_that_does_not_run_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.tflite"
    path.write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(50))
    with pytest.raises(
        ValueError, match=r"none\.tflite must run in LiteRT. Received: "
    ):
        measure_memory(path, 1)
