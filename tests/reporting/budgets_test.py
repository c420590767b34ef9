"""Tests of the section on the networks of one search."""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.json_io import read_object, write_json
from mobilenas_tf.reporting.budgets import budget_section, front_scatter, pareto_front
from mobilenas_tf.reporting.number_format import format_value
from mobilenas_tf.reporting.run_data import Run, read_run
from mobilenas_tf.spec import Architecture
from mobilenas_tf.widths import resize


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([], ()),
        ([(1, 0.5)], (0,)),
        ([(3, 0.9), (1, 0.5), (2, 0.4), (4, 0.9)], (1, 0)),
        ([(1, 0.5), (1, 0.6)], (1,)),
        ([(1, 0.5), (2, 0.5)], (0,)),
        ([(1, 0.5), (1, 0.5), (2, 0.4)], (0, 1)),
        ([(1, 0.0), (2, 0.5), (3, 1.0)], (0, 1, 2)),
    ],
)
def test_front_has_what_nothing_else_beats(
    points: list[tuple[float, float]], front: tuple[int, ...]
) -> None:
    assert pareto_front(points) == front


def _row(budget: float, params: int, accuracy: float | None) -> dict[str, float | None]:
    return {
        "budget_params": budget,
        "params": params,
        "inherited_validation_accuracy": accuracy,
    }


def test_scatter_joins_the_front_and_hollows_the_others() -> None:
    rows = [
        _row(50_000, 40_000, 0.6),
        _row(70_000, 60_000, 0.5),
        _row(90_000, 80_000, 0.8),
        _row(95_000, 95_000, None),
    ]
    chart = ET.fromstring(front_scatter(rows, metric="params"))
    # 0..80 k lie at x 60..1050, 50..80 % at y 240..14.
    line = chart.find(".//polyline")
    assert line is not None
    assert line.get("points") == "555.0,164.7 1050.0,14.0"
    discs = [
        (float(disc.get("cx", "")), "hollow" in disc.get("class", ""))
        for disc in chart.iter("circle")
    ]
    assert discs == [(555, False), (60 + 990 * 0.75, True), (1050, False)]
    texts = {text.text for text in chart.iter("text")}
    assert {"budget 50.00 k", "budget 70.00 k", "budget 90.00 k"} <= texts
    assert "budget 95.00 k" not in texts
    keys = ["".join(key.itertext()) for key in chart.iter("span")]
    assert keys == ["on the Pareto front", "dominated"]


def test_equal_networks_are_both_on_the_front() -> None:
    rows = [_row(50_000, 40_000, 0.5), _row(60_000, 40_000, 0.5)]
    chart = ET.fromstring(front_scatter(rows, metric="params"))
    assert "dominated" not in "".join(chart.itertext())


def test_scatter_needs_two_accuracies() -> None:
    rows = [_row(50_000, 40_000, 0.5), _row(60_000, 50_000, None)]
    assert front_scatter(rows, metric="params") == ""


def _table(section: str) -> list[list[str]]:
    rows = re.findall(r"<tr.*?</tr>", section)
    return [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in rows]


def test_table_has_a_line_for_each_budget_from_the_smallest_on(
    shrinking_run_path: Path, supernet: Architecture, widths: dict[str, int]
) -> None:
    heading, *lines = _table(budget_section(read_run(shrinking_run_path)))
    assert heading == [
        "budget",
        "MACs",
        "parameters",
        "inherited validation accuracy",
        "width scale",
        "folder",
    ]
    assert [line[0] for line in lines] == ["0.050 M", "0.060 M", "0.120 M"]
    assert [line[3] for line in lines] == ["50.00 %", "25.00 %", "75.00 %"]
    assert {line[4] for line in lines} == {"0.4375"}
    folder = "run &lt;1&gt;"
    assert [line[5] for line in lines] == [
        folder,
        f"{folder}/snapshots/60000_macs",
        f"{folder}/snapshots/120000_macs",
    ]
    for line, network in ((lines[0], resize(supernet, widths)), (lines[2], supernet)):
        cost = network_cost(network)
        expected = [
            format_value("macs", cost.macs),
            format_value("params", cost.params),
        ]
        assert line[1:3] == expected


def test_section_says_that_inherited_accuracies_are_no_results(
    shrinking_run_path: Path,
) -> None:
    section = budget_section(read_run(shrinking_run_path))
    assert "One search found 3 networks" in section
    assert "never trained at the final widths" in section
    assert "no results" in section


def _without_accuracies(run: Run) -> Run:
    changed = {
        folder: dataclasses.replace(result, inherited_validation_accuracy=None)
        for folder, result in run.snapshots.items()
    }
    return dataclasses.replace(run, snapshots=changed)


def test_networks_without_an_accuracy_are_in_the_table_only(
    shrinking_run_path: Path,
) -> None:
    section = budget_section(_without_accuracies(read_run(shrinking_run_path)))
    assert "<svg" not in section
    assert [line[3] for line in _table(section)[1:]] == ["50.00 %", "–", "–"]


def test_unfinished_search_shows_its_snapshots(shrinking_run_path: Path) -> None:
    (shrinking_run_path / "search.json").unlink()
    section = budget_section(read_run(shrinking_run_path))
    assert len(_table(section)) == 3
    assert "highlighted" not in section


def test_search_for_one_budget_has_no_such_section(run_path: Path) -> None:
    assert budget_section(read_run(run_path)) == ""


def _judge_by_precision(run_path: Path) -> None:
    """Makes the searches in a run folder those of detectors."""
    for file in run_path.rglob("search.json"):
        document = read_object(file)
        accuracy = document.pop("inherited_validation_accuracy")
        write_json(file, document | {"inherited_validation_ap": accuracy / 2})


def test_detectors_are_compared_by_their_inherited_precision(
    shrinking_run_path: Path,
) -> None:
    _judge_by_precision(shrinking_run_path)
    section = budget_section(read_run(shrinking_run_path))
    heading, *lines = _table(section)
    assert heading[3] == "inherited validation mAP"
    assert [line[3] for line in lines] == ["0.250", "0.125", "0.375"]
    assert "Inherited validation mAP over cost" in section
    assert "The mAPs are those of weights inherited" in section
    assert "ccurac" not in section
