"""One run folder out of several, for a report on all of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from mobilenas_tf.json_io import read_json, write_json
from mobilenas_tf.reporting.run_data import CONTACT_SHEETS
from mobilenas_tf.training.cuts import CUTS_FILE
from mobilenas_tf.training.run_dir import RunDir
from mobilenas_tf.whole_files import write_bytes_atomically

_TAKEN = (
    "architecture.json",
    "search.json",
    CUTS_FILE,
    "confusion.json",
    "detection_evaluation.json",
    "parity.json",
)


def compose_run(target: Path, parts: Sequence[Path]) -> None:
    """Gathers the parts' metrics and documents in the folder `target`.

    Metrics are joined; of `architecture.json`, `search.json`, `shrinking.json`,
    `confusion.json`, `detection_evaluation.json`, the contact sheet of detections and
    `parity.json` the first part that has one gives it. Nothing is written before all of
    it is read.

    Args:
        target: A folder; its own other files stay.
        parts: Run folders in the order of the work.
    """
    rows = [row for part in parts for row in RunDir(part).read_metrics()]
    documents = {}
    for part in reversed(parts):
        present = [name for name in _TAKEN if (part / name).exists()]
        documents |= {name: read_json(part / name) for name in present}
    lines = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
    write_bytes_atomically(RunDir(target).metrics_path, lines.encode())
    for name, document in documents.items():
        write_json(target / name, document)
    sheets = [part / name for part in parts for name in CONTACT_SHEETS]
    for sheet in filter(Path.is_file, sheets):
        write_bytes_atomically(target / sheet.name, sheet.read_bytes())
        break
