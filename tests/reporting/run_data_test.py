from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.json_io import write_json
from mobilenas_tf.reporting.run_data import metric_points, read_run
from mobilenas_tf.spec import Architecture
from mobilenas_tf.training.run_dir import RunDir


def test_rows_are_grouped_by_phase(tmp_path: Path) -> None:
    rows = [
        {"phase": "search", "step": 0, "loss": 2.0},
        {"phase": "train", "step": 0, "loss": 3.0},
        {"phase": "search", "step": 1, "loss": 1.0},
    ]
    for row in rows:
        RunDir(tmp_path).append_metrics(row)
    metrics = read_run(tmp_path).metrics
    assert list(metrics) == ["search", "train"]
    assert metric_points(metrics["search"], "loss") == ((0, 2.0), (1, 1.0))


def test_null_and_not_finite_values_are_no_points() -> None:
    rows = [
        {"step": 0, "loss": None},
        {"step": 1, "loss": float("nan")},
        {"step": 2},
        {"step": 3, "loss": 1},
    ]
    assert metric_points(rows, "loss") == ((3, 1),)


def test_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="run_path must be a run folder with"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"metric": "flops"},
            "search.json/metric must be one of .'macs', 'params', 'ms'",
        ),
        ({"budget": 0}, "search.json/budget must be above 0. Received: 0.0"),
        ({"widths": [8]}, "search.json/widths must be a JSON object"),
        ({"supernet": {}}, "search.json/supernet must have the key"),
        (
            {"widths": {"stem/output": 9}},
            "search.json/widths must fit the supernet: wid",
        ),
    ],
)
def test_malformed_search_is_named(
    tmp_path: Path, documents: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    write_json(tmp_path / "search.json", {**documents["search"], **change})
    with pytest.raises(ValueError, match=message):
        read_run(tmp_path)


def test_search_without_its_budget_is_refused(
    tmp_path: Path, documents: dict[str, Any]
) -> None:
    del documents["search"]["budget"]
    write_json(tmp_path / "search.json", documents["search"])
    with pytest.raises(ValueError, match="must have the key 'budget'"):
        read_run(tmp_path)


def test_snapshots_are_searches_by_folder(
    shrinking_run_path: Path, supernet: Architecture
) -> None:
    run = read_run(shrinking_run_path)
    assert list(run.snapshots) == ["snapshots/120000_macs", "snapshots/60000_macs"]
    largest = run.snapshots["snapshots/120000_macs"]
    assert (largest.budget, largest.metric) == (120_000, "macs")
    assert (largest.inherited_validation_accuracy, largest.width_scale) == (
        0.75,
        0.4375,
    )
    assert largest.cost == network_cost(supernet)


def test_unfinished_snapshot_is_left_out(shrinking_run_path: Path) -> None:
    folder = shrinking_run_path / "snapshots/60000_macs"
    (folder / "search.json").rename(folder / ".half.search.json")
    assert list(read_run(shrinking_run_path).snapshots) == ["snapshots/120000_macs"]


def test_malformed_snapshot_is_named(shrinking_run_path: Path) -> None:
    (shrinking_run_path / "snapshots/60000_macs/search.json").write_text("{}")
    with pytest.raises(ValueError, match=r"60000_macs/search.json must have the key"):
        read_run(shrinking_run_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "shrinking.json must be a list"),
        ("[1]", r"shrinking.json\[0\] must be a JSON object"),
        ('[{"epoch": 1}]', r"shrinking.json\[0\] must have the key 'macs'"),
    ],
)
def test_malformed_cuts_are_named(run_path: Path, text: str, message: str) -> None:
    (run_path / "shrinking.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_run(run_path)


def test_run_without_the_files_of_shrinking_and_budgets_has_none(
    run_path: Path,
) -> None:
    run = read_run(run_path)
    assert (run.snapshots, run.cuts) == ({}, ())
    assert run.search is not None
    assert run.search.inherited_validation_accuracy is None


def test_file_of_another_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"summary.json must be a JSON object"):
        read_run(tmp_path)
