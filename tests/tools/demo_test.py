"""The main job end to end with tiny settings, as a user starts it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.spaces import named_space
from tests.tools.run_binary import run_binary
from tools.demo import task_of

HEADINGS = ("name", "MACs", "parameters", "float accuracy", "int8 accuracy")
HEADINGS += ("file size", "median", "p90")


@pytest.mark.slow
def test_the_demo_leaves_two_networks_of_the_same_budget(tmp_path: Path) -> None:
    answer = run_binary(
        tmp_path,
        "demo",
        "--search_epochs=1",
        "--epochs=1",
        "--warmup_epochs=0.5",
        "--workdir=demo",
        "--json",
    )
    result = answer.result
    assert list(result) == ["rows", "budget_macs", "report"]
    supernet = named_space("figs_quantized_16", num_classes=10).supernet
    assert result["budget_macs"] == pytest.approx(0.4 * network_cost(supernet).macs)
    rows = result["rows"]
    assert [row["name"] for row in rows] == ["figs", "uniform"]
    for row in rows:
        assert 0.97 <= row["macs"] / result["budget_macs"] <= 1
        model = tmp_path / row["model"]
        assert model.stat().st_size == row["file_bytes"]
        assert model.read_bytes()[4:8] == b"TFL3"
        assert 0 < row["median_ms"] <= row["p90_ms"]
        for accuracy in ("float_accuracy", "int8_accuracy"):
            assert 0 <= row[accuracy] <= 1
    root = tmp_path / "demo"
    summary = json.loads((root / "summary.json").read_text())
    columns = ["name", "macs", "params", "float_accuracy", "int8_accuracy"]
    columns += ["file_bytes", "median_ms", "p90_ms"]
    assert summary == {"columns": columns, "rows": rows}
    timings = json.loads((root / "benchmark.json").read_text())
    assert [timing["model"] for timing in timings] == [row["model"] for row in rows]
    assert result["report"] == "demo/report.html"
    assert (tmp_path / result["report"]).read_text().rstrip().endswith("</html>")
    heading, _, *table = answer.stdout.splitlines()[-5:-1]
    assert heading.split("  ") and all(name in heading for name in HEADINGS)
    assert [line.split()[0] for line in table] == ["figs", "uniform"]


@pytest.mark.slow
def test_the_detection_demo_leaves_a_detector_that_was_evaluated(
    tmp_path: Path,
) -> None:
    answer = run_binary(
        tmp_path,
        "demo",
        "--task=detection",
        "--search_epochs=1",
        "--epochs=1",
        "--max_train_images=32",
        "--workdir=demo",
        "--json",
    )
    result = answer.result
    assert list(result) == ["rows", "budget_macs", "report"]
    (row,) = result["rows"]
    assert 0.97 <= row["macs"] / result["budget_macs"] <= 1
    assert (tmp_path / row["model"]).read_bytes()[4:8] == b"TFL3"
    for precision in ("float_ap", "float_ap50", "int8_ap"):
        assert 0 <= row[precision] <= 1
    root = tmp_path / "demo"
    evaluation = json.loads((root / "detection_evaluation.json").read_text())
    assert evaluation["metrics"]["ap"] == row["int8_ap"]
    assert evaluation["num_images"] == 300
    assert (root / "contact_sheet.jpg").read_bytes()[:2] == b"\xff\xd8"
    assert (tmp_path / result["report"]).read_text().rstrip().endswith("</html>")


@pytest.mark.parametrize(
    ("arguments", "task"),
    [
        ([], "classification"),
        (["--epochs=3", "--task=detection"], "detection"),
        (["--task", "detection", "--epochs=3"], "detection"),
        (["--task=segmentation"], "classification"),
    ],
)
def test_the_task_is_known_before_the_other_flags(
    arguments: list[str], task: str
) -> None:
    assert task_of(["demo", *arguments]) == task
