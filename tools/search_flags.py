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

# Averages of a supernet's weights are nothing that a search looks at.
_OF_TRAININGS = ("ema_decay",)
_RATES = {"label_smoothing", "dropout_rate", "drop_path_rate"}


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
        leave_out: Settings that a search does not have, or that it decides.
    """
    leave_out = (*_OF_TRAININGS, *leave_out)
    flag_config.define_flags(DataConfig, leave_out=("image_size_px",))
    flag_config.define_flags(AugmentationConfig, leave_out=leave_out)
    flag_config.define_flags(OptimizerConfig, leave_out=leave_out)
    flag_config.define_flags(TrainingConfig, defaults=training, leave_out=leave_out)


def search_from_flags(image_size_px: int) -> SearchSettings:
    """Returns what the flags say, for images of the space's size.

    Rates of the training that were left out are 0, other settings their defaults.

    Raises:
        ValueError: If values are not allowed or do not go together.
    """
    training = flag_config.left_out(TrainingConfig)
    training |= dict.fromkeys(training.keys() & _RATES, 0.0)
    settings = SearchSettings(
        data=flag_config.config_from_flags(DataConfig, image_size_px=image_size_px),
        augmentation=flag_config.config_from_flags(
            AugmentationConfig, **flag_config.left_out(AugmentationConfig)
        ),
        optimizer=flag_config.config_from_flags(
            OptimizerConfig, **flag_config.left_out(OptimizerConfig)
        ),
        training=flag_config.config_from_flags(TrainingConfig, **training),
    )
    check_warmup(settings.optimizer, settings.training)
    return settings
