"""The two runs that comparisons of searches are made of: a search, and a training.

Each takes one thread and counts its processor's seconds, so that two at the same time
disturb each other as little as they can. The flags here are those of all scripts that
compare searches.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from benchmarks.jobs import one_thread
from benchmarks.timed_search import timed_search
from mobilenas_tf.block_spaces import TABLES as BLOCK_TABLES
from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.search.config import BudgetConfig, FigsConfig
from mobilenas_tf.spaces import named_space, space_image_size
from mobilenas_tf.spec import Architecture
from mobilenas_tf.training.config import (
    AugmentationConfig,
    DataConfig,
    OptimizerConfig,
    TrainingConfig,
)

if TYPE_CHECKING:
    from mobilenas_tf.training.data import ClassificationData
    from mobilenas_tf.training.recipe import Recipe

_DATASET = flags.DEFINE_string("dataset", "digits", "As of the binaries.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "As of the binaries.")
_IMAGES = flags.DEFINE_integer("max_train_images", 10_000, "Training images.")
_SPACE = flags.DEFINE_string("space", "figs_atomnas_32", "Search space.")
_SEARCH_EPOCHS = flags.DEFINE_integer("search_epochs", 7, "Epochs of each search.")
_EPOCHS = flags.DEFINE_integer("epochs", 10, "Epochs of each training.")
_BATCH_SIZE = flags.DEFINE_integer("train_batch_size", 64, "Images in a step.")
_LEARNING_RATE = flags.DEFINE_float(
    "learning_rate", 0.4, "Of the weights, for a batch of 256 images."
)


@dataclasses.dataclass(frozen=True)
class Protocol:
    """What all sides of a comparison share; each run adds its seed."""

    dataset: str
    data_dir: str | None
    max_train_images: int
    space: str
    search_epochs: int
    epochs: int
    batch_size: int
    learning_rate: float

    @property
    def optimizer(self) -> OptimizerConfig:
        """The weights' optimizer of searches and trainings."""
        return OptimizerConfig(learning_rate=self.learning_rate)

    def data_config(self, seed: int, size_px: int | None = None) -> DataConfig:
        """Returns the same images in the same order for all runs of a seed.

        Args:
            seed: Of the images and their order.
            size_px: Of their sides; None takes the space's.
        """
        return DataConfig(
            dataset=self.dataset,
            data_dir=self.data_dir,
            image_size_px=size_px or image_size_px(self.space),
            max_train_images=self.max_train_images,
            batch_size=self.batch_size,
            seed=seed,
        )

    def settings(self) -> dict[str, Any]:
        """Returns what decides the results."""
        settings = dataclasses.asdict(self)
        del settings["data_dir"]
        return settings


def image_size_px(space: str) -> int:
    """Returns the side of the images of a space of whatever kind."""
    if space in BLOCK_TABLES:
        return BLOCK_TABLES[space]().image_size_px
    return space_image_size(space)


def protocol() -> Protocol:
    """Returns what the flags say."""
    return Protocol(
        dataset=_DATASET.value,
        data_dir=_DATA_DIR.value,
        max_train_images=_IMAGES.value,
        space=_SPACE.value,
        search_epochs=_SEARCH_EPOCHS.value,
        epochs=_EPOCHS.value,
        batch_size=_BATCH_SIZE.value,
        learning_rate=_LEARNING_RATE.value,
    )


def run_search(
    shared: Protocol,
    config: FigsConfig,
    budget: BudgetConfig,
    *,
    seed: int,
    folder: Path,
) -> dict[str, Any]:
    """Searches, and returns seconds and the found networks by budget."""
    one_thread()
    from mobilenas_tf.training.classification import classification_task

    data = load_data(shared, seed=seed)
    training = TrainingConfig(epochs=shared.search_epochs, dropout_rate=0.0, seed=seed)
    return timed_search(
        folder,
        named_space(shared.space, num_classes=data.num_classes),
        classification_task(data, label_smoothing=training.label_smoothing),
        data,
        config=config,
        budget=budget,
        optimizer=shared.optimizer,
        training=training,
    )


def load_data(
    shared: Protocol, *, seed: int, size_px: int | None = None
) -> ClassificationData:
    """Returns the seed's images; see `Protocol.data_config`."""
    from mobilenas_tf.training.data import load_classification_data

    config = shared.data_config(seed, size_px)
    return load_classification_data(config, AugmentationConfig())


def run_training(
    shared: Protocol,
    architecture: Architecture,
    *,
    seed: int,
    folder: Path,
    init_weights: str = "random",
    recipe: Recipe | None = None,
) -> dict[str, Any]:
    """Trains a network; returns its test accuracy and the seconds.

    Args:
        shared: Data, length and optimizer.
        architecture: Of the network.
        seed: Of weights, images and their order.
        folder: Of the run; what is in it is removed.
        init_weights: As of `train_classifier`.
        recipe: By which to train instead of by the shared optimizer and defaults.
    """
    one_thread()
    from mobilenas_tf.models.initialization import weight_initializer
    from mobilenas_tf.training.classifier import evaluate_classifier, train_classifier
    from mobilenas_tf.training.run_dir import open_run_dir

    data = load_data(shared, seed=seed, size_px=architecture.image_size_px)
    optimizer = shared.optimizer
    training = TrainingConfig(
        epochs=shared.epochs, seed=seed, checkpoint_every_epochs=shared.epochs
    )
    if recipe:
        optimizer, training = recipe.put_into(optimizer), recipe.put_into(training)
        augmentation = recipe.put_into(data.augmentation)
        data = dataclasses.replace(data, augmentation=augmentation)
    shutil.rmtree(folder, ignore_errors=True)
    run = open_run_dir(folder, config={"architecture": architecture}, command=[])
    started, cpu_started = time.monotonic(), time.process_time()
    network = train_classifier(
        architecture,
        data,
        run,
        optimizer=optimizer,
        training=training,
        initialize=weight_initializer(init_weights, architecture),
    )
    seconds = time.monotonic() - started, time.process_time() - cpu_started
    cost = network_cost(architecture)
    return {
        "test_accuracy": evaluate_classifier(network, data).accuracy,
        "validation_accuracy": run.read_metrics()[-1]["validation_accuracy"],
        "macs": cost.macs,
        "params": cost.params,
        "seconds": seconds[0],
        "cpu_seconds": seconds[1],
    }
