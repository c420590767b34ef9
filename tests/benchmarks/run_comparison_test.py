from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.run_comparison import differences


def write_run(folder: Path, **changes: Any) -> Path:
    """Writes a run folder as a search leaves it."""
    values = {"loss": 0.5, "seconds": 1.0, "weight": 1.0, "macs": 8, **changes}
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "data").write_text(str(values["seconds"]))
    row = {"step": 1, "loss": values["loss"], "images_per_second": values["seconds"]}
    (folder / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    document = {"macs": values["macs"], "rows": [{"seconds": values["seconds"]}]}
    (folder / "search.json").write_text(json.dumps(document))
    (folder / "front" / "0").mkdir(parents=True)
    np.savez(folder / "front" / "0" / "inherited.npz", kernel=values["weight"])
    return folder


def test_runs_that_took_other_times_are_the_same(tmp_path: Path) -> None:
    first = write_run(tmp_path / "first")
    time.sleep(0.01)
    assert differences(first, write_run(tmp_path / "second", seconds=2.0)) == []


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"loss": np.nextafter(0.5, 1)}, "metrics.jsonl"),
        ({"macs": 9}, "search.json"),
        ({"weight": np.nextafter(1.0, 2)}, "front/0/inherited.npz"),
    ],
)
def test_the_last_bit_is_a_difference(
    tmp_path: Path, changes: dict[str, Any], name: str
) -> None:
    first = write_run(tmp_path / "first")
    assert differences(first, write_run(tmp_path / "second", **changes)) == [name]


def test_files_of_one_run_only_are_differences(tmp_path: Path) -> None:
    first, second = (write_run(tmp_path / name) for name in ("first", "second"))
    (first / "recipe.json").write_text("{}")
    (second / ".left").write_text("half")
    assert differences(first, second) == [".left", "recipe.json"]


def test_workers_may_write_rows_in_any_order(tmp_path: Path) -> None:
    rows = ['{"a": 1}\n', '{"a": 2}\n']
    first, second = (write_run(tmp_path / name) for name in ("first", "second"))
    (first / "evaluations.jsonl").write_text("".join(rows))
    (second / "evaluations.jsonl").write_text("".join(rows[::-1]))
    assert differences(first, second) == []
