"""A file system of two megabytes, for what is to happen when a disk is full."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

SIZE_BYTES = 2 * 2**20


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mounts it at a folder; the test is skipped where that is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_BYTES}", "tmpfs", folder]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a file system takes root's rights")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path, *, leave_bytes: int) -> Path:
    """Fills the disk up with a file, and returns it."""
    stat = os.statvfs(folder)
    path = folder / "filling"
    path.write_bytes(bytes(stat.f_bavail * stat.f_frsize - leave_bytes))
    return path
