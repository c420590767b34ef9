"""Throughput of the input pipeline alone, against the training step's.

Images of noise are held in memory, as CIFAR-sized data sets are; each row is a recipe.
The baseline augments the same images one by one, as many tutorials do.

Run: python -m benchmarks.input_pipeline
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from absl import app, flags

from benchmarks import evidence
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.training.augmentation import (
    CROP_SOURCE_SCALE,
    resolve_augmentation,
)
from mobilenas_tf.training.config import AugmentationConfig, DataConfig
from mobilenas_tf.training.data import ClassificationData
from mobilenas_tf.training.image_split import hold_in_memory

_IMAGES = flags.DEFINE_integer("images", 20_000, "Images in an epoch.")
_IMAGE_SIZE_PX = flags.DEFINE_integer("image_size_px", 32, "Height and width.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Images in a batch.")
_REPEATS = flags.DEFINE_integer("repeats", 5, "Interleaved epochs of each recipe.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the images and their augmentation.")
_TRAINING_IMAGES_PER_SECOND = flags.DEFINE_float(
    "training_images_per_second",
    1000.0,
    "Throughput of a training step on this machine, to be exceeded three times.",
)

NUM_CLASSES = 10
TARGET_RECIPE = "pad, crop, flip"
RECIPES = {
    "none": AugmentationConfig(crop="none", horizontal_flip="off"),
    TARGET_RECIPE: AugmentationConfig(crop="pad"),
    "random resized crop, flip": AugmentationConfig(crop="random_resized"),
    "pad, crop, flip, MixUp": AugmentationConfig(crop="pad", mixup_alpha=0.2),
    "pad, crop, flip, CutMix": AugmentationConfig(crop="pad", cutmix_alpha=1.0),
    "pad, crop, flip, RandAugment": AugmentationConfig(
        crop="pad", rand_augment_magnitude=0.5
    ),
}
BASELINE = "baseline: pad, crop, flip one by one"
COLUMNS = (
    "recipe",
    "images_per_second",
    "slowest_images_per_second",
    "fastest_images_per_second",
)


def main(_: list[str]) -> None:
    """Times every recipe and prints the table and one JSON object."""
    epochs: dict[str, Callable[[int], tf.data.Dataset]] = {
        name: _data(recipe).train_epoch for name, recipe in RECIPES.items()
    }
    images, labels = _noise(_IMAGE_SIZE_PX.value)
    epochs[BASELINE] = lambda epoch: _augment_one_by_one(images, labels, epoch)
    seconds = {name: [] for name in epochs}
    for epoch in range(_REPEATS.value + 1):
        for name, make_epoch in epochs.items():
            elapsed = _time_epoch(make_epoch, epoch)
            if epoch > 0:  # The first epoch traces and warms up.
                seconds[name].append(elapsed)
    rows = [_summarize(name, times) for name, times in seconds.items()]
    print(format_table(COLUMNS, rows))
    evidence.finish(
        figures=rows,
        settings={
            "images": _IMAGES.value,
            "image_size_px": _IMAGE_SIZE_PX.value,
            "batch_size": _BATCH_SIZE.value,
            "repeats": _REPEATS.value,
            "seed": _SEED.value,
            "training_images_per_second": _TRAINING_IMAGES_PER_SECOND.value,
        },
        targets=_targets(rows),
    )


def _noise(size_px: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(_SEED.value)
    shape = (_IMAGES.value, size_px, size_px, 3)
    images = rng.integers(0, 256, shape, dtype=np.uint8)
    return images, rng.integers(0, NUM_CLASSES, _IMAGES.value, dtype=np.int32)


def _data(recipe: AugmentationConfig) -> ClassificationData:
    config = DataConfig(
        dataset="folder:noise",
        image_size_px=_IMAGE_SIZE_PX.value,
        batch_size=_BATCH_SIZE.value,
        seed=_SEED.value,
    )
    is_zoomed = recipe.crop == "random_resized"
    scale = CROP_SOURCE_SCALE if is_zoomed else 1
    split = hold_in_memory(*_noise(round(scale * config.image_size_px)))
    return ClassificationData(
        class_names=tuple(str(index) for index in range(NUM_CLASSES)),
        train_split=split,
        validation_split=split,
        test_split=split,
        config=config,
        augmentation=resolve_augmentation(
            recipe, dataset=config.dataset, image_size_px=config.image_size_px
        ),
    )


def _augment_one_by_one(
    images: np.ndarray, labels: np.ndarray, epoch: int
) -> tf.data.Dataset:
    size_px, padding_px = _IMAGE_SIZE_PX.value, _IMAGE_SIZE_PX.value // 8

    def augment(image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        padded_px = size_px + 2 * padding_px
        image = tf.image.resize_with_crop_or_pad(image, padded_px, padded_px)
        image = tf.image.random_crop(image, [size_px, size_px, 3])
        image = tf.image.random_flip_left_right(image)
        image = tf.cast(image, tf.float32) * (1 / 127.5) - 1.0
        return image, tf.one_hot(label, NUM_CLASSES)

    return (
        tf.data.Dataset.from_tensor_slices((images, labels))
        .shuffle(len(images), seed=epoch)
        .map(augment, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(_BATCH_SIZE.value, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def _time_epoch(make_epoch: Callable[[int], tf.data.Dataset], epoch: int) -> float:
    """Returns the seconds of an epoch, from making it to its last batch."""
    started = time.perf_counter()
    for _ in make_epoch(epoch):
        pass
    return time.perf_counter() - started


def _summarize(name: str, times: list[float]) -> dict[str, Any]:
    num_images = _IMAGES.value // _BATCH_SIZE.value * _BATCH_SIZE.value
    rates = [num_images / elapsed for elapsed in times]
    return {
        "recipe": name,
        "images_per_second": round(statistics.median(rates)),
        "slowest_images_per_second": round(min(rates)),
        "fastest_images_per_second": round(max(rates)),
    }


def _targets(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rates = {row["recipe"]: row["images_per_second"] for row in rows}
    bounds = {
        "images/s, three times the training step's": (
            3 * _TRAINING_IMAGES_PER_SECOND.value
        ),
        "images/s": 10_000,
    }
    return [
        evidence.target(
            f"{TARGET_RECIPE}: {name}", rates[TARGET_RECIPE], bound, at_most=False
        )
        for name, bound in bounds.items()
    ]


if __name__ == "__main__":
    app.run(main)
