"""The whole way on real photos, through the binaries: search to timed int8 .tflite.

One search to a budget, then the found network and the uniform network of the same
budget are trained alike, exported to int8, compared on all test images, and timed in
one process. A run that was stopped goes on where it was.

Run: python -m benchmarks.whole_way --dataset=tfds:cifar10_jpeg --data_dir=DIR
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from absl import app, flags

from benchmarks import evidence
from benchmarks.binaries import call_binary
from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.costs.uniform import uniform_network
from mobilenas_tf.json_io import read_architecture, write_architecture
from mobilenas_tf.reporting.terminal import format_table

_DATASET = flags.DEFINE_string("dataset", "digits", "As of the binaries.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "As of the binaries.")
_IMAGES = flags.DEFINE_integer("max_train_images", 20_000, "Training images.")
_SPACE = flags.DEFINE_string("space", "figs_mobilenet_v2_32", "Search space.")
_MAX_MACS = flags.DEFINE_float("max_macs", 6e6, "Budget in multiply-adds.")
_SEARCH_EPOCHS = flags.DEFINE_integer("search_epochs", 8, "Epochs of the search.")
_EPOCHS = flags.DEFINE_integer("epochs", 20, "Epochs of each training.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of everything.")
_WORKDIR = flags.DEFINE_string("workdir", "runs/whole_way", "Folder of the runs.")

MAX_DROP_POINTS = 0.5
COLUMNS = ("name", "macs", "params", "keras_accuracy", "tflite_accuracy", "file_bytes")
COLUMNS += ("median_ms", "p90_ms")


def main(_: list[str]) -> None:
    """Runs all steps and prints the table and one JSON object."""
    root = Path(_WORKDIR.value)
    data = [f"--dataset={_DATASET.value}", f"--seed={_SEED.value}"]
    if _DATA_DIR.value:
        data.append(f"--data_dir={_DATA_DIR.value}")
    training_data = [*data, f"--max_train_images={_IMAGES.value}"]
    call_binary(
        "search_figs",
        *training_data,
        f"--space={_SPACE.value}",
        f"--max_macs={_MAX_MACS.value}",
        f"--epochs={_SEARCH_EPOCHS.value}",
        f"--workdir={root / 'search'}",
    )
    found = read_architecture(root / "search" / "architecture.json")
    uniform = uniform_network(
        _SPACE.value,
        num_classes=found.head.num_classes,
        metric="macs",
        budget=_MAX_MACS.value,
    )
    write_architecture(root / "uniform.json", uniform)
    rows = [
        _train_and_export(name, source, root, data, training_data)
        for name, source in (
            ("figs", root / "search"),
            ("uniform", root / "uniform.json"),
        )
    ]
    models = ",".join(row["model"] for row in rows)
    timings = call_binary("benchmark_tflite", f"--model={models}")["results"]
    for row, timing in zip(rows, timings, strict=True):
        row.update(median_ms=timing["median_ms"], p90_ms=timing["p90_ms"])
    print(format_table(COLUMNS, rows))
    share = network_cost(found).macs / _MAX_MACS.value
    drop = rows[0]["accuracy_drop_points"]
    gain = 100 * (rows[0]["keras_accuracy"] - rows[1]["keras_accuracy"])
    evidence.finish(
        figures={"rows": rows, "figs_minus_uniform_points": gain},
        settings={
            name: flags.FLAGS[name].value
            for name in (
                *("dataset", "max_train_images", "space", "max_macs", "seed"),
                *("search_epochs", "epochs"),
            )
        },
        targets=[
            evidence.target("int8 drop in points", drop, MAX_DROP_POINTS, at_most=True),
            evidence.target("cost / budget", share, 1.0, at_most=True),
            evidence.target("cost / budget, lower end", share, 0.97, at_most=False),
        ],
    )


def _train_and_export(
    name: str, source: Path, root: Path, data: list[str], training_data: list[str]
) -> dict[str, Any]:
    trained = call_binary(
        "train_classifier",
        *training_data,
        f"--architecture={source}",
        f"--epochs={_EPOCHS.value}",
        f"--workdir={root / name}",
    )
    exported = call_binary("export_tflite", *data, f"--run={root / name}")
    return {**trained, **exported, "name": name}


if __name__ == "__main__":
    app.run(main)
