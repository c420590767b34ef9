from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mobilenas_tf.json_io import read_architecture, read_json, write_json
from mobilenas_tf.reporting.compose import compose_run
from mobilenas_tf.reporting.run_data import read_run
from mobilenas_tf.training.run_dir import RunDir


def _part(path: Path, *phases: str, **documents: Any) -> Path:
    """Makes a run folder with one row of metrics for each phase, and JSON files."""
    path.mkdir(exist_ok=True)
    for step, phase in enumerate(phases):
        RunDir(path).append_metrics({"phase": phase, "step": step, "loss": 1.0})
    for name, document in documents.items():
        write_json(path / f"{name}.json", document)
    return path


def test_metrics_are_joined_in_the_order_of_the_parts(tmp_path: Path) -> None:
    parts = [
        _part(tmp_path / "search", "search", "search"),
        _part(tmp_path / "idle"),
        _part(tmp_path / "figs", "figs"),
    ]
    compose_run(tmp_path, parts)
    rows = RunDir(tmp_path).read_metrics()
    assert [(row["phase"], row["step"]) for row in rows] == [
        ("search", 0),
        ("search", 1),
        ("figs", 0),
    ]


def test_each_document_is_the_first_parts_that_has_one(tmp_path: Path) -> None:
    search = {"search": {"budget": 1}, "shrinking": [{"epoch": 1}]}
    parts = [
        _part(tmp_path / "search", **search, architecture={"of": "search"}),
        _part(tmp_path / "figs", architecture={"of": "figs"}, confusion={"of": "figs"}),
        _part(tmp_path / "uniform", confusion={"of": "uniform"}, parity={"of": "u"}),
    ]
    compose_run(tmp_path, parts)
    assert read_json(tmp_path / "search.json") == {"budget": 1}
    assert read_json(tmp_path / "shrinking.json") == [{"epoch": 1}]
    assert read_json(tmp_path / "architecture.json") == {"of": "search"}
    assert read_json(tmp_path / "confusion.json") == {"of": "figs"}
    assert read_json(tmp_path / "parity.json") == {"of": "u"}


def test_a_detectors_evaluation_comes_with_its_contact_sheet(tmp_path: Path) -> None:
    parts = [
        _part(tmp_path / "search"),
        _part(tmp_path / "float", detection_evaluation={"of": "float"}),
        _part(tmp_path / "int8", detection_evaluation={"of": "int8"}),
    ]
    (parts[1] / "contact_sheet.png").write_bytes(b"\x89PNG float")
    (parts[2] / "contact_sheet.png").write_bytes(b"\x89PNG int8")
    compose_run(tmp_path / "all", parts)
    assert read_json(tmp_path / "all/detection_evaluation.json") == {"of": "float"}
    assert (tmp_path / "all/contact_sheet.png").read_bytes() == b"\x89PNG float"


def test_the_targets_own_files_stay_and_others_are_not_taken(tmp_path: Path) -> None:
    _part(tmp_path, config={"tool": "demo"}, provenance={"command": ["demo"]})
    part = _part(tmp_path / "figs", "figs", config={"tool": "other"}, summary={})
    compose_run(tmp_path, [part])
    assert read_json(tmp_path / "config.json") == {"tool": "demo"}
    assert read_json(tmp_path / "provenance.json") == {"command": ["demo"]}
    assert not (tmp_path / "summary.json").exists()


def test_composing_twice_is_composing_once(tmp_path: Path) -> None:
    part = _part(tmp_path / "figs", "figs", parity={"num_images": 1})
    compose_run(tmp_path, [part])
    once = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    compose_run(tmp_path, [part])
    twice = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert twice == once


def test_a_missing_figure_stays_null(tmp_path: Path) -> None:
    part = _part(tmp_path / "figs")
    RunDir(part).append_metrics({"step": 0, "loss": float("nan")})
    compose_run(tmp_path, [part])
    (line,) = RunDir(tmp_path).metrics_path.read_text().splitlines()
    assert json.loads(line) == {"step": 0, "loss": None}


def test_the_report_reads_what_was_composed(run_path: Path, tmp_path: Path) -> None:
    target = tmp_path / "all"
    compose_run(target, [run_path])
    composed, part = read_run(target), read_run(run_path)
    assert composed.metrics == part.metrics
    assert read_architecture(target / "architecture.json") == read_architecture(
        run_path / "architecture.json"
    )
    assert composed.search == part.search


def test_a_damaged_document_is_named(tmp_path: Path) -> None:
    part = _part(tmp_path / "figs")
    (part / "parity.json").write_text("{")
    with pytest.raises(ValueError, match=r"figs/parity\.json must be JSON"):
        compose_run(tmp_path / "all", [part])
    assert not (tmp_path / "all").exists()
