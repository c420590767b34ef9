"""The folder of an exported file: all that an app's developer needs, or nothing of it.

What is in it: `model.tflite`, with labels and the meaning of its tensors inside;
`labels.txt`; `parity.json`, how far the file agrees with its network; `model_card.md`;
`ANDROID.md`; `architecture.json`; of a detector that ends in encoded boxes
`decoding.json`; and `export.json`, what made it, with the checksum of the file.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from export.android_guide import android_guide
from export.benchmark.host import benchmark_models
from export.bundle_facts import (
    DECODING_FILE,
    MODEL_FILE,
    BundleFacts,
    bundle_name,
)
from export.checksum import CHECKSUM, EXPORT_FILE, checksum
from export.config import BenchmarkConfig, ExportConfig
from export.interpreter import load_interpreter, named_outputs
from export.model_card import model_card
from export.operators import operator_report
from mobilenas_tf.architecture_source import ARCHITECTURE_FILE
from mobilenas_tf.json_io import (
    read_object,
    write_architecture,
    write_json,
)
from mobilenas_tf.provenance import describe_provenance
from mobilenas_tf.whole_files import replace_folder_when_whole

PARITY_FILE = "parity.json"
_CARD_TIMING = BenchmarkConfig(repeats=3, runs=20)


@dataclasses.dataclass(frozen=True)
class ExportedFile:
    """A written `.tflite` file, and how far it agrees with its network."""

    path: Path
    num_bytes: int
    parity: Mapping[str, Any]


def check_drop(config: ExportConfig, drop_points: float) -> None:
    """Raises a ValueError if a file lost more than `max_accuracy_drop` points."""
    limit = config.max_accuracy_drop
    if limit is not None and drop_points > limit:
        hint = (
            "; quantization=int8_qat loses less"
            if config.quantization == "int8"
            else ""
        )
        raise ValueError(
            f"The exported file must lose at most max_accuracy_drop={limit:g} points, "
            f"so nothing was written{hint}. Received: {bundle_name(config)} loses "
            f"{drop_points:.2f} points"
        )


def write_bundle(
    run_path: Path, content: bytes, facts: BundleFacts, *, command: list[str]
) -> ExportedFile:
    """Writes the bundle of a file into a run folder, in place of an older one.

    The run's own `parity.json` takes up the figures under the bundle's name, for the
    report.

    Args:
        run_path: Folder of a finished training.
        content: Of the file, with its metadata.
        facts: What it is.
        command: The command line, for provenance.
    """
    provenance = describe_provenance(command)
    operators = operator_report(content)
    output_shapes = {
        name: tuple(int(size) for size in details["shape"])
        for name, details in named_outputs(load_interpreter(content)).items()
    }
    with replace_folder_when_whole(run_path / facts.name) as folder:
        (folder / MODEL_FILE).write_bytes(content)
        (timing,) = benchmark_models([folder / MODEL_FILE], _CARD_TIMING)
        for name, text in (
            ("labels.txt", "\n".join(facts.class_names) + "\n"),
            ("model_card.md", model_card(facts, timing, operators, provenance)),
            ("ANDROID.md", android_guide(facts, output_shapes)),
        ):
            (folder / name).write_text(text, encoding="utf-8")
        write_json(folder / PARITY_FILE, facts.parity)
        if facts.decoding is not None:
            write_json(folder / DECODING_FILE, facts.decoding)
        write_architecture(folder / ARCHITECTURE_FILE, facts.architecture)
        made_by = {
            "export": facts.config,
            "data": facts.data_config,
            CHECKSUM: checksum(content),
        }
        if facts.detections is not None:
            made_by["detections"] = facts.detections
        write_json(folder / EXPORT_FILE, {**made_by, **provenance})
    _note_parity(run_path / PARITY_FILE, facts)
    model = run_path / facts.name / MODEL_FILE
    return ExportedFile(model, len(content), facts.parity)


def benchmark_path(model: Path) -> Path:
    """Returns where the latency of a `.tflite` file is noted.

    If the file lies in a bundle of a run folder, that is the run's `benchmark.json`,
    which its report shows and which stays when the bundle is replaced; and else one
    beside the file.
    """
    run_path = Path(os.path.normpath(model.parent / os.pardir))
    is_of_run = (model.parent / EXPORT_FILE).exists() and (
        run_path / "config.json"
    ).exists()
    return (run_path if is_of_run else model.parent) / "benchmark.json"


def _note_parity(path: Path, facts: BundleFacts) -> None:
    known = read_object(path) if path.exists() else {}
    write_json(path, {**known, facts.name: facts.parity})
