"""Does a recipe that a joint search found help other networks, and another task?

Three published networks, made narrow for images of 32 px, are trained on the data set,
and a narrow MobileNetV2 under SSDLite on the digit scenes: each by the binary's default
recipe, and by the found one (`--recipe`), unchanged. Nothing else differs: same images,
same order, as many steps. The detector has a third side, which no target is about: the
learning rate that README names for few images, as the default one is for many.

All accuracies are of test images that took no part. Each run's result is stored as it
ends; a stopped script goes on.

Run: python -m benchmarks.joint_transfer --recipe=runs/joint \
    --dataset=tfds:cifar10_jpeg --data_dir=DIR
"""

from __future__ import annotations

import dataclasses
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import app, flags

from benchmarks import evidence
from benchmarks.binaries import call_binary
from benchmarks.jobs import Job, results_folder, run_jobs, seeds, workdir
from benchmarks.paired import paired_difference
from benchmarks.small_zoo import SMALL_PX, narrow_network
from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.json_io import write_architecture
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.training.recipe import open_recipe

_RECIPE = flags.DEFINE_string(
    "recipe", None, "A recipe.json, or the run folder of a joint search.", required=True
)
_DATASET = flags.DEFINE_string("dataset", "digits", "Of the classifiers.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "As of the binaries.")
_IMAGES = flags.DEFINE_integer("max_train_images", 4000, "Of the classifiers.", 1)
_EPOCHS = flags.DEFINE_integer("epochs", 8, "Of each classifier.", 1)
_MACS = flags.DEFINE_float("max_macs", 3e6, "Budget of each classifier.")
_SCENES = flags.DEFINE_integer("max_train_scenes", None, "Of the detector.", 1)
_DETECTOR_EPOCHS = flags.DEFINE_integer("detector_epochs", 8, "Of the detector.", 2)
_DETECTOR_MACS = flags.DEFINE_float(
    "max_detector_macs", 10e6, "Budget of the detector's backbone as a classifier."
)

CLASSIFIERS = ("mobilenet_v2", "mobilenet_v3_small", "mnasnet_a1")
BACKBONE = "mobilenet_v2"
DETECTOR = "digit_scenes"
TASKS = (*CLASSIFIERS, DETECTOR)
NUM_CLASSES = 10
DETECTOR_PX = 160
DEFAULT, FOUND, BY_HAND = "default", "found", "by hand"
# What suits digit scenes, on all sides (see `detection_jobs`); of README's advice for
# few images it lacks what is a recipe's.
SCENES = (
    *("--dataset=digit_scenes", "--batch_size=8", f"--image_size_px={DETECTOR_PX}"),
    *("--head=ssdlite", "--anchors=multiscale", "--min_scale=0.15"),
    *("--focal_gamma=1", "--box_loss_weight=0.5", "--warmup_epochs=1"),
    *("--min_crop_area=0.3", "--zoom_out_probability=0.3", "--max_zoom_out=2"),
    "--color_jitter=1",
)
FEW_IMAGES_RATE = 3.2
DIVERGED = "loss must stay finite"  # what a binary then says
MIN_GAINS = 3

Results = Mapping[str, Any]


def main(_: Sequence[str]) -> None:
    """Runs all jobs, prints the table and one JSON object."""
    results = run_jobs(_jobs(), _work, results_folder())
    rows = [row for task in TASKS for row in _rows(task, results)]
    print(format_table(list(rows[0]), rows))
    gains = [row for row in rows if row["minus"] == DEFAULT and row["low_95"] > 0]
    evidence.finish(
        figures={
            "rows": rows,
            "test_points": {
                name: result["test_points"] for name, result in results.items()
            },
            "total_cpu_seconds": sum(r["cpu_seconds"] for r in results.values()),
        },
        settings={
            "recipe": dataclasses.asdict(open_recipe(_RECIPE.value)),
            "seeds": len(seeds()),
            **{task: _settings(task) for task in TASKS},
        },
        targets=[
            evidence.target(
                f"tasks of {len(TASKS)} where the found recipe - the default one has a "
                "lower end (95 %) above 0",
                len(gains),
                MIN_GAINS,
                at_most=False,
            )
        ],
    )


def _sides(task: str) -> tuple[str, ...]:
    return (FOUND, DEFAULT, BY_HAND) if task == DETECTOR else (FOUND, DEFAULT)


def _rows(task: str, results: Results) -> Iterator[dict[str, Any]]:
    """Yields the found recipe against each of the others, in points."""
    runs = {
        side: [results[_name(task, side, seed)] for seed in seeds()]
        for side in _sides(task)
    }
    points = {side: [run["test_points"] for run in runs[side]] for side in runs}
    for side in _sides(task)[1:]:
        yield {
            "task": task,
            "macs": runs[FOUND][0]["macs"],
            "found": float(np.mean(points[FOUND])),
            "minus": side,
            "of": float(np.mean(points[side])),
            **paired_difference(points[FOUND], points[side]),
            "diverged": sum(run["diverged"] for run in (*runs[FOUND], *runs[side])),
        }


def _settings(task: str) -> dict[str, Any]:
    """Returns what decides a task's results besides recipe and seed."""
    if task == DETECTOR:
        return {
            "max_train_images": _SCENES.value,
            "epochs": _DETECTOR_EPOCHS.value,
            "max_macs": _DETECTOR_MACS.value,
            "flags": SCENES,
        }
    return {
        "max_train_images": _IMAGES.value,
        "epochs": _EPOCHS.value,
        "max_macs": _MACS.value,
        "flags": (f"--dataset={_DATASET.value}", "--batch_size=64"),
    }


def _name(task: str, side: str, seed: int) -> str:
    return f"{task}_{side.replace(' ', '_')}_{seed}"


def _jobs() -> list[Job]:
    recipe = dataclasses.asdict(open_recipe(_RECIPE.value))
    return [
        Job(
            _name(task, side, seed),
            {
                **_settings(task),
                "task": task,
                "side": side,
                "seed": seed,
                "recipe": recipe if side == FOUND else None,
            },
        )
        for seed in seeds()
        for task in TASKS
        for side in _sides(task)
    ]


def _work(job: Job, _: Results) -> dict[str, Any]:
    """Trains by the binary, on one thread; returns accuracy or mAP in percent."""
    settings = job.settings
    task, is_detector = settings["task"], settings["task"] == DETECTOR
    network = narrow_network(
        BACKBONE if is_detector else task,
        image_size_px=DETECTOR_PX if is_detector else SMALL_PX,
        num_classes=NUM_CLASSES,
        max_macs=settings["max_macs"],
    )
    folder = workdir() / job.name
    shutil.rmtree(folder, ignore_errors=True)
    write_architecture(folder / "narrow.json", network)
    for kind in ("INTRAOP", "INTEROP"):
        os.environ[f"TF_NUM_{kind}_THREADS"] = "1"
    progress = folder / "progress.txt"
    try:
        with progress.open("w") as file:
            row = call_binary(
                "train_detector" if is_detector else "train_classifier",
                f"--architecture={folder / 'narrow.json'}",
                f"--workdir={folder / 'run'}",
                *_arguments(settings),
                stderr=file,
            )
        reached = row["float_ap" if is_detector else "float_accuracy"]
    except subprocess.CalledProcessError:
        text = progress.read_text()
        if DIVERGED not in text:
            raise SystemExit(text) from None
        reached = 0.0 if is_detector else 1 / NUM_CLASSES  # what chance reaches
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "test_points": 100 * reached,
        "diverged": DIVERGED in progress.read_text(),
        "macs": network_cost(network).macs,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
    }


def _arguments(settings: Mapping[str, Any]) -> list[str]:
    """Returns the flags of a job's training."""
    arguments = [
        f"--epochs={settings['epochs']}",
        f"--checkpoint_every_epochs={settings['epochs']}",
        f"--seed={settings['seed']}",
        *settings["flags"],
    ]
    if settings["max_train_images"]:
        arguments.append(f"--max_train_images={settings['max_train_images']}")
    if settings["task"] != DETECTOR and _DATA_DIR.value:
        arguments.append(f"--data_dir={_DATA_DIR.value}")
    if settings["side"] == FOUND:
        arguments.append(f"--recipe={_RECIPE.value}")
    if settings["side"] == BY_HAND:
        arguments.append(f"--learning_rate={FEW_IMAGES_RATE}")
    return arguments


if __name__ == "__main__":
    app.run(main)
