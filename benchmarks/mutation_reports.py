"""The report of a run, with a valid file of each kind that it shows."""

from __future__ import annotations

import html.parser
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.mutation_case import Case
from benchmarks.mutation_json import ARCHITECTURE
from mobilenas_tf.json_io import write_architecture, write_json
from mobilenas_tf.reporting.page import write_report
from mobilenas_tf.training.cuts import Cut, write_cuts


class _Page(html.parser.HTMLParser):
    """Counts the elements that are open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open += tag not in ("meta", "img")

    def handle_endtag(self, tag: str) -> None:
        self.open -= 1


def _is_page(path: Path, valid: Any) -> bool:
    del valid
    text = path.read_text(encoding="utf-8")
    return text.startswith("<!DOCTYPE html>") and _Page(text).open == 0


_WIDTHS = {"stem/output": 8, "stage2/block0/kernel3": 8, "stage2/block0/kernel5": 8}
_CURVE = {"iou50": [1.0, 0.5, 0.0], "mean": [0.5, 0.25, 0.0]}
# What the report shows, by name of the file.
_DOCUMENTS: Mapping[str, Any] = {
    "config": {"tool": "search_figs", "data": {"dataset": "digits"}, "sizes": [3, 5]},
    "provenance": {"started": "2026-11-21T23:24:05+00:00", "command": ["x"]},
    "summary": {
        "columns": ["name", "macs", "float_accuracy"],
        "rows": [
            {"name": "a", "macs": 45_000, "float_accuracy": 0.975, "median_ms": 0.25},
            {"name": "b", "macs": 46_000, "float_accuracy": 0.96, "int8_accuracy": 0.9},
        ],
    },
    "confusion": {"class_names": ["cat", "dog"], "counts": [[3, 1], [0, 4]]},
    "parity": {"int8": {"num_images": 8, "top1_agreement": 0.875}},
    "benchmark": {
        "results": [
            {
                "model": "a.tflite",
                "median_ms": 2.0,
                "p90_ms": 2.5,
                "repeat_medians_ms": [1.9, 2.0, 2.1],
                "device": {"cpu": "c"},
            }
        ]
    },
    "search": {
        "metric": "macs",
        "budget": 50_000,
        "supernet": ARCHITECTURE,
        "widths": _WIDTHS,
        "probabilities": {"head/conv": {"mean": 0.75, "undecided": 0.125}},
        "inherited_validation_accuracy": 0.5,
        "width_scale": 1.1,
    },
    "operators": {
        "metric": "ms",
        "budget": 0.5,
        "candidates": {"stage1/block0": ["k3_e1", "skip"]},
        "probabilities": {"stage1/block0": [0.25, 0.75]},
        "found": {"genotype": {"stage1/block0": 0}, "cost": 0.45},
    },
    "one_shot": {
        "metric": "macs",
        "budgets": {"macs": 4e6},
        "log10_networks": 8.25,
        "evaluated": 120,
        "measure": "likelihood",
        "reliability": 0.71,
        "generations": [{"generation": 1, "best": 0.5, "front": [[1e6, 0.5]]}],
        "front": [
            {"genotype": {}, "score": 0.5, "accuracy": 0.61, "costs": {"macs": 1e6}},
            {"genotype": {}, "score": 0.6, "accuracy": 0.72, "costs": {"macs": 3e6}},
        ],
        "turned_off": [
            {
                "epoch": 5,
                "by": "score",
                "path": "stage1/block0/operation",
                "operation": "k3_e3",
                "best": "k5_e6",
                "behind": 0.034,
                "standard_error": 0.01,
            }
        ],
    },
    "joint": {
        "measure": "digits",
        "metric": "macs",
        "budgets": {"macs": 4e6},
        "trained": 12,
        "failed": 1,
        "stop_epoch": 3,
        "best": {"accuracy": 0.7, "predicted": 0.68},
        "recipe": {"optimizer": "adamw", "learning_rate": 0.002, "mixup_alpha": 0.1},
        "default_recipe": {"optimizer": "sgd", "learning_rate": 0.1, "mixup_alpha": 0},
        "rounds": [
            {
                "round": 0,
                "stage": "first",
                "predicted": [0.5, None, 0.6, 0.7],
                "accuracies": [0.5, None, 0.65, 0.6],
            }
        ],
        "front": [{"accuracy": 0.5, "costs": {"macs": 1e6}}],
        "effects": [
            {
                "setting": "recipe/optimizer",
                "values": ["sgd", "adamw"],
                "accuracies": [0.6, 0.65],
                "best": "adamw",
                "effect": 0.05,
            }
        ],
    },
    "detection_evaluation": {
        "backend": "pycocotools",
        "num_images": 12,
        "num_detections": 345,
        "metrics": {"ap": 0.25, "ap50": 0.5, "ap_large": None},
        "threshold": {"score": 0.3, "f1": 0.6, "precision": 0.75, "recall": 0.5},
        "classes": [
            {"class": "cat", "num_objects": 5, "ap": 0.2, "ap50": 0.5},
            {"class": "dog", "num_objects": 3, "ap": 0.3, "ap50": 0.4},
        ],
        "recalls": [0.0, 0.5, 1.0],
        "curves": {"all": _CURVE, "by_class": {"cat": _CURVE, "dog": _CURVE}},
    },
}
_METRICS = [
    {
        "phase": phase,
        "step": step,
        "epoch": step + 1,
        "loss": 2.0 / (1 + step),
        "validation_accuracy": 1 - 1 / (1 + step),
        "expected_cost": 90_000 / (1 + step),
        "learning_rate": 0.1,
    }
    for phase in ("search", "train")
    for step in range(3)
]


def _make_report(name: str) -> Callable[[Path], Path]:
    """Returns what makes a run with one document, metrics and cuts beside it."""

    def make(folder: Path) -> Path:
        lines = "".join(json.dumps(row) + "\n" for row in _METRICS)
        (folder / "metrics.jsonl").write_text(lines)
        write_cuts(folder / "shrinking.json", [Cut(1, 80_000, {"stem/output": 8})])
        write_architecture(folder / "architecture.json", ARCHITECTURE)
        for document in {name.removesuffix(".json")} & _DOCUMENTS.keys():
            write_json(folder / name, _DOCUMENTS[document])
        return folder / name

    return make


REPORT_CASES = (
    *(
        Case(
            f"report: {name}",
            "lines" if name.endswith("l") else "json",
            _make_report(name),
            lambda path: write_report(path.parent),
            _is_page,
        )
        for name in (
            *(f"{name}.json" for name in _DOCUMENTS),
            "metrics.jsonl",
            "architecture.json",
            "shrinking.json",
        )
    ),
)
