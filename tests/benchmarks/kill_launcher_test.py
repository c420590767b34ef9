from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.kill_launcher import Events, fatal_writer

PROGRAM = """
import sys
from pathlib import Path
from benchmarks.kill_launcher import Events, patch
patch(Events(int(sys.argv[1]), Path("events")))
from mobilenas_tf.json_io import write_json
from mobilenas_tf.whole_files import append_line
append_line(Path("rows.jsonl"), "0123456789")
write_json("a.json", [1])
"""


@pytest.mark.slow
def test_a_process_dies_at_any_of_its_writes(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]

    def run(fatal: int) -> int:
        command = [sys.executable, "-c", PROGRAM, str(fatal)]
        environment = {"PYTHONPATH": str(root), "TF_CPP_MIN_LOG_LEVEL": "3"}
        return subprocess.run(command, cwd=tmp_path, env=environment).returncode

    assert run(2) == -signal.SIGKILL  # behind the write, before its flush
    assert (tmp_path / "rows.jsonl").read_text() == "0123456789\n"
    assert run(1) == -signal.SIGKILL
    assert (tmp_path / "rows.jsonl").read_text() == "0123456789\n01234"
    assert run(5) == -signal.SIGKILL
    assert not (tmp_path / "a.json").exists()
    (tmp_path / "events").unlink()
    assert run(0) == 0
    kinds = [line.split()[0] for line in (tmp_path / "events").read_text().splitlines()]
    assert kinds == ["write", "flush", "write", "flush", "rename", "flush"]


def test_a_write_that_is_fatal_leaves_half_of_every_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(_: object, prefix: str) -> None:
        for ending in ("index", "data"):
            Path(f"{prefix}.{ending}").write_bytes(b"0123456789")

    monkeypatch.setattr("benchmarks.kill_launcher.die", lambda: None)
    events = Events(2, tmp_path / "events")
    write = fatal_writer(events, save)
    write(None, str(tmp_path / "whole"))
    write(None, str(tmp_path / "half"))
    sizes = {path.name: path.stat().st_size for path in tmp_path.glob("*.*")}
    assert sizes == {
        **{"whole.index": 10, "whole.data": 10},
        **{"half.index": 5, "half.data": 5},
    }
    assert (tmp_path / "events").read_text() == "write whole\nwrite half\n"
