"""Tests of what is left of the supernet in the course of a search."""

from __future__ import annotations

import dataclasses
import json
import xml.etree.ElementTree as ET
from pathlib import Path

from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.reporting.curves import search_charts, training_charts
from mobilenas_tf.reporting.number_format import format_value
from mobilenas_tf.reporting.run_data import Run, read_run


def _figures(run: Run) -> dict[str, ET.Element]:
    """Returns the charts by title."""
    page = ET.fromstring(f"<main>{search_charts(run)}</main>")
    return {str(figure.findtext(".//b")): figure for figure in page.iter("figure")}


def _legend(figure: ET.Element) -> list[str]:
    return ["".join(key.itertext()) for key in figure.iter("span")]


def test_supernet_joins_a_cost_that_counts_multiply_adds(
    shrinking_run_path: Path,
) -> None:
    figures = _figures(read_run(shrinking_run_path))
    chart = figures["Multiply-adds against the budget"]
    assert _legend(chart)[0] == "supernet 0.060 M"
    assert "Supernet MACs" not in figures
    line = chart.find(".//polyline")
    # 0..4 steps lie at x 60..1058, 0..100 k at y 248..10: 80 k at 57.6, 60 k at 105.2.
    assert line is not None
    assert line.get("points", "").split() == [
        *("60.0,10.0", "60.0,10.0"),
        *("60.0,10.0", "309.5,10.0"),
        *("309.5,57.6", "559.0,57.6"),
        *("559.0,57.6", "808.5,57.6"),
        *("808.5,105.2", "1058.0,105.2"),
    ]


def test_supernet_has_a_chart_of_its_own_under_a_budget_of_parameters(
    shrinking_run_path: Path,
) -> None:
    run = read_run(shrinking_run_path)
    assert run.search is not None
    search = dataclasses.replace(run.search, metric="params")
    figures = _figures(dataclasses.replace(run, search=search))
    assert _legend(figures["Supernet MACs"]) == ["0.060 M"]
    costs = _legend(figures["Parameters against the budget"])
    assert not any(name.startswith("supernet") for name in costs)


def test_rows_without_the_supernet_show_the_other_costs(run_path: Path) -> None:
    figures = _figures(read_run(run_path))
    names = [
        entry.split()[0]
        for entry in _legend(figures["Multiply-adds against the budget"])
    ]
    assert names == ["expected", "derived", "schedule", "budget"]
    assert "Supernet MACs" not in figures


def test_limit_of_several_budgets_is_the_smallest(shrinking_run_path: Path) -> None:
    figures = _figures(read_run(shrinking_run_path))
    legend = _legend(figures["Multiply-adds against the budget"])
    assert legend[-1] == "smallest budget 0.050 M"


def test_cuts_are_told_with_their_epochs_and_what_was_left(
    shrinking_run_path: Path,
) -> None:
    run = read_run(shrinking_run_path)
    assert run.search is not None
    whole = format_value("macs", network_cost(run.search.supernet).macs)
    assert (
        f"after epochs 1 and 3; 0.060 M of {whole} multiply-adds were left."
    ) in search_charts(run)
    once = dataclasses.replace(run, cuts=run.cuts[:1], search=None)
    assert "after epoch 1; 0.080 M multiply-adds were left." in search_charts(once)


def test_search_without_cuts_tells_of_none(run_path: Path) -> None:
    assert "Live shrinking" not in search_charts(read_run(run_path))


def test_a_detector_s_validation_is_drawn_as_mean_precision(tmp_path: Path) -> None:
    rows = [
        {"phase": "train", "step": step, "validation_ap": ap, "validation_ap50": 2 * ap}
        for step, ap in ((10, 0.125), (20, 0.25))
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "metrics.jsonl").write_text(lines)
    page = ET.fromstring(f"<main>{training_charts(read_run(tmp_path))}</main>")
    figures = {str(figure.findtext(".//b")): figure for figure in page.iter("figure")}
    assert list(figures) == ["Validation mAP"]
    assert _legend(figures["Validation mAP"]) == [
        "train, IoU 0.50 to 0.95 0.250",
        "train, IoU 0.50 0.500",
    ]
