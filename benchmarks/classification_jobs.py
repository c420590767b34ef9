"""The two runs that comparisons of searches are made of: a search, and a training.

Each takes one thread and counts its processor's seconds, so that two at the same time
disturb each other as little as they can.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.json_io import (
    architecture_from_plain,
    read_architecture,
    read_json,
    to_plain,
)
from mobilenas_tf.search.config import BudgetConfig, FigsConfig
from mobilenas_tf.spaces import named_space, space_image_size
from mobilenas_tf.spec import Architecture
from mobilenas_tf.training.config import (
    AugmentationConfig,
    DataConfig,
    OptimizerConfig,
    TrainingConfig,
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

    def data_config(self, seed: int) -> DataConfig:
        """Returns the same images in the same order for all runs of a seed."""
        return DataConfig(
            dataset=self.dataset,
            data_dir=self.data_dir,
            image_size_px=space_image_size(self.space),
            max_train_images=self.max_train_images,
            seed=seed,
        )

    def settings(self) -> dict[str, Any]:
        """Returns what decides the results."""
        settings = dataclasses.asdict(self)
        del settings["data_dir"]
        return settings


def one_thread() -> None:
    """Restricts TensorFlow to one thread; call it before anything is computed."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def run_search(
    protocol: Protocol,
    config: FigsConfig,
    budget: BudgetConfig,
    *,
    seed: int,
    folder: Path,
) -> dict[str, Any]:
    """Searches, and returns seconds and the found networks by budget."""
    one_thread()
    from mobilenas_tf.search.figs import SNAPSHOTS, search_figs
    from mobilenas_tf.training.data import load_classification_data
    from mobilenas_tf.training.run_dir import open_run_dir

    data = load_classification_data(protocol.data_config(seed), AugmentationConfig())
    space = named_space(protocol.space, num_classes=data.num_classes)
    shutil.rmtree(folder, ignore_errors=True)  # what was stopped would count too little
    run = open_run_dir(folder, config={"search": config, "budget": budget}, command=[])
    started, cpu_started = time.monotonic(), time.process_time()
    search_figs(
        space,
        data,
        run,
        config=config,
        budget=budget,
        optimizer=OptimizerConfig(),
        training=TrainingConfig(
            epochs=protocol.search_epochs, dropout_rate=0.0, seed=seed
        ),
    )
    seconds = time.monotonic() - started, time.process_time() - cpu_started
    folders = [folder, *sorted((folder / SNAPSHOTS).glob("*"))]
    networks = {}
    for path in folders:
        document = read_json(path / "search.json")
        networks[f"{document['budget']:.0f}"] = {
            "architecture": to_plain(read_architecture(path / "architecture.json")),
            "widths": document["widths"],
            "width_scale": document["width_scale"],
            "inherited_validation_accuracy": document["inherited_validation_accuracy"],
        }
    rows = run.read_metrics()
    return {
        "seconds": seconds[0],
        "cpu_seconds": seconds[1],
        "networks": networks,
        "expected_cost": [row["expected_cost"] for row in rows],
        "supernet_macs": [row["supernet_macs"] for row in rows],
    }


def run_training(
    protocol: Protocol, architecture: Architecture, *, seed: int, folder: Path
) -> dict[str, Any]:
    """Trains a network from scratch; returns its test accuracy and the seconds."""
    one_thread()
    from mobilenas_tf.training.classifier import evaluate_classifier, train_classifier
    from mobilenas_tf.training.data import load_classification_data
    from mobilenas_tf.training.run_dir import open_run_dir

    data = load_classification_data(protocol.data_config(seed), AugmentationConfig())
    shutil.rmtree(folder, ignore_errors=True)
    run = open_run_dir(folder, config={"architecture": architecture}, command=[])
    started, cpu_started = time.monotonic(), time.process_time()
    network = train_classifier(
        architecture,
        data,
        run,
        optimizer=OptimizerConfig(),
        training=TrainingConfig(
            epochs=protocol.epochs,
            seed=seed,
            checkpoint_every_epochs=protocol.epochs,
        ),
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


def found_architecture(search: Mapping[str, Any], budget: float) -> Architecture:
    """Returns the network of a budget out of a search's result."""
    plain = search["networks"][f"{budget:.0f}"]["architecture"]
    return architecture_from_plain(plain, "result of the search")
