"""What the operators of a `.tflite` file say of where it will run well. No TensorFlow.

Which operators a delegate does not take stands as data in `delegates.py`.
"""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Iterable, Mapping
from typing import Any

from export.benchmark.delegation import read_host_delegation
from export.delegates import DELEGATES, Delegate
from export.float_tail import DETECTION_POSTPROCESS
from export.interpreter import load_interpreter
from export.tflite_graph import Graph, Operator, read_graphs

# What `float_tail.py` puts behind a quantised body, before the suppression of boxes.
_TAIL_OPERATORS = frozenset({"DEQUANTIZE", "LOGISTIC", "PAD", "SLICE", "SOFTMAX"})


def float_operators(
    source: str | os.PathLike[str] | bytes,
) -> list[tuple[str, tuple[str, ...]]]:
    """Returns the operators that compute in float inside the body of a file.

    Left out are the conversions at the borders (QUANTIZE of an input, DEQUANTIZE of an
    output) and the float tail that `float_tail.py` puts behind the body: probabilities
    out of logits, TFLite_Detection_PostProcess and what is behind it. An int8 file
    should have none. The DEQUANTIZE and QUANTIZE around an operator that was left in
    float count as well.

    Args:
        source: Path or content of a `.tflite` file.

    Returns:
        For each operator its name and the names of its float tensors, in the order of
        execution.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no `.tflite` file, or a damaged one.
    """
    return [
        (operator.name, _float_tensors(operator))
        for graph in read_graphs(source)
        for operator in _float_body(graph)
    ]


def _float_tensors(operator: Operator) -> tuple[str, ...]:
    return tuple(
        tensor.name for tensor in operator.tensors if tensor.is_float_at_run_time
    )


def _float_body(graph: Graph) -> list[Operator]:
    inputs = {tensor.index for tensor in graph.inputs}
    tail = _float_tail(graph)

    def is_outside(position: int, operator: Operator) -> bool:
        is_entry = operator.name == "QUANTIZE" and all(
            tensor.index in inputs for tensor in operator.inputs
        )
        return is_entry or position in tail

    return [
        operator
        for position, operator in enumerate(graph.operators)
        if _float_tensors(operator) and not is_outside(position, operator)
    ]


def _consumers(graph: Graph) -> Mapping[int, set[int]]:
    """Returns the positions of the operators that read each tensor, by its index."""
    consumers: dict[int, set[int]] = collections.defaultdict(set)
    for position, operator in enumerate(graph.operators):
        for tensor in operator.inputs:
            consumers[tensor.index].add(position)
    return consumers


def _float_tail(graph: Graph) -> set[int]:
    """Returns the positions of the operators between the body and the outputs."""
    tail: set[int] = set()
    detections: set[int] = set()
    for position, operator in enumerate(graph.operators):
        indices = {tensor.index for tensor in operator.inputs}
        if operator.name == DETECTION_POSTPROCESS or indices & detections:
            tail.add(position)
            detections |= {tensor.index for tensor in operator.outputs}
    consumers = _consumers(graph)
    for position, operator in reversed(list(enumerate(graph.operators))):
        if operator.name in _TAIL_OPERATORS and all(
            consumers[tensor.index] <= tail for tensor in operator.outputs
        ):
            tail.add(position)
    return tail


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Operators of one kind that a delegate is known not to take, and how it is known.

    `origin` is documentation or source code; `source` says where.
    """

    delegate: str
    operator: str
    count: int
    reason: str
    origin: str
    source: str


@dataclasses.dataclass(frozen=True)
class OperatorReport:
    """The operators of a file, and who does not take them.

    Attributes:
        counts: How often each operator occurs, the most frequent first.
        float_counts: The same of those that compute in float inside the body.
        left_by_xnnpack: The same of those that XNNPACK on this machine leaves to the
            interpreter's own kernels.
        refusals: What delegates of phones are known not to take. That an operator is
            not here does not mean that a delegate takes it.
    """

    counts: Mapping[str, int]
    float_counts: Mapping[str, int]
    left_by_xnnpack: Mapping[str, int]
    refusals: tuple[Refusal, ...]

    @property
    def num_operators(self) -> int:
        """How many operators the file has."""
        return sum(self.counts.values())

    def to_json(self) -> dict[str, Any]:
        """Returns the report as plain JSON values."""
        return {
            "counts": dict(self.counts),
            "float_counts": dict(self.float_counts),
            "left_by_xnnpack": dict(self.left_by_xnnpack),
            "refusals": [dataclasses.asdict(refusal) for refusal in self.refusals],
        }


def operator_report(source: str | os.PathLike[str] | bytes) -> OperatorReport:
    """Returns the operators of a file, and where they are known not to run.

    Args:
        source: Path or content of a `.tflite` file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no `.tflite` file, or a damaged one.
    """
    operators = [
        operator for graph in read_graphs(source) for operator in graph.operators
    ]
    return OperatorReport(
        counts=_count(operator.name for operator in operators),
        float_counts=_count(name for name, _ in float_operators(source)),
        left_by_xnnpack=_left_by_xnnpack(source),
        refusals=tuple(
            refusal
            for delegate in DELEGATES
            for refusal in _refusals(delegate, operators)
        ),
    )


def _count(names: Iterable[str]) -> dict[str, int]:
    return dict(collections.Counter(names).most_common())


def _refusals(delegate: Delegate, operators: list[Operator]) -> list[Refusal]:
    counts: collections.Counter[tuple[str, str, str, str]] = collections.Counter()
    for operator in operators:
        for rule in delegate.rules:
            if reason := rule.find(operator):
                counts[operator.name, reason, rule.source.origin, rule.source.text] += 1
                break
    return [
        Refusal(delegate.name, name, count, reason, origin, text)
        for (name, reason, origin, text), count in counts.most_common()
    ]


def _left_by_xnnpack(source: str | os.PathLike[str] | bytes) -> dict[str, int]:
    interpreter = load_interpreter(source)
    # LiteRT has no public way to ask what its default delegate, XNNPACK, took over.
    delegation = read_host_delegation(
        interpreter._get_ops_details(),
        [int(output["index"]) for output in interpreter.get_output_details()],
    )
    return dict(delegation.undelegated or {})


def format_operator_report(report: OperatorReport) -> str:
    """Returns the report as lines for the terminal."""
    lines = [
        f"{report.num_operators} operators: {_list(report.counts)}",
        f"In float inside the body: {_list(report.float_counts)}",
        f"XNNPACK on this machine leaves out: {_list(report.left_by_xnnpack)}",
    ]
    for delegate in DELEGATES:
        refused = [r for r in report.refusals if r.delegate == delegate.name]
        counts = {refusal.operator: refusal.count for refusal in refused}
        lines.append(f"{delegate.name} is known not to take: {_list(counts)}")
        lines += [f"  Note: {remark}" for remark in delegate.remarks]
        lines += [
            f"  {refusal.count} {refusal.operator}: {refusal.reason} "
            f"({refusal.origin}: {refusal.source})"
            for refusal in refused
        ]
    return "\n".join(lines)


def _list(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"
