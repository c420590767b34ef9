from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilenas_tf.json_io import read_json
from mobilenas_tf.training.run_dir import RunDir, open_run_dir


@dataclasses.dataclass(frozen=True)
class FigsConfig:
    temperature: float = 0.5
    sizes: tuple[int, ...] = (3, 5)


def _open(path: Path, config: Any = None, **options: Any) -> RunDir:
    config = {"figs": FigsConfig(), "seed": 0} if config is None else config
    return open_run_dir(path, config=config, command=["search", "--seed=0"], **options)


def test_a_new_run_has_its_config_and_provenance(tmp_path: Path) -> None:
    run = _open(tmp_path / "runs" / "one")
    assert read_json(run.path / "config.json") == {
        "figs": {"type": "FigsConfig", "temperature": 0.5, "sizes": [3, 5]},
        "seed": 0,
    }
    provenance = read_json(run.path / "provenance.json")
    assert provenance["command"] == ["search", "--seed=0"]
    assert provenance["earlier_starts"] == []


def test_every_start_stays_on_record(tmp_path: Path) -> None:
    for seconds in range(3):
        open_run_dir(tmp_path, config={}, command=[f"start {seconds}"])
    provenance = read_json(tmp_path / "provenance.json")
    assert provenance["command"] == ["start 2"]
    earlier = provenance["earlier_starts"]
    assert [start["command"] for start in earlier] == [["start 0"], ["start 1"]]
    assert all(set(start) == set(provenance) - {"earlier_starts"} for start in earlier)


def test_the_same_config_goes_on(tmp_path: Path) -> None:
    _open(tmp_path).append_metrics({"step": 1})
    assert _open(tmp_path).read_metrics() == ({"step": 1},)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            {"figs": FigsConfig(temperature=0.1), "seed": 0},
            "figs/temperature must be as in .*config.json, where a run began; give "
            "another folder for another run. Received: figs/temperature=0.1 instead of "
            "0.5",
        ),
        (
            {"figs": FigsConfig(sizes=(3, 7)), "seed": 0},
            "figs/sizes/1=7 instead of 5",
        ),
        ({"figs": FigsConfig(sizes=()), "seed": 0}, "sizes/0=nothing instead of 3"),
        ({"figs": FigsConfig()}, "seed=nothing instead of 0"),
        ({"figs": FigsConfig(), "seed": 0, "x": "y"}, "x='y' instead of nothing"),
    ],
)
def test_another_config_is_refused_by_the_key_that_differs(
    tmp_path: Path, config: Any, words: str
) -> None:
    _open(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=words):
        _open(tmp_path, config)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_how_often_a_run_is_saved_may_change(tmp_path: Path) -> None:
    older = {"training": {"epochs": 3, "checkpoint_every_epochs": 1}}
    _open(tmp_path, older)
    now = {"checkpoint_every_epochs": 2, "checkpoint_minutes": 5.0}
    _open(tmp_path, {"training": {"epochs": 3, **now}})
    with pytest.raises(ValueError, match="training/epochs must be as in"):
        _open(tmp_path, {"training": {"epochs": 4, **now}})


def test_an_option_that_an_older_run_did_not_know_may_be_off(tmp_path: Path) -> None:
    _open(tmp_path, {"training": {"epochs": 3}})
    _open(tmp_path, {"training": {"epochs": 3, "deterministic": False}})
    with pytest.raises(ValueError, match="deterministic=True instead of nothing"):
        _open(tmp_path, {"training": {"epochs": 3, "deterministic": True}})


def test_what_a_killed_process_was_writing_is_removed(tmp_path: Path) -> None:
    _open(tmp_path)
    leftover = tmp_path / ".0123456789abcdef.report.html"
    leftover.write_text("half")
    _open(tmp_path)
    assert not leftover.exists()


def test_a_run_is_not_gone_on_with_unless_asked(tmp_path: Path) -> None:
    _open(tmp_path, resume=False)
    with pytest.raises(FileExistsError, match="path must be a new folder.*holds a run"):
        _open(tmp_path, resume=False)


