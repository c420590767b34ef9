"""What a run folder records of the configurations that it was trained with."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from mobilenas_tf.json_io import from_plain, read_object

Config = TypeVar("Config")


def trained_with(run_path: Path, part: str, default: Config) -> Config:
    """Returns a part of what a run was trained with; the default if it does not say."""
    path = run_path / "config.json"
    trained = read_object(path) if path.exists() else {}
    if part not in trained:
        return default
    return from_plain(type(default), trained[part], f"{path}/{part}")
