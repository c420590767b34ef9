from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.evidence import target, without_folders

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import dataclasses
from absl import app
from benchmarks import evidence

@dataclasses.dataclass(frozen=True)
class Row:
    seconds: float

def main(_):
    print("a table")
    evidence.finish(
        figures=[Row(0.5)],
        settings={"seed": 3},
        targets=[evidence.target("seconds", 0.5, 1, at_most=True)],
    )

app.run(main)
"""


def test_a_target_says_what_is_wanted_and_whether_it_is_met() -> None:
    assert target("drop", 0.4, 0.5, at_most=True) == {
        "name": "drop",
        "value": 0.4,
        "target": "<= 0.5",
        "met": True,
    }
    assert target("rate", 9_999, 10_000, at_most=False) == {
        "name": "rate",
        "value": 9_999,
        "target": ">= 10000",
        "met": False,
    }


@pytest.mark.parametrize("at_most", [True, False])
def test_the_bound_itself_meets_the_target(at_most: bool) -> None:
    assert target("x", 1.0, 1.0, at_most=at_most)["met"]


@pytest.mark.parametrize("at_most", [True, False])
def test_no_number_meets_no_target(at_most: bool) -> None:
    assert not target("x", float("nan"), 1.0, at_most=at_most)["met"]


@pytest.mark.parametrize(
    ("value", "baseline", "is_met"),
    [(0.9, 1.5, True), (0.9, 0.95, False), (1.1, 1.5, False), (1.1, 0.9, False)],
)
def test_with_a_baseline_it_is_met_only_if_that_fails(
    value: float, baseline: float, is_met: bool
) -> None:
    result = target("x", value, 1.0, at_most=True, baseline=baseline)
    assert result["met"] is is_met
    assert result["baseline"] == baseline


def _run_script(*arguments: str) -> str:
    command = [sys.executable, "-c", SCRIPT, *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


def test_the_last_line_is_what_is_stored(tmp_path: Path) -> None:
    output = tmp_path / "results" / "x.json"
    table, line = _run_script(f"--output={output}").splitlines()
    assert table == "a table"
    document = json.loads(line)
    assert document["figures"] == [{"type": "Row", "seconds": 0.5}]
    assert document["settings"] == {"seed": 3}
    assert [target["met"] for target in document["targets"]] == [True]
    # No folder of the machine: the script's name, and the file without its path.
    command = ["python", "-m", "benchmarks.-c", f"--output={output.name}"]
    assert document["command"] == command
    assert {"versions", "git_revision", "cpu_model", "started"} <= set(document)
    assert json.loads(output.read_text()) == document


def test_without_output_nothing_is_stored() -> None:
    assert json.loads(_run_script().splitlines()[-1])["settings"] == {"seed": 3}


def test_folders_of_the_machine_are_cut_out() -> None:
    plain = {
        "command": ["--workdir=/tmp/x/runs", "--dataset=coco:/data/coco", "a/b.json"],
        "path": "/home/me/file.json",
        "source": "https://example.org/page",
    }
    assert without_folders(plain) == {
        "command": ["--workdir=runs", "--dataset=coco:coco", "a/b.json"],
        "path": "file.json",
        "source": "https://example.org/page",
    }