def test_a_malformed_config_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json must be JSON"):
        _open(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("provenance.json", "[]", "provenance.json must be a JSON object"),
        ("provenance.json", "{", "provenance.json must be JSON"),
        ("provenance.json", '{"earlier_starts": 3}', "earlier_starts must be a list"),
        ("metrics.jsonl", "[]\n", "metrics.jsonl, line 1, must be an object"),
        ("config.json", "[NaN]", "config.json must be JSON"),
    ],
)
def test_a_damaged_run_is_named_and_left_as_it_is(
    tmp_path: Path, name: str, text: str, words: str
) -> None:
    _open(tmp_path)
    _open(tmp_path).append_metrics({"step": 1})
    (tmp_path / name).write_text(text)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=words):
        _open(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_starts_are_kept_in_their_order(tmp_path: Path) -> None:
    for command in ("first", "second", "third"):
        open_run_dir(tmp_path, config={"seed": 0}, command=[command])
    made_by = json.loads((tmp_path / "provenance.json").read_text())
    earlier = [start["command"] for start in made_by["earlier_starts"]]
    assert [*earlier, made_by["command"]] == [["first"], ["second"], ["third"]]


def test_a_run_folder_cannot_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):
        _open(tmp_path / "file")


def test_metrics_come_back_as_they_were_given(tmp_path: Path) -> None:
    run = _open(tmp_path)
    assert run.read_metrics() == ()
    rows = [
        {"step": 1, "phase": "search", "loss": 0.25, "done": False},
        {"step": 2, "phase": "search", "loss": None, "note": "ä"},
    ]
    for row in rows:
        run.append_metrics(row)
    assert run.read_metrics() == tuple(rows)


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    run = _open(tmp_path)
    run.append_metrics(
        {"step": 1, "a": float("nan"), "b": float("-inf"), "c": np.float32("inf")}
    )

    def refuse(constant: str) -> None:
        raise AssertionError(f"not strict JSON: {constant}")

    line = (tmp_path / "metrics.jsonl").read_text()
    row = json.loads(line, parse_constant=refuse)
    assert row == {"step": 1, "a": None, "b": None, "c": None}


def test_numpy_scalars_are_plain_numbers(tmp_path: Path) -> None:
    run = _open(tmp_path)
    run.append_metrics({"step": np.int64(3), "loss": np.float32(0.5)})
    assert run.read_metrics() == ({"step": 3, "loss": 0.5},)


@pytest.mark.parametrize("step", [None, 1.5, "1", True, -1])
def test_a_row_needs_an_integer_step(tmp_path: Path, step: Any) -> None:
    with pytest.raises(
        ValueError, match=f"integer step from 0. Received: step={step!r}"
    ):
        _open(tmp_path).append_metrics({"step": step})


def test_a_row_with_an_array_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    run = _open(tmp_path)
    for value, kind in ((np.zeros(2), "ndarray"), ([0.5], "list")):
        with pytest.raises(ValueError, match=f"numbers, text and None only.*{kind}"):
            run.append_metrics({"step": 1, "probabilities": value})
    assert run.read_metrics() == ()


def test_a_half_written_row_is_dropped(tmp_path: Path) -> None:
    run = _open(tmp_path)
    run.append_metrics({"step": 1})
    with run.metrics_path.open("ab") as file:
        file.write(b'{"step": 2, "lo')
    assert run.read_metrics() == ({"step": 1},)
    reopened = _open(tmp_path)
    reopened.append_metrics({"step": 2})
    assert reopened.read_metrics() == ({"step": 1}, {"step": 2})


@pytest.mark.parametrize(
    "line",
    [
        "[1]",
        '{"loss": 1}',
        "{",
        '{"step": 1.5}',
        '{"step": 1, "p": []}',
        '{"step": 1, "p": NaN}',
    ],
)
def test_a_malformed_row_is_named_by_file_and_line(tmp_path: Path, line: str) -> None:
    run = _open(tmp_path)
    run.append_metrics({"step": 1})
    with run.metrics_path.open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2, must"):
        run.read_metrics()


@pytest.mark.parametrize(
    ("step", "kept"), [(0, []), (2, [1, 2]), (3, [1, 2]), (9, [1, 2, 4])]
)
def test_rows_after_a_step_are_dropped(
    tmp_path: Path, step: int, kept: list[int]
) -> None:
    run = _open(tmp_path)
    run.truncate_metrics_after(step)  # nothing there yet
    for row in (1, 2, 4):
        run.append_metrics({"step": row})
    run.truncate_metrics_after(step)
    assert [row["step"] for row in run.read_metrics()] == kept


def test_the_paths_are_inside_the_folder(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    names = {
        run.architecture_path: "architecture.json",
        run.checkpoints_path: "checkpoints",
        run.tensorboard_path: "tensorboard",
        run.report_path: "report.html",
        run.metrics_path: "metrics.jsonl",
    }
    for path, name in names.items():
        assert path == tmp_path / name


def test_a_start_that_died_before_its_configuration_leaves_nothing(tmp_path: Path):
    (tmp_path / ".0123456789abcdef.config.json").write_text("half")
    open_run_dir(tmp_path, config={"seed": 0}, command=[])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("config.json", "provenance.json"),
    ]
