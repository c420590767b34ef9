"""What int8 costs in accuracy: after training, and with quantisation-aware training.

A network found by FiGS (of the stored searches of `figs_cifar`) and MobileNetV3-Small,
whose hard-swish and squeeze-and-excitation are the known hard case, are trained, then
exported by both post-training routes and with quantisation-aware training, and with one
scale a weight tensor instead of one a channel as well. What such training recovers is
judged fairly: the float network gets the same extra epochs at the
same rate before it is compared or quantised after training. All accuracies are of the
test images.

Run: python -m benchmarks.quantization --dataset=tfds:cifar10_jpeg --data_dir=DIR
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from benchmarks import evidence
from benchmarks.classification_jobs import load_data, protocol, run_training
from benchmarks.jobs import (
    Job,
    one_thread,
    results_folder,
    run_jobs,
    seeds,
    workdir,
)
from benchmarks.timed_search import found_architecture
from export.config import ExportConfig, QatConfig
from mobilenas_tf.json_io import read_json
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.spec import Architecture
from mobilenas_tf.training.config import TrainingConfig
from mobilenas_tf.zoo import zoo_architecture

_MACS = flags.DEFINE_float("max_macs", 4e6, "Budget of the spaces' networks.")
_EXTRA_EPOCHS = flags.DEFINE_integer(
    "extra_epochs", 3, "Of quantisation-aware training, and as many in float."
)
_SEARCHES = flags.DEFINE_string(
    "searches", "benchmarks/results/figs_cifar_runs", "Stored searches of figs_cifar."
)

NUM_CLASSES = 10
OF_SPACES = ("figs",)
HARD_CASE = "mobilenet_v3_small"
HARD_CASE_PX = 64  # it has stride 32
NETWORKS = (*OF_SPACES, HARD_CASE)
ROUTES = {
    "int8": ExportConfig(),
    "int8_litert": ExportConfig(quantizer="litert"),
}
# Per tensor, as some accelerators want weights, is where int8 loses accuracy.
SINGLE_FILES = {
    "qat": ExportConfig(quantization="int8_qat"),
    "per_tensor": ExportConfig(weight_scales="tensor"),
    "qat_per_tensor": ExportConfig(quantization="int8_qat", weight_scales="tensor"),
}
BATCH_OF_RATES = 256  # that an optimizer's learning rate is for
MAX_PTQ_DROP, MAX_QAT_DROP = 0.5, 0.2
NOTABLE_DROP, MIN_RECOVERED = 0.5, 0.5

Results = Mapping[str, Any]


def main(_: Sequence[str]) -> None:
    """Runs all jobs, prints the table and one JSON object."""
    results = run_jobs(_jobs(), _work, results_folder())
    rows = [_row(name, results) for name in NETWORKS]
    print(format_table(list(rows[0]), rows))
    targets = []
    for row in rows:
        if row["network"] in OF_SPACES:
            targets += [
                evidence.target(
                    f"{row['network']}: points lost after training",
                    row["int8_drop"],
                    MAX_PTQ_DROP,
                    at_most=True,
                ),
                evidence.target(
                    f"{row['network']}: points lost with quantisation-aware training",
                    row["int8_qat_behind_longer"],
                    MAX_QAT_DROP,
                    at_most=True,
                ),
            ]
        for scales in ("", "_per_tensor"):
            if row[f"recovered{scales}"] is not None:
                targets.append(
                    evidence.target(
                        f"{row['network']}: share of the loss after training that "
                        f"quantisation-aware training recovers{scales}",
                        row[f"recovered{scales}"],
                        MIN_RECOVERED,
                        at_most=False,
                    )
                )
    evidence.finish(
        figures={"rows": rows, "runs": results},
        settings=_settings() | {"seeds": len(seeds()), "qat": _qat_config()},
        targets=targets,
    )


def _row(name: str, results: Results) -> dict[str, Any]:
    """Returns the means over the seeds, accuracies and drops in percent and points."""

    def mean(kind: str, key: str) -> float:
        values = [results[f"{kind}_{name}_{seed}"][key] for seed in seeds()]
        return float(np.mean(values)) * 100

    float_accuracy = mean("train", "test_accuracy")
    longer = mean("longer", "test_accuracy")
    drops = {
        f"{route}_drop": float_accuracy - mean("files", route) for route in ROUTES
    } | {
        f"longer_{route}_drop": longer - mean("longer_files", route) for route in ROUTES
    }
    int8_qat = mean("qat", "accuracy")
    per_tensor, qat_per_tensor = (
        longer - mean(kind, "accuracy") for kind in ("per_tensor", "qat_per_tensor")
    )
    # Of the same number of epochs on both sides.
    qat_behind_longer = longer - int8_qat
    return {
        "network": name,
        "float": float_accuracy,
        "longer_float": longer,
        **drops,
        "int8_qat": int8_qat,
        "int8_qat_drop": float_accuracy - int8_qat,
        "int8_qat_behind_longer": qat_behind_longer,
        "recovered": _recovered(drops["longer_int8_drop"], qat_behind_longer),
        "longer_int8_per_tensor_drop": per_tensor,
        "int8_qat_per_tensor_behind_longer": qat_per_tensor,
        "recovered_per_tensor": _recovered(per_tensor, qat_per_tensor),
    }


def _recovered(lost: float, lost_by_qat: float) -> float | None:
    """Returns the share of a loss that training wins back, None of a small loss."""
    return 1 - lost_by_qat / lost if lost >= NOTABLE_DROP else None


def _settings() -> dict[str, Any]:
    return protocol().settings() | {
        "max_macs": _MACS.value,
        "extra_epochs": _EXTRA_EPOCHS.value,
    }


def _qat_config() -> QatConfig:
    return QatConfig(epochs=_EXTRA_EPOCHS.value)


def _jobs() -> list[Job]:
    jobs = []
    for seed in seeds():
        for name in NETWORKS:
            train, longer = (f"{kind}_{name}_{seed}" for kind in ("train", "longer"))
            for job, kind, needs in (
                (train, "train", ()),
                (f"files_{name}_{seed}", "files", (train,)),
                (f"qat_{name}_{seed}", "qat", (train,)),
                (longer, "longer", (train,)),
                (f"longer_files_{name}_{seed}", "files", (longer,)),
                (f"per_tensor_{name}_{seed}", "per_tensor", (longer,)),
                (f"qat_per_tensor_{name}_{seed}", "qat_per_tensor", (train,)),
            ):
                settings = {"kind": kind, "network": name, "seed": seed}
                jobs.append(Job(job, {**_settings(), **settings}, needs))
    return jobs


def _work(job: Job, needed: Results) -> dict[str, Any]:
    kind, name, seed = (job.settings[key] for key in ("kind", "network", "seed"))
    architecture = _architecture(name, seed)
    folder = workdir() / job.name
    if kind == "train":
        return run_training(protocol(), architecture, seed=seed, folder=folder)
    (source,) = (workdir() / need for need in needed)
    if kind == "longer":
        shared = dataclasses.replace(
            protocol(),
            epochs=_EXTRA_EPOCHS.value,
            learning_rate=_qat_config().learning_rate
            * BATCH_OF_RATES
            / protocol().batch_size,
        )
        return run_training(
            shared,
            architecture,
            seed=seed,
            folder=folder,
            init_weights=str(source),
        )
    one_thread()
    if kind in SINGLE_FILES:
        config = SINGLE_FILES[kind]
        return {"accuracy": _file_accuracy(source, architecture, config, seed)}
    return {
        route: _file_accuracy(source, architecture, config, seed)
        for route, config in ROUTES.items()
    }


def _architecture(name: str, seed: int) -> Architecture:
    if name == HARD_CASE:
        return zoo_architecture(
            name, num_classes=NUM_CLASSES, image_size_px=HARD_CASE_PX
        )
    search = read_json(Path(_SEARCHES.value) / f"search_figs_alone_macs_{seed}.json")
    return found_architecture({"search": search["result"]}, _MACS.value)


def _file_accuracy(
    run_path: Path, architecture: Architecture, config: ExportConfig, seed: int
) -> float:
    """Exports a run and returns its file's accuracy on the test images."""
    from export.classifier_export import export_classifier
    from mobilenas_tf.training.classification import classification_objective
    from tools.fine_tuning import fine_tuned_file

    data = load_data(protocol(), seed=seed, size_px=architecture.image_size_px)
    exported = export_classifier(
        run_path,
        data,
        config,
        command=[],
        fine_tuned=fine_tuned_file(
            run_path,
            data,
            classification_objective(label_smoothing=TrainingConfig().label_smoothing),
            _qat_config(),
        ),
    )
    return exported.parity.tflite_accuracy


if __name__ == "__main__":
    app.run(main)
