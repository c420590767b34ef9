"""Message classes of the runner's protocol buffers, as the protobuf package makes them.

A pool of their own: TensorFlow registers some of the same names in the common one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

FIELD = descriptor_pb2.FieldDescriptorProto
LATENCY = ("avg_ms", "min_ms", "max_ms", "stddev_ms", "median_ms", "p5_ms", "p95_ms")
LATENCY += ("init_ms", "first_inference_ms", "average_warm_up_ms")

# By message its fields: name, number, and type, with a star if repeated.
BENCHMARK_RESULT = {  # tflite/tools/benchmark/proto/benchmark_result.proto
    "LatencyMetrics": [
        (name, number, "FLOAT") for number, name in enumerate(LATENCY, start=1)
    ],
    "MemoryMetrics": [
        ("init_footprint_kb", 1, "INT64"),
        ("overall_footprint_kb", 2, "INT64"),
        ("peak_mem_mb", 3, "FLOAT"),
    ],
    "MiscMetrics": [
        ("model_size_mb", 1, "FLOAT"),
        ("num_runs", 2, "INT32"),
        ("num_warmup_runs", 3, "INT32"),
    ],
    "BenchmarkResult": [
        ("name", 1, "STRING"),
        ("latency_metrics", 2, "LatencyMetrics"),
        ("memory_metrics", 3, "MemoryMetrics"),
        ("misc_metrics", 4, "MiscMetrics"),
    ],
}
MODEL_RUNTIME_INFO = {  # tflite/profiling/proto/model_runtime_info.proto
    "DelegateNodeDetails": [
        ("delegate_name", 1, "STRING"),
        ("tflite_node_ids_replaced", 2, "INT32*"),
    ],
    "Node": [
        ("id", 1, "INT32"),
        ("name", 2, "STRING"),
        ("type", 3, "STRING"),
        ("inputs", 4, "INT32*"),
        ("outputs", 5, "INT32*"),
        ("delegate_node_details", 8, "DelegateNodeDetails"),
        ("delegated_to_node_id", 9, "INT32"),
    ],
    "Edge": [("id", 1, "INT32"), ("name", 2, "STRING"), ("shape", 4, "INT32*")],
    "RuntimeSubgraph": [
        ("subgraph_id", 1, "INT32"),
        ("edges", 2, "Edge*"),
        ("nodes", 3, "Node*"),
        ("execution_plan", 4, "INT32*"),
        ("name", 6, "STRING"),
    ],
    "ModelRuntimeDetails": [
        ("model_name", 1, "STRING"),
        ("subgraphs", 2, "RuntimeSubgraph*"),
    ],
}


def make_message_class(
    messages: Mapping[str, list[tuple[str, int, str]]], name: str
) -> Any:
    """Returns the class of one of the messages; repeated numbers are packed."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto")
    for message_name, fields in messages.items():
        message = file.message_type.add(name=message_name)
        for field_name, number, kind in fields:
            is_repeated, kind = kind.endswith("*"), kind.rstrip("*")
            field = message.field.add(name=field_name, number=number)
            field.label = FIELD.LABEL_REPEATED if is_repeated else FIELD.LABEL_OPTIONAL
            if kind in messages:
                field.type, field.type_name = FIELD.TYPE_MESSAGE, f".{kind}"
            else:
                field.type = getattr(FIELD, f"TYPE_{kind}")
                if is_repeated:
                    field.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
