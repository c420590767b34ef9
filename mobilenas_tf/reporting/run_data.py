"""What a run folder holds, read and checked; how it looks is left to the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.costs.ops import Cost
from mobilenas_tf.json_io import read_architecture
from mobilenas_tf.reporting.documents import KINDS, Search, read_kind
from mobilenas_tf.reporting.number_format import is_number
from mobilenas_tf.spec import Architecture
from mobilenas_tf.training.cuts import CUTS_FILE, Cut, read_cuts
from mobilenas_tf.training.run_dir import RunDir
from mobilenas_tf.widths import resize

SEARCH_PHASE = "search"
CONTACT_SHEETS = ("contact_sheet.jpg", "contact_sheet.png")


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """A search's supernet, its budget, and the channels that it kept.

    `budget` counts what `metric` names: `macs`, `params` or `ms`. `widths` are
    channels, `probabilities` the statistics of the gates, both by width path. The
    validation accuracy, of a detector the mAP, is that of the found network with the
    weights that it inherited, `width_scale` the factor on expected widths at which it
    met its budget, `latency_ms` what it takes by the table of a budget in milliseconds.
    """

    supernet: Architecture
    widths: Mapping[str, int]
    metric: str
    budget: float
    probabilities: Mapping[str, Mapping[str, float]]
    inherited_validation_accuracy: float | None = None
    inherited_validation_ap: float | None = None
    width_scale: float | None = None
    latency_ms: float | None = None

    @property
    def cost(self) -> Cost:
        """Cost of the found network."""
        return network_cost(resize(self.supernet, self.widths))


@dataclasses.dataclass(frozen=True)
class Run:
    """A run folder; what it does not hold is None or empty.

    `documents` are the JSON files by name without ending, of the types in
    `documents.KINDS`, `metrics` the logged rows by phase in the order of their steps,
    `snapshots` what a search found for its larger budgets by folder in the run's,
    `cuts` the narrowings of its supernet in their order. `contact_sheet` is a picture
    of detections, JPEG or PNG.
    """

    path: Path
    documents: Mapping[str, Any]
    metrics: Mapping[str, Sequence[Mapping[str, Any]]]
    architecture: Architecture | None = None
    search: SearchResult | None = None
    snapshots: Mapping[str, SearchResult] = dataclasses.field(default_factory=dict)
    cuts: Sequence[Cut] = ()
    contact_sheet: bytes | None = None


def read_run(path: Path) -> Run:
    """Reads a run folder.

    Raises:
        ValueError: If the folder holds none of a run's files, or if one is malformed;
            the message names the file and what is wrong.
    """
    json_files = {name: path / f"{name}.json" for name in KINDS}
    run_dir = RunDir(path)
    others = (run_dir.metrics_path, run_dir.architecture_path)
    present = {file for file in (*json_files.values(), *others) if file.is_file()}
    if not present:
        raise ValueError(
            "run_path must be a run folder with a config.json, metrics.jsonl or "
            f"architecture.json. Received: run_path={str(path)!r}"
        )
    documents = {
        name: read_kind(name, file)
        for name, file in json_files.items()
        if file in present
    }
    search = documents.pop("search", None)
    return Run(
        path=path,
        documents=documents,
        metrics=_rows_by_phase(run_dir.read_metrics()),
        architecture=read_architecture(run_dir.architecture_path)
        if run_dir.architecture_path in present
        else None,
        search=None if search is None else _search_result(search),
        snapshots={
            file.parent.relative_to(path).as_posix(): _search_result(
                read_kind("search", file)
            )
            for file in sorted(path.glob("snapshots/*/search.json"))
        },
        cuts=read_cuts(path / CUTS_FILE),
        contact_sheet=_read_contact_sheet(path),
    )


def _rows_by_phase(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    phases: dict[str, list[Any]] = {}
    for row in rows:
        phases.setdefault(str(row.get("phase", "training")), []).append(row)
    return phases


def metric_points(
    rows: Sequence[Mapping[str, Any]], key: str
) -> tuple[tuple[float, float], ...]:
    """Returns `(step, value)` of the rows that have a finite number under `key`."""
    return tuple((row["step"], row[key]) for row in rows if is_number(row.get(key)))


def _search_result(document: Search) -> SearchResult:
    return SearchResult(
        document["supernet"],
        document["widths"],
        document["metric"],
        document["budget"],
        document.get("probabilities", {}),
        document.get("inherited_validation_accuracy"),
        document.get("inherited_validation_ap"),
        document.get("width_scale"),
        document.get("derived_cost", {}).get("ms"),
    )


def _read_contact_sheet(path: Path) -> bytes | None:
    files = [path / name for name in CONTACT_SHEETS if (path / name).is_file()]
    return files[0].read_bytes() if files else None
