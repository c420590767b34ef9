"""Which delegate ran what of a graph, by what each runtime tells of it."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from export.benchmark.proto_wire import (
    read_fields,
    read_int,
    read_message,
    read_packed,
)
from export.benchmark.result import Extent

# What benchmark_tflite_model.cc prints of a delegate that it was told to use.
_APPLIED = re.compile(
    r"(?:Explicitly a|A)pplied (?P<name>.+?) delegate, and the model graph will be "
    r"(?P<extent>completely|partially) executed(?:.*?(?P<count>\d+) delegate kernels)?"
    r"|Though (?P<refused>.+?) delegate is explicitly applied, the model graph will not"
)
_EXTENTS: Mapping[str, Extent] = {"completely": "full", "partially": "partial"}


@dataclasses.dataclass(frozen=True)
class Delegation:
    """The delegate that was asked for and what it took; as in `BenchmarkResult`."""

    delegate: str
    num_partitions: int | None
    extent: Extent
    undelegated: Mapping[str, int] | None = None
    fallbacks: tuple[str, ...] = ()


def read_runner_delegation(
    text: str, runtime_info: bytes | None, *, asked: str
) -> Delegation:
    """Returns what a runner tells, by its runtime info and else by its text.

    Args:
        text: What the runner printed.
        runtime_info: A `ModelRuntimeDetails`
            (tflite/profiling/proto/model_runtime_info.proto), if the runner wrote one.
        asked: `XNNPACK` or `GPU`, named in the result if the runner names none.

    Raises:
        ValueError: If the runtime info is no such message.
    """
    told = read_text_delegation(text)
    if runtime_info is None:
        return told or Delegation(asked, None, "unknown")
    info = _read_runtime_info(runtime_info, asked)
    if told is None:
        return info
    return dataclasses.replace(told, undelegated=info.undelegated)


def read_text_delegation(text: str) -> Delegation | None:
    """Returns what the runner's text tells; None if it does not mention a delegate."""
    found = list(_APPLIED.finditer(text))
    if not found:
        return None
    asked, *others = found
    fallbacks = tuple(other["name"] for other in others if other["name"])
    if asked["refused"]:
        return Delegation(asked["refused"], 0, "none", fallbacks=fallbacks)
    extent = _EXTENTS[asked["extent"]]
    count = "1" if extent == "full" else asked["count"]
    num_partitions = int(count) if count else None
    return Delegation(asked["name"], num_partitions, extent, fallbacks=fallbacks)


def _read_runtime_info(message: bytes, asked: str) -> Delegation:
    main = read_fields(message).get(2, [b""])[0]  # of the subgraphs
    graph = read_fields(main if isinstance(main, bytes) else b"")
    partitions: collections.Counter[str] = collections.Counter()
    outside: collections.Counter[str] = collections.Counter()
    nodes = {}
    for node in graph.get(3, []):
        if isinstance(node, bytes):
            fields = read_fields(node)
            nodes[read_int(fields, 1) or 0] = fields
    for index in read_packed(graph, 4):  # the execution plan
        fields = nodes.get(index, {})
        details = read_message(fields, 8)  # what a delegate's node has
        if details is None:
            outside[_decode(read_message(fields, 2))] += 1
        else:
            partitions[_decode(read_message(read_fields(details), 1))] += 1
    return _summarize(partitions, outside, asked)


def _decode(name: bytes | None) -> str:
    return (name or b"unknown").decode(errors="replace")


def _summarize(
    partitions: Mapping[str, int], outside: Mapping[str, int], asked: str
) -> Delegation:
    is_xnnpack = {name: "xnnpack" in name.lower() for name in partitions}
    taking = [name for name in partitions if is_xnnpack[name] == (asked == "XNNPACK")]
    others = tuple(
        "XNNPACK" if is_xnnpack[name] else name
        for name in partitions
        if name not in taking
    )
    extent: Extent = "full"
    if not taking:
        extent = "none"
    elif outside or others:
        extent = "partial"
    return Delegation(
        asked,
        sum(partitions[name] for name in taking),
        extent,
        dict(outside),
        others,
    )


def read_host_delegation(
    operators: Sequence[Mapping[str, Any]], outputs: Sequence[int]
) -> Delegation:
    """Returns what LiteRT's default delegate, XNNPACK, took of a graph.

    An operator that a delegate replaces stays in the interpreter's list, where nothing
    says so. But only what a delegate hands out is an output of its own entry: walking
    back from the graph's outputs, every tensor is made by a delegate if one of them
    lists it, and else by the operator that does.

    Args:
        operators: Entries with `op_name`, `inputs` and `outputs`, tensor numbers; a
            delegate is an operator DELEGATE.
        outputs: Tensor numbers of the graph's outputs.
    """
    makers: dict[int, int] = {}
    for index, operator in enumerate(operators):
        is_delegate = operator["op_name"] == "DELEGATE"
        for tensor in operator["outputs"]:
            if is_delegate or tensor not in makers:
                makers[int(tensor)] = index
    ran: set[int] = set()
    waiting = [int(tensor) for tensor in outputs]
    while waiting:
        maker = makers.get(waiting.pop())
        if maker is not None and maker not in ran:
            ran.add(maker)
            waiting += (int(tensor) for tensor in operators[maker]["inputs"])
    names = [operators[index]["op_name"] for index in sorted(ran)]
    outside = collections.Counter(name for name in names if name != "DELEGATE")
    num_partitions = len(names) - outside.total()
    if not num_partitions:
        return Delegation("none", 0, "none", dict(outside))
    extent: Extent = "partial" if outside else "full"
    return Delegation("XNNPACK", num_partitions, extent, dict(outside))
