"""The runs that comparisons of detectors are made of: a search, and a training.

Each takes one thread and counts its processor's seconds. The flags here are those of
all scripts that compare detectors.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from benchmarks.jobs import one_thread
from benchmarks.timed_search import timed_search
from detection.config import (
    DIGIT_SCENE_AUGMENTATION,
    DIGIT_SCENE_LOSS,
    DetectionDataConfig,
    DetectionLossConfig,
    HeadConfig,
    PostprocessConfig,
    SceneAugmentationConfig,
)
from detection.heads import fit_detector
from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.costs.uniform import scaled_network
from mobilenas_tf.search.config import BudgetConfig, FigsConfig
from mobilenas_tf.space import SearchSpace
from mobilenas_tf.spec import Architecture
from mobilenas_tf.training.config import OptimizerConfig, TrainingConfig
from mobilenas_tf.zoo import zoo_architecture

_SPACE = flags.DEFINE_string("space", "figs_mobilenet_v2_160", "Search space.")
_IMAGES = flags.DEFINE_integer("max_train_images", None, "Training images.")
_SEARCH_EPOCHS = flags.DEFINE_integer("search_epochs", 5, "Epochs of each search.")
_EPOCHS = flags.DEFINE_integer("epochs", 12, "Epochs of each training.")
_LEARNING_RATE = flags.DEFINE_float(
    "learning_rate", 3.2, "Of the weights, for a batch of 256 images."
)

DATASET = "digit_scenes"
NUM_CLASSES = 10
IMAGE_SIZE_PX = 160
# Of the tables tried this leaves the fewest objects, three in ten, without an anchor
# of IoU 0.5: many of them are smaller than a cell of stride 16.
HEAD = HeadConfig(head="ssdlite", anchors="multiscale", min_scale=0.15)
# Of 2,000 scenes small batches learn more than large ones, at the same speed.
BATCH_SIZE = 8


@dataclasses.dataclass(frozen=True)
class DetectionProtocol:
    """What all sides of a comparison share; each run adds its seed."""

    space: str
    max_train_images: int | None
    search_epochs: int
    epochs: int
    optimizer: OptimizerConfig
    batch_size: int = BATCH_SIZE
    head: HeadConfig = HEAD
    augmentation: SceneAugmentationConfig = DIGIT_SCENE_AUGMENTATION
    loss: DetectionLossConfig = DIGIT_SCENE_LOSS

    def data_config(self, seed: int) -> DetectionDataConfig:
        """Returns the same scenes in the same order for all runs of a seed."""
        return DetectionDataConfig(
            dataset=DATASET,
            image_size_px=IMAGE_SIZE_PX,
            batch_size=self.batch_size,
            max_train_images=self.max_train_images,
            seed=seed,
        )

    def settings(self) -> dict[str, Any]:
        """Returns what decides the results."""
        return dataclasses.asdict(self)


def protocol() -> DetectionProtocol:
    """Returns what the flags say."""
    return DetectionProtocol(
        space=_SPACE.value,
        max_train_images=_IMAGES.value,
        search_epochs=_SEARCH_EPOCHS.value,
        epochs=_EPOCHS.value,
        optimizer=OptimizerConfig(learning_rate=_LEARNING_RATE.value, warmup_epochs=1),
    )


def under_head(shared: DetectionProtocol, backbone: Architecture) -> Architecture:
    """Returns the detector of a backbone; a detector stays what it is."""
    return fit_detector(
        backbone, shared.head, num_classes=NUM_CLASSES, image_size_px=IMAGE_SIZE_PX
    )


def narrow_detector(
    shared: DetectionProtocol, name: str, *, metric: str, budget: float
) -> Architecture:
    """Returns the widest detector of a published backbone within the budget."""

    def cost(backbone: Architecture) -> float:
        return getattr(network_cost(under_head(shared, backbone)), metric)

    narrow = scaled_network(zoo_architecture(name), cost=cost, budget=budget)
    return under_head(shared, narrow)


def uniform_detector(
    shared: DetectionProtocol, *, metric: str, budget: float
) -> Architecture:
    """Returns the detector of the searched space whose widths share one factor."""
    from benchmarks.width_baselines import uniform_widths

    return uniform_widths(_detector_space(shared), metric, budget)


def _detector_space(shared: DetectionProtocol) -> SearchSpace:
    from detection.spaces import detector_space

    return detector_space(
        shared.space, shared.head, num_classes=NUM_CLASSES, image_size_px=IMAGE_SIZE_PX
    )


def run_search(
    shared: DetectionProtocol, budget: BudgetConfig, *, seed: int, folder: Path
) -> dict[str, Any]:
    """Searches by the detection loss; returns seconds and the found detector."""
    one_thread()
    from detection.data import load_detection_data
    from detection.task import detection_task

    data = load_detection_data(shared.data_config(seed), shared.augmentation)
    space = _detector_space(shared)
    return timed_search(
        folder,
        space,
        detection_task(
            space.supernet, data, loss=shared.loss, postprocess=PostprocessConfig()
        ),
        data,
        config=FigsConfig(space=shared.space),
        budget=budget,
        optimizer=shared.optimizer,
        training=TrainingConfig(
            epochs=shared.search_epochs, dropout_rate=0.0, seed=seed
        ),
    )


def run_training(
    shared: DetectionProtocol, detector: Architecture, *, seed: int, folder: Path
) -> dict[str, Any]:
    """Trains a detector from scratch; returns what COCO says on the test scenes."""
    one_thread()
    from detection.data import load_detection_data
    from detection.trainer import evaluate_network, train_detector
    from mobilenas_tf.training.run_dir import open_run_dir

    data = load_detection_data(shared.data_config(seed), shared.augmentation)
    shutil.rmtree(folder, ignore_errors=True)
    run = open_run_dir(folder, config={"architecture": detector}, command=[])
    started = time.process_time()
    network = train_detector(
        detector,
        data,
        run,
        loss=shared.loss,
        postprocess=PostprocessConfig(),
        optimizer=shared.optimizer,
        training=TrainingConfig(
            epochs=shared.epochs,
            dropout_rate=0.0,
            seed=seed,
            checkpoint_every_epochs=shared.epochs,
        ),
    )
    seconds = time.process_time() - started
    evaluation, _ = evaluate_network(network, detector, data, PostprocessConfig())
    cost = network_cost(detector)
    return {
        "test_ap": evaluation.metrics["ap"],
        "test_ap50": evaluation.metrics["ap50"],
        "macs": cost.macs,
        "params": cost.params,
        "cpu_seconds": seconds,
    }


def precision(trainings: Sequence[Mapping[str, Any]]) -> list[float]:
    """Returns the mAP on the test scenes of several trainings, in percent."""
    return [100 * training["test_ap"] for training in trainings]


def mean_figures(trainings: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Returns what several trainings cost and reach on average."""
    return {
        "params": float(np.mean([training["params"] for training in trainings])),
        "macs": float(np.mean([training["macs"] for training in trainings])),
        "test_map": float(np.mean(precision(trainings))),
    }
