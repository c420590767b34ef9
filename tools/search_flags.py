"""The flags that all searches of classifiers have in common."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from absl import flags

from mobilenas_tf.training.config import (
    AugmentationConfig,
    DataConfig,
    OptimizerConfig,
    TrainingConfig,
    check_warmup,
)
from tools import flag_config

flags.disclaim_key_flags()  # so that --help shows them as flags of the binary


@dataclasses.dataclass(frozen=True)
class SearchSettings:
    """What a supernet learns from, and how."""

    data: DataConfig
    augmentation: AugmentationConfig
    optimizer: OptimizerConfig
    training: TrainingConfig

    def run_config(self) -> dict[str, Any]:
        """Returns what of it decides a run's results: everything."""
        return {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self)
        }


def define_search(training: TrainingConfig, *, leave_out: Sequence[str] = ()) -> None:
    """Defines the flags.

    Args:
        training: The binary's own defaults.
        leave_out: Rates of the training that its supernet does not have.
    """
    flag_config.define_flags(DataConfig, leave_out=("image_size_px",))
    flag_config.define_flags(AugmentationConfig)
    flag_config.define_flags(OptimizerConfig)
    flag_config.define_flags(TrainingConfig, defaults=training, leave_out=leave_out)


def search_from_flags(image_size_px: int) -> SearchSettings:
    """Returns what the flags say, for images of the space's size.

    Rates of the training that were left out are 0.

    Raises:
        ValueError: If values are not allowed or do not go together.
    """
    fixed: dict[str, Any] = {
        field.name: 0.0
        for field in dataclasses.fields(TrainingConfig)
        if field.name not in flags.FLAGS
    }
    settings = SearchSettings(
        data=flag_config.config_from_flags(DataConfig, image_size_px=image_size_px),
        augmentation=flag_config.config_from_flags(AugmentationConfig),
        optimizer=flag_config.config_from_flags(OptimizerConfig),
        training=flag_config.config_from_flags(TrainingConfig, **fixed),
    )
    check_warmup(settings.optimizer, settings.training)
    return settings
