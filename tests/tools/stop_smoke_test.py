"""A search that is asked to stop, is killed, and ends as one that was left alone."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.run_comparison import differences
from tests.small_disk import fill, small_disk
from tests.tools.run_binary import ROOT, run_binary

pytestmark = pytest.mark.slow

SEARCH = (
    *("search_figs", "--dataset=digits", "--batch_size=64", "--deterministic"),
    *("--space=figs_quantized_16", "--max_macs=3e5", "--epochs=3"),
)
SAVES_OFTEN = "--checkpoint_minutes=0.005"
_WAIT_SECONDS = 300


def start(folder: Path) -> subprocess.Popen[str]:
    tool, *arguments = SEARCH
    command = [sys.executable, "-m", f"tools.{tool}", *arguments, SAVES_OFTEN]
    return subprocess.Popen(
        [*command, f"--workdir={folder}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end_behind_another_checkpoint(folder: Path, number: signal.Signals) -> tuple:
    """Returns status and standard error of a process that got a signal."""
    before = {path.name for path in (folder / "checkpoints").glob("ckpt-*")}
    process = start(folder)
    for _ in range(10 * _WAIT_SECONDS):
        now = {path.name for path in (folder / "checkpoints").glob("ckpt-*")}
        if now - before:
            break
        time.sleep(0.1)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=_WAIT_SECONDS)
    return process.returncode, stderr


def test_it_saves_at_sigterm_and_goes_on_behind_sigkill(tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert run_binary(ROOT, *SEARCH, f"--workdir={whole}").status == 0
    status, stderr = end_behind_another_checkpoint(stopped, signal.SIGTERM)
    assert status == 143
    assert stderr.startswith("interrupted by SIGTERM; saved after batch ")
    status, _ = end_behind_another_checkpoint(stopped, signal.SIGKILL)
    assert status == -signal.SIGKILL
    answer = run_binary(ROOT, *SEARCH, f"--workdir={stopped}")
    assert f"Going on in {stopped} after" in answer.stdout
    assert differences(whole, stopped) == []


def test_a_full_disk_is_one_sentence_and_status_1(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        fill(disk, leave_bytes=100_000)
        answer = run_binary(ROOT, *SEARCH, f"--workdir={disk / 'run'}")
        assert answer.mistake == (
            f"No space left on device: {disk}/run/checkpoints/ckpt-1"
        )
        assert not list((disk / "run" / "checkpoints").iterdir())
