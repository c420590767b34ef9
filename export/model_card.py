"""The card of an exported file: what it is, how good it is and how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from export.benchmark.device import describe_device
from export.benchmark.result import BenchmarkResult
from export.bundle_facts import BundleFacts
from export.operators import OperatorReport, format_operator_report
from mobilenas_tf.costs.network import network_cost


def model_card(
    facts: BundleFacts,
    timing: BenchmarkResult,
    operators: OperatorReport,
    provenance: Mapping[str, Any],
) -> str:
    """Returns the card in Markdown.

    Args:
        facts: What the file is.
        timing: Of the file, on the machine that made it.
        operators: Of the file.
        provenance: The command, versions and machine.
    """
    cost = network_cost(facts.architecture)
    size_px = facts.architecture.image_size_px
    memory = (
        "not measured"
        if timing.memory_bytes is None
        else f"{timing.memory_bytes / 1e6:.1f} MB (growth of a process that runs it)"
    )
    network = {
        "network": facts.architecture.name,
        "input": f"{size_px} x {size_px} x 3, {facts.config.tensor_type}, RGB",
        "multiply-adds": f"{cost.macs / 1e6:.3f} M",
        "parameters": f"{cost.params:,}",
        "classes": f"{len(facts.class_names)}, in `labels.txt`",
    }
    file = {
        "quantisation": facts.config.quantization.replace("_", " "),
        "size": f"{timing.model_bytes / 1e3:.0f} kB",
        "latency": f"{timing.median_ms:.2f} ms median, {timing.num_threads} thread, "
        f"on {describe_device(timing.device)}",
        "peak memory": memory,
    }
    if facts.detections is not None:
        file["detections"] = ", ".join(
            f"{name.replace('_', ' ')} {value:g}"
            for name, value in facts.detections.items()
        )
    return "\n".join(
        [
            f"# {facts.architecture.name}, {facts.name}\n",
            _table(network | file),
            "## On the test images\n",
            _table({name: _figure(value) for name, value in facts.parity.items()}),
            "## Where it runs\n",
            f"```\n{format_operator_report(operators)}\n```\n",
            "An operator that is not named may still be refused by a phone's driver.\n",
            "## How it was made\n",
            _table(
                {
                    "data": f"`{facts.data_config.dataset}`",
                    "command": f"`{' '.join(provenance['command'])}`",
                    "revision": str(provenance["git_revision"]),
                    "versions": ", ".join(
                        f"{name} {version}"
                        for name, version in provenance["versions"].items()
                    ),
                }
            ),
            "Trained, calibrated and judged on that data alone: on other photos it may "
            "do worse.\n",
        ]
    )


def _table(rows: Mapping[str, str]) -> str:
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines, ""])


def _figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
