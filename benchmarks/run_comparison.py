"""What differs between two run folders of one command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mobilenas_tf.json_io import read_json

# What is never the same, and what is no part of the result.
_TIMES = {"seconds", "images_per_second"}
_APART = {"config.json", "provenance.json", "report.html", "checkpoints", "tensorboard"}


def differences(expected: Path, found: Path) -> list[str]:
    """Returns the files that differ, but for times; names relative to the folders."""
    files, others = _files(expected), _files(found)
    return [
        name
        for name in sorted({*files, *others})
        if name not in files
        or name not in others
        or _content(files[name]) != _content(others[name])
    ]


def _files(folder: Path) -> dict[str, Path]:
    paths = {
        path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()
    }
    return {
        str(name): path for name, path in paths.items() if name.parts[0] not in _APART
    }


def _content(path: Path) -> Any:
    """Returns what a file says, in a form that can be compared."""
    if path.suffix == ".json":
        return _without_times(read_json(path))
    if path.suffix == ".jsonl":
        # In whatever order: workers write candidates down as they end.
        lines = path.read_text().splitlines()
        rows = [_without_times(json.loads(line)) for line in lines]
        return sorted(json.dumps(row, sort_keys=True) for row in rows)
    if path.suffix == ".npz":  # it holds the moment of its writing, too
        with np.load(path, allow_pickle=False) as arrays:
            return {key: (a.shape, a.dtype, a.tobytes()) for key, a in arrays.items()}
    return path.read_bytes()


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if key not in _TIMES}
        return {key: _without_times(item) for key, item in kept.items()}
    if isinstance(value, list):
        return [_without_times(item) for item in value]
    return value
