"""A run folder: what was asked, what made it, and the metrics as they come.

What stands in the other files of the folder is left to those who write them.
"""

from __future__ import annotations

import dataclasses
import json
import math
import numbers
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mobilenas_tf.architecture_source import ARCHITECTURE_FILE
from mobilenas_tf.json_io import (
    from_plain,
    read_json,
    read_object,
    to_plain,
    write_json,
)
from mobilenas_tf.json_text import parse_json, shown
from mobilenas_tf.provenance import describe_provenance
from mobilenas_tf.training.folder_lock import hold_folder
from mobilenas_tf.whole_files import (
    append_line,
    remove_leftovers,
    write_bytes_atomically,
)

_ABSENT = object()
# Options that decide when a run is saved, not what comes out.
_WITHOUT_EFFECT = ("checkpoint_every_epochs", "checkpoint_minutes")


@dataclasses.dataclass(frozen=True)
class RunDir:
    """An opened run folder. Metrics are rows with a rising integer `step`."""

    path: Path

    @property
    def architecture_path(self) -> Path:
        """Returns where the found or trained network's architecture stands."""
        return self.path / ARCHITECTURE_FILE

    @property
    def checkpoints_path(self) -> Path:
        """Returns the folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def tensorboard_path(self) -> Path:
        """Returns the folder of TensorBoard's events."""
        return self.path / "tensorboard"

    @property
    def report_path(self) -> Path:
        """Returns where the report stands."""
        return self.path / "report.html"

    @property
    def metrics_path(self) -> Path:
        """Returns where the metrics stand, one JSON object a line."""
        return self.path / "metrics.jsonl"

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        """Adds a row to the metrics. Numbers that are not finite become null.

        Args:
            row: An integer `step` from 0 and plain values: numbers (NumPy's too), text,
                None.

        Raises:
            ValueError: If there is no such `step`, or a value is not plain.
        """
        plain = {key: _finite(value) for key, value in row.items()}
        _check_row(plain, "row")
        append_line(self.metrics_path, json.dumps(plain, allow_nan=False))

    def read_metrics(self) -> tuple[dict[str, Any], ...]:
        """Returns the rows so far; one that is only half written is left out.

        Raises:
            ValueError: If a line is no row of metrics; names file and line.
        """
        rows = []
        for number, line in enumerate(_whole_lines(self.metrics_path), start=1):
            where = f"{self.metrics_path}, line {number},"
            rows.append(parse_json(line, where))
            _check_row(rows[-1], where)
        return tuple(rows)

    def truncate_metrics_after(self, step: int) -> None:
        """Drops the rows after `step`: a run that goes on there writes them again."""
        rows = zip(_whole_lines(self.metrics_path), self.read_metrics(), strict=True)
        kept = [line for line, row in rows if row["step"] <= step]
        _rewrite_lines(self.metrics_path, kept)


def open_run_dir(
    path: str | os.PathLike[str],
    *,
    config: Mapping[str, Any],
    command: Sequence[str],
    resume: bool = True,
) -> RunDir:
    """Makes a run folder, or opens one to go on, and notes what is run there.

    Args:
        path: The folder; made if it is not there.
        config: Everything that decides the result, dataclasses by name. It must equal
            that of the folder's earlier starts, but for how often it is saved.
        command: The command line, e.g. `sys.argv`.
        resume: Whether a folder that holds a run already may be gone on with.

    Raises:
        ValueError: If the folder's config is another one (names the key that differs),
            or another process works in the folder.
        FileExistsError: If the folder holds a run and `resume` is False.
    """
    run = RunDir(Path(path))
    config_path = run.path / "config.json"
    plain_config = to_plain(config)
    if config_path.exists():
        if not resume:
            raise FileExistsError(
                f"path must be a new folder. Received: {run.path}, which holds a run"
            )
        _check_same_config(config_path, plain_config)
        run.read_metrics()
    provenance_path = run.path / "provenance.json"
    starts = _read_starts(provenance_path)
    # What is damaged has shown by now: nothing is written into such a folder.
    run.path.mkdir(parents=True, exist_ok=True)
    hold_folder(run.path)
    remove_leftovers(run.path)
    if config_path.exists():
        _rewrite_lines(run.metrics_path, _whole_lines(run.metrics_path))
    else:
        write_json(config_path, plain_config)
    provenance = {**describe_provenance(command), "earlier_starts": starts}
    write_json(provenance_path, provenance)
    return run


def _finite(value: Any) -> Any:
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return float(value) if math.isfinite(value) else None
    return value


def _whole_lines(path: Path) -> list[bytes]:
    """Returns the finished lines; a killed process leaves half of one behind them."""
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def _rewrite_lines(path: Path, lines: Sequence[bytes]) -> None:
    data = b"".join(line + b"\n" for line in lines)
    if path.exists() and data != path.read_bytes():
        write_bytes_atomically(path, data)


def _check_row(row: Any, where: str) -> None:
    """Refuses what is no row of metrics; `where` names it."""
    step = row.get("step") if isinstance(row, dict) else None
    if type(step) is not int or step < 0:
        raise ValueError(
            f"{where} must be an object with an integer step from 0. "
            f"Received: step={shown(step)}"
        )
    for key, value in row.items():
        if not isinstance(value, (bool, int, float, str, type(None))):
            raise ValueError(
                f"{where} must hold numbers, text and None only. "
                f"Received: {shown(key)} of type {type(value).__name__}"
            )


def _check_same_config(config_path: Path, config: Any) -> None:
    there, here = _leaves(read_json(config_path)), _leaves(config)
    for key in (*there, *here):
        if key.rpartition("/")[2] in _WITHOUT_EFFECT:
            continue
        before, now = there.get(key, _ABSENT), here.get(key, _ABSENT)
        is_newer_and_off = before is _ABSENT and now in (False, None)
        if before != now and not is_newer_and_off:
            raise ValueError(
                f"{key} must be as in {config_path}, where a run began; give another "
                f"folder for another run. Received: {key}={_show(now)} instead of "
                f"{_show(before)}"
            )


def _leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Returns the values that hold no others, by path; an empty list is a value."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    leaves = {}
    for key, item in items:
        leaves.update(_leaves(item, f"{path}/{key}" if path else str(key)))
    return leaves or {path: value}


def _show(value: Any) -> str:
    return "nothing" if value is _ABSENT else shown(value)


def _read_starts(path: Path) -> list[Any]:
    """Returns what was started in the folder so far, the last start at the end."""
    if not path.exists():
        return []
    last = read_object(path)
    where = f"{path}/earlier_starts"
    earlier = from_plain(tuple[Any, ...], last.pop("earlier_starts", []), where)
    return [*earlier, last]
