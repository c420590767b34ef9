from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.interleaved_steps import Timings, compare

ROOT = Path(__file__).resolve().parents[2]

# Each step writes which side took it, and in which process.
SCRIPT = """
import dataclasses, json, os
from benchmarks import interleaved_steps
from benchmarks.interleaved_steps import Side

def build(name):
    def step():
        with open(os.environ["LOG"], "a") as log:
            print(name, os.getpid(), os.environ.get("COLOUR", "none"), file=log)
        return 0.0
    return step

def fail():
    raise ValueError("there is no such framework")

def main(sides):
    print(json.dumps(dataclasses.asdict(interleaved_steps.time_sides(sides, seed=0))))

interleaved_steps.run(main, lambda: {
    "one": Side(lambda: build("one")),
    "two": Side(lambda: build("two"), environment={"COLOUR": "red"}, max_steps=1),
    **({"three": Side(fail)} if "BROKEN" in os.environ else {}),
})
"""


def run_script(log: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, "--repeats=6", "--steps=3"],
        cwd=ROOT,
        env={**os.environ, "LOG": str(log), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def timings() -> Timings:
    """Returns the times of a side, of one half as quick, and of a slow one."""
    seconds = [0.1, 0.2, 0.1, 0.2, 0.1, 0.2]
    by_side = {
        "ours": seconds,
        "other": [2 * value for value in seconds],
        "slow": [8 * value for value in seconds],
    }
    return Timings(by_side, by_side, total_cpu_seconds=1.0)


def test_speedup_is_the_median_of_the_repeats_ratios() -> None:
    ours = np.arange(1.0, 11.0)  # what disturbs a repeat disturbs both sides
    others = ours * [1.1, 1.2, 1.3, 1.4, 1.5, 1.7, 1.8, 1.9, 2.0, 9.0]
    result = compare(ours, others)
    assert result["speedup_of_ours"] == pytest.approx(1.6)
    # Of 10 values the 2nd and the 9th: a median lies outside with a probability of
    # 2 * (1 + 10) / 2**10 = 2.1 %; of the 3rd and the 8th it would be 10.9 %.
    assert result["low_95"] == pytest.approx(1.2)
    assert result["high_95"] == pytest.approx(2.0)


def test_a_row_has_the_medians_of_its_side() -> None:
    row = timings().rows("ours", batch_size=60)[1]
    assert row["side"] == "other"
    # The median of 0.2, 0.2, 0.2, 0.4, 0.4, 0.4 seconds is 0.3.
    assert row["images_per_second"] == pytest.approx(60 / 0.3)
    assert row["cpu_ms"] == pytest.approx(300)
    assert row["speedup_of_ours"] == pytest.approx(2.0)


def test_a_target_is_met_only_if_the_baseline_fails() -> None:
    target = timings().target("ours", "slow", 3.0, baseline="other", called="the rest")
    assert target["name"] == (
        "times as quick as the rest, lower bound (95 %); baseline: other"
    )
    assert target["value"] == pytest.approx(8.0)
    assert target["baseline"] == pytest.approx(4.0)
    assert not target["met"]
    assert timings().target("ours", "slow", 5.0, baseline="other")["met"]


def test_sides_take_turns_in_processes_of_their_own(tmp_path: Path) -> None:
    done = run_script(tmp_path / "log")
    times = json.loads(done.stdout)
    assert {name: len(values) for name, values in times["seconds"].items()} == {
        "one": 6,
        "two": 6,
    }
    lines = (tmp_path / "log").read_text().splitlines()
    taken_by = [line.split()[0] for line in lines]
    # A warm-up and 6 repeats, each of one untimed and 3 timed steps (or `max_steps`).
    assert taken_by.count("one") == 7 * (1 + 3)
    assert taken_by.count("two") == 7 * (1 + 1)
    turns = [(name, len([*group])) for name, group in itertools.groupby(taken_by)]
    assert all(length % {"one": 4, "two": 2}[name] == 0 for name, length in turns)
    processes = {tuple(line.split()) for line in lines}
    assert [(name, colour) for name, _, colour in sorted(processes)] == [
        ("one", "none"),
        ("two", "red"),
    ]
    assert len({process for _, process, _ in processes}) == 2


def test_a_side_that_fails_is_named_with_its_error(tmp_path: Path) -> None:
    done = run_script(tmp_path / "log", BROKEN="yes")
    assert done.returncode == 1
    assert "error: three failed" in done.stderr
    assert "there is no such framework" in done.stderr
