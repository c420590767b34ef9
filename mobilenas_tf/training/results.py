"""What a run folder says of its finished network: costs, accuracy or mean precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.json_io import from_plain, read_object, write_json
from mobilenas_tf.spec import Architecture
from mobilenas_tf.training.classifier import Evaluation

SUMMARY_FILE = "summary.json"
SUMMARY_COLUMNS = (
    "name",
    "macs",
    "params",
    "float_accuracy",
    "int8_accuracy",
    "float_ap",
    "float_ap50",
    "int8_ap",
    "file_bytes",
    "median_ms",
    "p90_ms",
)


def summary_row(
    architecture: Architecture, name: str | None = None, **figures: Any
) -> dict[str, Any]:
    """Returns one row of a summary: costs of the architecture, and `figures`."""
    cost = network_cost(architecture)
    name = name or architecture.name
    return {"name": name, "macs": cost.macs, "params": cost.params, **figures}


def write_summary(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes `summary.json` with the columns that some row has."""
    write_json(path / SUMMARY_FILE, {"columns": summary_columns(rows), "rows": rows})


def summary_columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the columns of a summary that some row has, in their order."""
    return [name for name in SUMMARY_COLUMNS if any(name in row for row in rows)]


def update_summary(path: Path, **figures: Any) -> None:
    """Adds figures to the first row of a run's `summary.json`, if it has one."""
    if (path / SUMMARY_FILE).exists():
        first, *others = _read_rows(path / SUMMARY_FILE)
        write_summary(path, [{**first, **figures}, *others])


def _read_rows(path: Path) -> tuple[Mapping[str, Any], ...]:
    kind = tuple[Mapping[str, Any], ...]
    if rows := from_plain(kind, read_object(path).get("rows", []), f"{path}/rows"):
        return rows
    raise ValueError(f"{path}/rows must have a row for the run's network")


def write_confusion(
    path: Path, evaluation: Evaluation, class_names: Sequence[str], *, title: str
) -> None:
    """Writes `confusion.json`."""
    write_json(
        path / "confusion.json",
        {
            "title": title,
            "class_names": class_names,
            "counts": evaluation.confusion.tolist(),
        },
    )
