"""A small run folder with every file, for the tests of the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mobilenas_tf.json_io import write_architecture, write_json
from mobilenas_tf.spec import (
    Architecture,
    Branch,
    Convolution,
    Head,
    InvertedResidual,
    SqueezeExcite,
    Stage,
)
from mobilenas_tf.training.run_dir import RunDir
from mobilenas_tf.widths import resize

NASTY = "<script>alert('&\"')</script>"


@pytest.fixture
def supernet() -> Architecture:
    branches = (Branch(3, 40), Branch(5, 80))
    return Architecture(
        name="small",
        image_size_px=16,
        stem=Convolution(8, 3, 2),
        stages=(
            Stage(
                (
                    InvertedResidual(16, branches, stride=2),
                    InvertedResidual(16, branches, has_residual=True),
                    InvertedResidual(
                        16,
                        branches,
                        has_residual=True,
                        squeeze_excite=SqueezeExcite(20),
                    ),
                )
            ),
        ),
        head=Head(num_classes=10, conv_channels=32),
    )


@pytest.fixture
def widths() -> dict[str, int]:
    """Loses block 1, and the 3x3 kernel of block 2."""
    return {
        "stem/output": 8,
        "stage1/block0/kernel3": 10,
        "stage1/block0/kernel5": 80,
        "stage1/block0/output": 8,
        "stage1/block1/kernel3": 0,
        "stage1/block1/kernel5": 0,
        "stage1/block2/kernel3": 0,
        "stage1/block2/kernel5": 20,
        "stage1/block2/squeeze_excite": 5,
        "head/conv": 24,
    }


@pytest.fixture
def documents(supernet: Architecture, widths: dict[str, int]) -> dict[str, Any]:
    """Returns the JSON files of a run by their names without ending."""
    return {
        "config": {"tool": "search_figs", "data": {"dataset": NASTY}, "seed": 0},
        "provenance": {"git_revision": "abc", "cpu": "some cpu"},
        "search": {
            "metric": "macs",
            "budget": 50_000,
            "supernet": supernet,
            "widths": widths,
            "probabilities": {"head/conv": {"mean": 0.75, "undecided": 0.125}},
        },
        "summary": {
            "columns": ["name", "macs", "float_accuracy", "int8_accuracy"],
            "rows": [
                {
                    "name": "figs",
                    "macs": 45_000,
                    "float_accuracy": 0.975,
                    "int8_accuracy": 0.97,
                    "median_ms": 0.25,
                },
                {"name": NASTY, "macs": 46_000, "float_accuracy": 0.96},
                {"name": "unknown", "macs": None, "int8_accuracy": None},
            ],
        },
        "confusion": {
            "class_names": ["cat", NASTY],
            "counts": [[3, 1], [0, 4]],
        },
        "parity": {"num_images": 8, "top1_agreement": 0.875, "remark": NASTY},
        "benchmark": [
            {
                "model": f"{NASTY}.tflite",
                "median_ms": 2.0,
                "p90_ms": 2.5,
                "repeat_medians_ms": [1.9, 2.0, 2.1],
            }
        ],
    }


@pytest.fixture
def metrics() -> list[dict[str, Any]]:
    search = [
        {
            "phase": "search",
            "step": step,
            "epoch": step / 10,
            "loss": 2.0 / (1 + step),
            "accuracy": 1 - 1 / (1 + step),
            "validation_accuracy": None,
            "expected_cost": 90_000 / (1 + step),
            "derived_cost": 95_000 / (1 + step),
            "target_cost": 60_000,
            "channels_alive": 300 - step,
            "penalty_strength": 0.0,
        }
        for step in range(5)
    ]
    training = [
        {"phase": phase, "step": step, "loss": 1.0, "validation_accuracy": 0.9}
        for phase in ("train", NASTY)
        for step in (1, 2)
    ]
    return search + training


@pytest.fixture
def run_path(
    tmp_path: Path,
    supernet: Architecture,
    widths: dict[str, int],
    documents: dict[str, Any],
    metrics: list[dict[str, Any]],
) -> Path:
    folder = tmp_path / "run <1>"
    for name, document in documents.items():
        write_json(folder / f"{name}.json", document)
    write_architecture(folder / "architecture.json", resize(supernet, widths))
    lines = "".join(json.dumps(row) + "\n" for row in metrics)
    (folder / "metrics.jsonl").write_text(lines)
    return folder


@pytest.fixture
def shrinking_run_path(run_path: Path, documents: dict[str, Any]) -> Path:
    """A run with live shrinking and three budgets; the largest keeps everything."""
    search = {
        **documents["search"],
        "inherited_validation_accuracy": 0.5,
        "width_scale": 0.4375,
    }
    wider = {**search["widths"], "stage1/block2/kernel3": 40}
    larger_budgets = {
        "120000_macs": {"widths": {}, "inherited_validation_accuracy": 0.75},
        "60000_macs": {"widths": wider, "inherited_validation_accuracy": 0.25},
    }
    write_json(run_path / "search.json", search)
    for name, changes in larger_budgets.items():
        budget = int(name.removesuffix("_macs"))
        document = {**search, **changes, "budget": budget}
        write_json(run_path / "snapshots" / name / "search.json", document)
    cuts = [
        {"epoch": 1, "macs": 80_000, "widths": {}},
        {"epoch": 3, "macs": 60_000, "widths": {}},
    ]
    write_json(run_path / "shrinking.json", cuts)
    left = (100_000, 100_000, 80_000, 80_000, 60_000)
    rows = RunDir(run_path).read_metrics()
    rows = [
        {**row, "supernet_macs": left[row["step"]]} if row["phase"] == "search" else row
        for row in rows
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (run_path / "metrics.jsonl").write_text(lines)
    return run_path
