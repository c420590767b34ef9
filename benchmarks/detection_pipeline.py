"""Throughput of the detection input pipeline alone, against a training step's.

Photos with their boxes are read, cropped, flipped, jittered in colour and padded to
batches as in training; rates are by the clock and by the processor's seconds (one
core). The step is that of MobileNetV3-Small under SSDLite at the same size, on a batch
that is at hand. The baseline is the pipeline without augmentation.

Run: python -m benchmarks.detection_pipeline --dataset=coco:DIR
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from absl import app, flags

from benchmarks import evidence
from detection.config import (
    DetectionDataConfig,
    DetectionLossConfig,
    HeadConfig,
    SceneAugmentationConfig,
)
from detection.data import DetectionData, load_detection_data
from detection.heads import with_detection_head
from detection.task import detection_objective
from mobilenas_tf.models.compact import build_network
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.training.trainer import NetworkTrainer
from mobilenas_tf.zoo import zoo_architecture

_DATASET = flags.DEFINE_string("dataset", "digit_scenes", "As of the binaries.")
_IMAGE_SIZE_PX = flags.DEFINE_integer("image_size_px", 320, "Height and width.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Images in a batch.")
_REPEATS = flags.DEFINE_integer("repeats", 5, "Interleaved epochs of each recipe.")
_STEPS = flags.DEFINE_integer("steps", 8, "Timed training steps in a repeat.")

BACKBONE = "mobilenet_v3_small"
TARGET_RECIPE = "crop, flip, colour"
BASELINE = "baseline: none"
RECIPES = {
    BASELINE: SceneAugmentationConfig(
        random_crop=False, horizontal_flip="off", color_jitter=0.0
    ),
    TARGET_RECIPE: SceneAugmentationConfig(),
    "crop, flip, colour, zoom-out, mosaic": SceneAugmentationConfig(
        zoom_out_probability=0.5, mosaic_probability=0.5
    ),
}
STEP = f"training step of {BACKBONE}"
MIN_RATIO = 3.0


def main(_: list[str]) -> None:
    """Times every recipe and the step; prints the table and one JSON object."""
    data = {name: _load(recipe) for name, recipe in RECIPES.items()}
    sides: dict[str, Callable[[int], int]] = {
        name: lambda epoch, data=part: _read_epoch(data, epoch)
        for name, part in data.items()
    }
    sides[STEP] = _training_steps(data[TARGET_RECIPE])
    timings: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for repeat in range(_REPEATS.value + 1):
        for name, side in sides.items():
            started, cpu_started = time.perf_counter(), time.process_time()
            num_images = side(repeat)
            elapsed = time.perf_counter() - started, time.process_time() - cpu_started
            if repeat > 0:  # the first traces and warms up
                timings[name].append((num_images / elapsed[0], num_images / elapsed[1]))
    rows = [_summarize(name, rates) for name, rates in timings.items()]
    print(format_table(list(rows[0]), rows))
    rate = {row["side"]: row["images_per_second"] for row in rows}
    evidence.finish(
        figures=rows,
        settings={
            "dataset": _DATASET.value.partition(":")[0],
            "images": data[TARGET_RECIPE].num_train,
            "image_size_px": _IMAGE_SIZE_PX.value,
            "batch_size": _BATCH_SIZE.value,
            "repeats": _REPEATS.value,
            "steps": _STEPS.value,
        },
        targets=[
            evidence.target(
                f"{TARGET_RECIPE}: images/s over those of the training step",
                rate[TARGET_RECIPE] / rate[STEP],
                MIN_RATIO,
                at_most=False,
            )
        ],
    )


def _load(recipe: SceneAugmentationConfig) -> DetectionData:
    config = DetectionDataConfig(
        dataset=_DATASET.value,
        image_size_px=_IMAGE_SIZE_PX.value,
        batch_size=_BATCH_SIZE.value,
    )
    return load_detection_data(config, recipe)


def _read_epoch(data: DetectionData, epoch: int) -> int:
    for _ in data.train_epoch(epoch):
        pass
    return data.steps_per_epoch * _BATCH_SIZE.value


def _training_steps(data: DetectionData) -> Callable[[int], int]:
    detector = with_detection_head(
        zoo_architecture(BACKBONE),
        HeadConfig(),
        num_classes=data.num_classes,
        image_size_px=_IMAGE_SIZE_PX.value,
    )
    objective = detection_objective(detector, config=DetectionLossConfig())
    trainer = NetworkTrainer(build_network(detector), objective)
    trainer.compile(keras.optimizers.SGD(0.01, momentum=0.9))
    step = tf.function(trainer.train_step)
    batch = next(iter(data.train_epoch(0)))

    def run(_: int) -> int:
        for _ in range(_STEPS.value):
            figures = step(batch)
        float(figures["loss"])  # wait for the last one
        return _STEPS.value * _BATCH_SIZE.value

    return run


def _summarize(name: str, rates: list[tuple[float, float]]) -> dict[str, Any]:
    clock, core = zip(*rates, strict=True)
    return {
        "side": name,
        "images_per_second": round(statistics.median(clock)),
        "slowest_images_per_second": round(min(clock)),
        "fastest_images_per_second": round(max(clock)),
        "images_per_second_and_core": round(statistics.median(core)),
    }


if __name__ == "__main__":
    app.run(main)
