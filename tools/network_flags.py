"""Flags that name an architecture, and the data set that goes with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from absl import flags

from mobilenas_tf.training.config import AugmentationConfig, DataConfig
from tools import flag_config

if TYPE_CHECKING:
    from mobilenas_tf.spec import Architecture
    from mobilenas_tf.training.data import ClassificationData


def define_architecture() -> None:
    """Defines --architecture."""
    flags.DEFINE_string(
        "architecture",
        None,
        "An architecture.json, a run folder, or a zoo name such as mobilenet_v2.",
        required=True,
    )


def define_fitting() -> None:
    """Defines the flags of data and of fitting an architecture to them."""
    flag_config.define_flags(DataConfig, leave_out=("image_size_px",))
    flag_config.define_flags(AugmentationConfig)
    flags.DEFINE_integer(
        "image_size_px", None, "Input size in pixels. By default the architecture's."
    )
    flags.DEFINE_bool(
        "replace_head",
        False,
        "Put a new classifier on an architecture that has another number of classes. "
        "Zoo networks always get one.",
    )


def open_fitted() -> tuple[Architecture, ClassificationData]:
    """Returns the architecture of the flags for the data set of the flags."""
    from mobilenas_tf.architecture_source import fit_architecture, open_architecture
    from mobilenas_tf.spec import with_head
    from mobilenas_tf.training.data import load_classification_data
    from mobilenas_tf.zoo import ZOO

    values = flags.FLAGS
    architecture = with_head(
        open_architecture(values.architecture), image_size_px=values.image_size_px
    )
    data = load_classification_data(
        flag_config.config_from_flags(
            DataConfig, image_size_px=architecture.image_size_px
        ),
        flag_config.config_from_flags(AugmentationConfig),
    )
    architecture = fit_architecture(
        architecture,
        num_classes=data.num_classes,
        replace_head=values.replace_head or architecture.name in ZOO,
    )
    return architecture, data
