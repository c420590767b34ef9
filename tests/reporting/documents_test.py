"""Documents that do not hold what the report shows, and what a user is told of them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from mobilenas_tf.json_io import write_json
from mobilenas_tf.reporting.documents import read_kind
from tests.reporting import detection_test, joint_test, one_shot_test, operators_test

DOCUMENTS: dict[str, Any] = {
    "joint": joint_test.DOCUMENT,
    "one_shot": one_shot_test.DOCUMENT,
    "operators": operators_test.DOCUMENT,
    "detection_evaluation": detection_test.evaluation_document(),
    "confusion": {"class_names": ["a", "b"], "counts": [[3, 1], [0, 2]]},
    "summary": {"rows": [{"name": "a", "macs": 10, "float_accuracy": 0.5}]},
    "provenance": {"started": "2026-11-21T23:24:05+00:00"},
    "benchmark": [{"model": "a", "median_ms": 2.0, "repeat_medians_ms": [1.9, 2.1]}],
}


def _read(folder: Path, name: str, document: Any) -> Any:
    path = folder / f"{name}.json"
    write_json(path, document)
    return read_kind(name, path)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_whole_document_is_read(name: str, tmp_path: Path) -> None:
    _read(tmp_path, name, DOCUMENTS[name])


def test_keys_that_the_report_does_not_show_are_let_be(tmp_path: Path) -> None:
    document = {**joint_test.DOCUMENT, "wall_hours": [3]}
    assert _read(tmp_path, "joint", document)["wall_hours"] == [3]


@pytest.mark.parametrize(
    ("name", "place", "value", "message"),
    [
        ("joint", ("rounds", 0, "round"), "0", "/rounds[0]/round must be of type int"),
        ("joint", ("rounds", 1, "predicted"), [], "/rounds[1] must have as many pred"),
        ("joint", ("effects", 0, "values"), [], "/effects[0] must have as many values"),
        ("joint", ("metric",), "flops", "/metric must be one of macs, params, ms"),
        ("joint", ("budgets", "flops"), 1.0, "/budgets must be one of macs, params"),
        ("joint", ("front", 0, "accuracy"), 1.5, "/front[0] must have a cost in macs "),
        ("joint", ("front", 1, "costs"), {}, "/front[1] must have a cost in macs from"),
        ("joint", ("best",), None, "/best must be a JSON object. Received: None"),
        ("one_shot", ("front",), [], "/front must have at least one network"),
        (
            "one_shot",
            ("turned_off", 0),
            {},
            "/turned_off[0] must have the key 'behind'",
        ),
        (
            "one_shot",
            ("generations", 0, "front"),
            [[1]],
            "/front[0] must be a list of 2",
        ),
        (
            "operators",
            ("probabilities",),
            {},
            "/probabilities must be one for each cand",
        ),
        ("operators", ("found", "genotype"), {}, "/found/genotype must choose a cand"),
        (
            "confusion",
            ("counts",),
            [[1, 2]],
            "/counts must be a square with one row and",
        ),
        (
            "confusion",
            ("counts", 0, 0),
            -1,
            "/counts must be 0 or more. Received: a neg",
        ),
        (
            "confusion",
            ("class_names",),
            [],
            "/counts must be a square .* each of the 0",
        ),
        ("summary", ("rows", 0, "macs"), -1, "/rows[0]/macs must be 0 or more"),
        (
            "summary",
            ("rows", 0, "float_accuracy"),
            2,
            "/float_accuracy must be in [0, 1]",
        ),
        ("summary", ("rows",), {}, "/rows must be a list. Received: {}"),
        ("provenance", ("started",), "today", "/started must be a date of ISO 8601."),
        (
            "benchmark",
            (0, "repeat_medians_ms", 1),
            -1,
            "result 0,/repeat_medians_ms mu",
        ),
        ("benchmark", (0,), 1.5, " must hold JSON objects. Received: 1.5"),
        ("detection_evaluation", ("metrics",), None, "/metrics must be a JSON object"),
        ("detection_evaluation", ("classes",), {}, "/classes must be a list"),
        (
            "detection_evaluation",
            ("threshold",),
            0.5,
            "/threshold must be a JSON object",
        ),
        ("detection_evaluation", ("recalls",), [0.5], "/curves must have a precision"),
        (
            "detection_evaluation",
            ("curves", "all"),
            {"mean": [0, 0, 0]},
            "/curves must have iou50 and mean. Received: ['mean']",
        ),
    ],
)
def test_a_document_that_cannot_be_shown_is_named_with_the_key(
    name: str, place: tuple[str | int, ...], value: Any, message: str, tmp_path: Path
) -> None:
    document = copy.deepcopy(DOCUMENTS[name])
    *way, last = place
    inner = document
    for step in way:
        inner = inner[step]
    inner[last] = value
    with pytest.raises(ValueError) as error:
        _read(tmp_path, name, document)
    told = str(error.value)
    assert told.startswith(str(tmp_path / f"{name}.json"))
    start, _, end = message.partition(" .* ")
    assert start in told and end in told
