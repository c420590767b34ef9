"""Recipes: what a joint search decides about training, and their file.

A recipe is part of the options of a training. Which data and how long is left to the
training itself, what the options do to the modules that its configuration names.

Source: Dai et al., FBNetV3, arXiv:2006.02049, section 3.3: optimizer, learning rate,
weight decay, mixup, dropout, stochastic depth, averaged weights. Differs: label
smoothing is searched too, and the learning rate is that of a batch of 256 images.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar

from mobilenas_tf.json_io import from_plain, read_document, write_json
from mobilenas_tf.training.config import (
    AugmentationConfig,
    OptimizerConfig,
    TrainingConfig,
)

RECIPE_FILE = "recipe.json"
SCHEMA_VERSION = 1
# What a training without a classifier has no use for.
OF_CLASSIFIERS = ("mixup_alpha", "label_smoothing", "dropout_rate")
ConfigT = TypeVar("ConfigT", OptimizerConfig, AugmentationConfig, TrainingConfig)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a network is trained; the fields are those of the configurations."""

    optimizer: Literal["sgd", "rmsprop", "adamw"]
    learning_rate: float
    weight_decay: float
    ema_decay: float
    mixup_alpha: float
    label_smoothing: float
    dropout_rate: float
    drop_path_rate: float

    def __post_init__(self) -> None:
        """Checks every field, as the configurations do."""
        self.put_into(OptimizerConfig())
        self.put_into(AugmentationConfig())
        self.put_into(TrainingConfig())

    def put_into(self, config: ConfigT) -> ConfigT:
        """Returns a configuration with what the recipe says of its fields."""
        names = {field.name for field in dataclasses.fields(config)}
        return dataclasses.replace(config, **self.settings(names))

    def settings(self, names: Iterable[str]) -> dict[str, Any]:
        """Returns the recipe's values of those of the names that it decides."""
        values = dataclasses.asdict(self)
        return {name: values[name] for name in values if name in set(names)}


def write_recipe(path: str | os.PathLike[str], recipe: Recipe) -> None:
    """Writes `recipe.json`."""
    write_json(path, {"schema_version": SCHEMA_VERSION, "recipe": recipe})


def open_recipe(reference: str | os.PathLike[str]) -> Recipe:
    """Returns the recipe of a file, or of a run folder that holds one.

    Raises:
        FileNotFoundError: If it is not there.
        ValueError: If the file is malformed, or a setting is unknown or out of range.
    """
    path = Path(reference)
    if path.is_dir():
        path = path / RECIPE_FILE
    if not path.exists():
        raise FileNotFoundError(
            f"{path} must be a recipe.json, as tools.search_joint writes it. It is "
            "missing"
        )
    document = read_document(path, version=SCHEMA_VERSION, keys=["recipe"])
    return from_plain(Recipe, document["recipe"], str(path))
