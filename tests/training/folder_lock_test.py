"""Two processes do not work in one folder."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mobilenas_tf.training.folder_lock import hold_folder

HOLD = (
    "import pathlib, sys, time\n"
    "from mobilenas_tf.training.folder_lock import hold_folder\n"
    "hold_folder(pathlib.Path(sys.argv[1]))\n"
    "print('held', flush=True)\n"
    "time.sleep(60)\n"
)


def test_a_folder_is_another_processs_until_that_is_gone(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        with pytest.raises(ValueError, match=f"no other .*: {tmp_path}, which is in"):
            hold_folder(tmp_path)
        (tmp_path / "sub").mkdir()
        hold_folder(tmp_path / "sub")
        other.send_signal(signal.SIGKILL)
    hold_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["sub"]


def test_a_process_may_open_its_own_folder_again(tmp_path: Path) -> None:
    hold_folder(tmp_path)
    hold_folder(tmp_path)
    again = subprocess.run(
        [sys.executable, "-c", HOLD, str(tmp_path)], capture_output=True, text=True
    )
    assert "which is in use" in again.stderr
