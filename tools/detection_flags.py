"""The flags that searching and training a detector have in common."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from absl import flags

from detection.config import (
    DetectionDataConfig,
    DetectionLossConfig,
    HeadConfig,
    PostprocessConfig,
    SceneAugmentationConfig,
    check_loss,
)
from mobilenas_tf.spec import Architecture, Head
from mobilenas_tf.training.config import (
    OptimizerConfig,
    TrainingConfig,
    check_warmup,
)
from mobilenas_tf.training.recipe import OF_CLASSIFIERS
from tools import flag_config

flags.disclaim_key_flags()  # so that --help shows them as flags of the binary


@dataclasses.dataclass(frozen=True)
class DetectionSettings:
    """How a detector is made and taught, whatever the data."""

    training: TrainingConfig
    head: HeadConfig = HeadConfig()
    augmentation: SceneAugmentationConfig = SceneAugmentationConfig()
    loss: DetectionLossConfig = DetectionLossConfig()
    postprocess: PostprocessConfig = PostprocessConfig()
    optimizer: OptimizerConfig = OptimizerConfig()

    def run_config(
        self,
        data: DetectionDataConfig,
        augmentation: SceneAugmentationConfig,
        *,
        makes_head: bool = True,
    ) -> dict[str, Any]:
        """Returns what decides a run's results.

        Args:
            data: Which images.
            augmentation: As it is applied, `auto` resolved for these images.
            makes_head: Whether the head is made by these settings; a detector that was
                found has its own.
        """
        parts = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if makes_head or field.name != "head"
        }
        return parts | {"data": data, "augmentation": augmentation}


def define_detection(
    defaults: DetectionSettings, *, leave_out: Sequence[str] = ()
) -> None:
    """Defines the flags.

    Args:
        defaults: The binary's own.
        leave_out: Settings that it has no use for, besides those of classifiers.
    """
    for field in dataclasses.fields(defaults):
        config = getattr(defaults, field.name)
        flag_config.define_flags(
            type(config), defaults=config, leave_out=(*OF_CLASSIFIERS, *leave_out)
        )


def detection_from_flags(architecture: Architecture | None = None) -> DetectionSettings:
    """Returns what the flags say.

    Args:
        architecture: What is trained, if it is there already: a detector keeps its
            head, so that flags of heads are refused and the loss is checked against it.

    Raises:
        ValueError: If values are not allowed or do not go together.
    """
    settings = DetectionSettings(
        training=flag_config.config_from_flags(
            TrainingConfig, label_smoothing=0.0, dropout_rate=0.0
        ),
        head=flag_config.config_from_flags(HeadConfig),
        augmentation=flag_config.config_from_flags(SceneAugmentationConfig),
        loss=flag_config.config_from_flags(DetectionLossConfig),
        postprocess=flag_config.config_from_flags(PostprocessConfig),
        optimizer=flag_config.config_from_flags(
            OptimizerConfig, **flag_config.left_out(OptimizerConfig)
        ),
    )
    check_warmup(settings.optimizer, settings.training)
    score_activation = settings.head.score_activation
    if architecture is not None and not isinstance(architecture.head, Head):
        _check_no_head_flags(architecture.name)
        score_activation = architecture.head.score_activation
    check_loss(settings.loss, score_activation)
    return settings


def _check_no_head_flags(name: str) -> None:
    given = flag_config.given_values(HeadConfig)
    if given:
        received = ", ".join(f"--{field}={value}" for field, value in given.items())
        raise ValueError(
            f"architecture must be a classifier for flags of a head; the detector "
            f"{name} keeps the head that it has. Received: {received}"
        )
