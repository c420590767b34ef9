"""What a file says of its scales; the interpreter repeats some of them at work."""

from __future__ import annotations

from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer import read_model


def num_scales_of_int8(content: bytes) -> set[int]:
    """Returns how many scales the int8 tensors of a file have each."""
    return {
        len(tensor.quantization.scale)
        for tensor in read_model(content).subgraphs[0].tensors
        if tensor.type == schema.TensorType.INT8
    }
