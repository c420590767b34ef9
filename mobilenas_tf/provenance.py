"""What a result was made with, as plain data: command, revision, versions, machine."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# The packages whose version can change a result.
_PACKAGES = (
    "tensorflow",
    "keras",
    "tf-keras",
    "keras-cv",
    "tensorflow-datasets",
    "tensorflow-model-optimization",
    "ai-edge-litert",
    "numpy",
    "scikit-learn",
    "pillow",
)


def describe_provenance(command: Sequence[str]) -> dict[str, Any]:
    """Returns what is being run, by which revision and versions, where and when.

    Args:
        command: The command line, e.g. `sys.argv`.
    """
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": list(command),
        "git_revision": _git_revision(),
        "versions": {"python": platform.python_version(), **_package_versions()},
        "platform": platform.platform(),
        "cpu_model": cpu_model(),
        "num_cores": os.cpu_count(),
    }


def cpu_model() -> str:
    """Returns the processor's name, or else its architecture."""
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.exists():
        for line in cpu_info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git_revision() -> str | None:
    """Returns the toolkit's revision, ending in `-dirty` if tracked files differ."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None  # a copy without history, perhaps inside another repository
    # Of the revision alone (no tag), and without the lock that git status would take.
    command = (
        "git --no-optional-locks describe --always --dirty --abbrev=40 --exclude *"
    )
    try:
        result = subprocess.run(
            command.split(), cwd=root, capture_output=True, text=True, check=True
        )
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None  # no git on this machine, or no commit yet
    return result.stdout.strip()


def _package_versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions
