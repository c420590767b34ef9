"""The whole way of a detector on digit scenes: search, training, int8 file, mAP.

The demo of detection with a longer training. All figures are of the 300 test scenes,
which took no part; the minutes of training are those of its steps on this machine, by
the median epoch: what disturbs a shared machine in some epochs is not the training's
(their plain sum is given beside it).

Run: python -m benchmarks.detection_whole_way
"""

from __future__ import annotations

import statistics
from pathlib import Path

from absl import app, flags

from benchmarks import evidence
from benchmarks.binaries import call_binary
from detection.digit_scenes import NUM_SCENES
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.training.run_dir import RunDir

_SEARCH_EPOCHS = flags.DEFINE_integer("search_epochs", 6, "Epochs of the search.")
_EPOCHS = flags.DEFINE_integer("epochs", 40, "Epochs of the training.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of everything.")
_WORKDIR = flags.DEFINE_string(
    "workdir", "runs/detection_whole_way", "Folder of the run."
)

MIN_AP, MIN_AP50 = 0.6, 0.9
MAX_AP_DROP = 0.01
MAX_MINUTES = 20.0
COLUMNS = ("name", "macs", "params", "float_ap", "float_ap50", "int8_ap")
COLUMNS += ("file_bytes", "median_ms")


def main(_: list[str]) -> None:
    """Runs all steps and prints the table and one JSON object."""
    root = Path(_WORKDIR.value)
    result = call_binary(
        "demo",
        "--task=detection",
        f"--search_epochs={_SEARCH_EPOCHS.value}",
        f"--epochs={_EPOCHS.value}",
        f"--seed={_SEED.value}",
        f"--workdir={root}",
    )
    (row,) = result["rows"]
    print(format_table(COLUMNS, [row]))
    epochs = {name: _minutes(root / name) for name in ("search", "train")}
    minutes = {
        name: len(times) * statistics.median(times) for name, times in epochs.items()
    }
    evidence.finish(
        figures={
            **row,
            "minutes": minutes,
            "minutes_summed": {name: sum(times) for name, times in epochs.items()},
            "budget_macs": result["budget_macs"],
        },
        settings={
            name: flags.FLAGS[name].value
            for name in ("search_epochs", "epochs", "seed")
        },
        targets=[
            evidence.target("test mAP", row["float_ap"], MIN_AP, at_most=False),
            evidence.target("test AP50", row["float_ap50"], MIN_AP50, at_most=False),
            evidence.target(
                "mAP of the network - of the int8 file",
                row["float_ap"] - row["int8_ap"],
                MAX_AP_DROP,
                at_most=True,
            ),
            evidence.target(
                "minutes of training", minutes["train"], MAX_MINUTES, at_most=True
            ),
        ],
    )


def _minutes(folder: Path) -> list[float]:
    """Returns what each epoch's steps took, validation and start not counted."""
    rows = RunDir(folder).read_metrics()
    images = NUM_SCENES["train"]
    return [images / row["images_per_second"] / 60 for row in rows]


if __name__ == "__main__":
    app.run(main)
