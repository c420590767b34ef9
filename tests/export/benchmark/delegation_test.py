"""Which delegate took what, from each runtime's own words."""

from __future__ import annotations

import pytest

from export.benchmark.delegation import (
    Delegation,
    read_host_delegation,
    read_runner_delegation,
)
from tests.export.benchmark.proto_messages import (
    MODEL_RUNTIME_INFO,
    make_message_class,
)

FULL = "INFO: Explicitly applied XNNPACK delegate, and the model graph will be "
FULL += "completely executed by the delegate.\n"
PARTIAL = (
    "INFO: Explicitly applied GPU delegate, and the model graph will be partially "
)
PARTIAL += "executed by the delegate w/ 3 delegate kernels.\n"
REFUSED = (
    "INFO: Though GPU delegate is explicitly applied, the model graph will not be "
)
REFUSED += "executed by the delegate.\n"


@pytest.mark.parametrize(
    ("text", "delegation"),
    [
        (FULL, Delegation("XNNPACK", 1, "full")),
        (PARTIAL, Delegation("GPU", 3, "partial")),
        (REFUSED, Delegation("GPU", 0, "none")),
        (
            PARTIAL + FULL.replace("completely", "partially"),
            Delegation("GPU", 3, "partial", fallbacks=("XNNPACK",)),
        ),
        (REFUSED + FULL, Delegation("GPU", 0, "none", fallbacks=("XNNPACK",))),
        ("INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n", None),
        ("", None),
    ],
)
def test_text_tells_what_the_delegate_took(text: str, delegation: Delegation) -> None:
    unknown = Delegation("asked", None, "unknown")
    assert read_runner_delegation(text, None, asked="asked") == (delegation or unknown)


def _runtime_info(plan: list[str]) -> bytes:
    """Returns the info of a graph of two operators, by what its plan executes."""
    new = make_message_class(MODEL_RUNTIME_INFO, "ModelRuntimeDetails")
    info = new(model_name="m")
    graph = info.subgraphs.add(subgraph_id=0, name="main")
    graph.edges.add(id=7, name="an edge", shape=[1, 2, 3])
    for index, name in enumerate(("CONV_2D", "ARG_MAX")):
        graph.nodes.add(id=index, name=name, type="3", inputs=[0, 1], outputs=[2])
        if name in plan:
            graph.execution_plan.append(index)
    for index, name in enumerate((name for name in plan if "elegate" in name), start=2):
        node = graph.nodes.add(id=index, name=name)
        node.delegate_node_details.delegate_name = name
        node.delegate_node_details.tflite_node_ids_replaced.extend([0])
        graph.execution_plan.append(index)
    info.subgraphs.add(subgraph_id=1, name="another").execution_plan.extend([0, 1])
    return info.SerializeToString()


@pytest.mark.parametrize(
    ("asked", "plan", "delegation"),
    [
        ("XNNPACK", ["TfLiteXNNPackDelegate"], Delegation("XNNPACK", 1, "full", {})),
        (
            "XNNPACK",
            ["TfLiteXNNPackDelegate", "ARG_MAX", "TfLiteXNNPackDelegate"],
            Delegation("XNNPACK", 2, "partial", {"ARG_MAX": 1}),
        ),
        (
            "XNNPACK",
            ["CONV_2D", "ARG_MAX"],
            Delegation("XNNPACK", 0, "none", {"CONV_2D": 1, "ARG_MAX": 1}),
        ),
        ("GPU", ["TfLiteGpuDelegateV2"], Delegation("GPU", 1, "full", {})),
        (
            "GPU",
            ["TfLiteGpuDelegateV2", "TfLiteXNNPackDelegate"],
            Delegation("GPU", 1, "partial", {}, ("XNNPACK",)),
        ),
        (
            "GPU",
            ["TfLiteXNNPackDelegate"],
            Delegation("GPU", 0, "none", {}, ("XNNPACK",)),
        ),
    ],
)
def test_runtime_info_tells_what_ran_outside(
    asked: str, plan: list[str], delegation: Delegation
) -> None:
    info = _runtime_info(plan)
    assert read_runner_delegation("", info, asked=asked) == delegation


def test_text_and_runtime_info_complete_each_other() -> None:
    info = _runtime_info(["TfLiteGpuDelegateV2", "ARG_MAX"])
    found = read_runner_delegation(PARTIAL, info, asked="GPU")
    assert found == Delegation("GPU", 3, "partial", {"ARG_MAX": 1})


def test_runtime_info_that_is_cut_off_is_refused() -> None:
    info = _runtime_info(["TfLiteXNNPackDelegate"])
    with pytest.raises(ValueError, match="whole"):
        read_runner_delegation("", info[:20], asked="XNNPACK")


def _operator(name: str, inputs: list[int], outputs: list[int]) -> dict:
    return {"op_name": name, "inputs": inputs, "outputs": outputs}


CONV, ARG_MAX = _operator("CONV_2D", [0, 1], [2]), _operator("ARG_MAX", [2], [3])
ADD = _operator("ADD", [3, 0], [4])


@pytest.mark.parametrize(
    ("delegates", "delegation"),
    [
        ([], Delegation("none", 0, "none", {"CONV_2D": 1, "ARG_MAX": 1, "ADD": 1})),
        ([([0, 1], [4])], Delegation("XNNPACK", 1, "full", {})),
        (
            [([0, 1], [2])],
            Delegation("XNNPACK", 1, "partial", {"ARG_MAX": 1, "ADD": 1}),
        ),
        (
            [([0, 1], [2]), ([3, 0], [4])],
            Delegation("XNNPACK", 2, "partial", {"ARG_MAX": 1}),
        ),
    ],
)
def test_interpreter_tells_what_runs_outside_the_delegate(
    delegates: list[tuple[list[int], list[int]]], delegation: Delegation
) -> None:
    operators = [CONV, ARG_MAX, ADD]
    operators += [_operator("DELEGATE", *tensors) for tensors in delegates]
    assert read_host_delegation(operators, [4]) == delegation


def test_operator_with_two_outputs_is_counted_once() -> None:
    split = _operator("SPLIT", [0], [1, 2])
    found = read_host_delegation([split], [1, 2])
    assert found.undelegated == {"SPLIT": 1}
