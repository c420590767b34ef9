"""Options of classifier training: data, augmentation, optimizer, and the run itself.

Every default and help text lives here; the flags of the binaries are generated from
them. What the options do is left to `data`, `augmentation`, `optimizers` and `trainer`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from mobilenas_tf.options import option, require, require_literals


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which images to train on, and how they are split and batched."""

    dataset: str = option(
        "digits",
        "Data set: digits (embedded), tfds:NAME (prepared TensorFlow data set) or "
        "folder:DIR (one sub-folder a class, perhaps inside train/, val/ and test/).",
    )
    data_dir: str | None = option(
        None, "Folder of prepared TensorFlow data sets; by default TFDS's own."
    )
    image_size_px: int = option(32, "Height and width of the images in pixels.")
    central_crop_fraction: float = option(
        1.0,
        "Share of a photo's shorter side that evaluation looks at; published ImageNet "
        "figures use 0.875.",
    )
    batch_size: int = option(128, "Images in a training step.")
    max_train_images: int | None = option(
        None, "Train on a random subset of this size with the same class shares."
    )
    validation_fraction: float = option(
        0.1, "Share set aside for validation where the data set has no such split."
    )
    class_weights: Literal["none", "balanced"] = option(
        "none", "balanced weighs each image by the inverse of its class's frequency."
    )
    max_corrupt_images: int = option(
        10, "Photos that may fail to decode (they are skipped) before it is an error."
    )
    in_memory_limit_mib: int = option(
        2048, "Keep the images in memory if they take at most this much; else stream."
    )
    seed: int = option(0, "Seed of the subset, the order and the augmentation.")

    def __post_init__(self) -> None:
        """Checks every field."""
        require_literals(self)
        prefix, _, name = self.dataset.partition(":")
        if self.dataset != "digits" and not (prefix in ("tfds", "folder") and name):
            raise ValueError(
                "dataset must be digits, tfds:NAME or folder:DIR. "
                f"Received: dataset={self.dataset!r}"
            )
        check_reading(self)
        require(
            0 < self.central_crop_fraction <= 1,
            "in (0, 1]",
            "central_crop_fraction",
            self.central_crop_fraction,
        )


def check_reading(config: Any) -> None:
    """Checks the fields that all data sets' configurations have: sizes and splits.

    Raises:
        ValueError: Names the field.
    """
    for field in ("image_size_px", "batch_size"):
        value = getattr(config, field)
        require(value >= 1, "at least 1", field, value)
    for field in ("max_corrupt_images", "in_memory_limit_mib", "seed"):
        value = getattr(config, field)
        require(value >= 0, "0 or more", field, value)
    require(
        config.max_train_images is None or config.max_train_images >= 1,
        "at least 1 or not given",
        "max_train_images",
        config.max_train_images,
    )
    require(
        0 < config.validation_fraction <= 0.5,
        "in (0, 0.5]",
        "validation_fraction",
        config.validation_fraction,
    )


@dataclasses.dataclass(frozen=True)
class AugmentationConfig:
    """How training images are varied."""

    crop: Literal["auto", "none", "pad", "random_resized"] = option(
        "auto",
        "none; pad: shift by a crop of the padded image; random_resized: zoom into a "
        "random part. auto: pad for digits and up to 64 px, else random_resized.",
    )
    crop_padding_px: int | None = option(
        None,
        "Padding for crop=pad. By default an eighth of the image size (4 px at 32), "
        "a sixteenth for digits.",
    )
    min_crop_area: float = option(
        0.25, "Smallest share of the image that crop=random_resized keeps."
    )
    horizontal_flip: Literal["auto", "on", "off"] = option(
        "auto", "Mirror half of the images; auto: not for digits."
    )
    rand_augment_magnitude: float = option(
        0.0,
        "Strength of RandAugment in [0, 1] (the paper's magnitude / 10); 0 is off. "
        "What it draws does not repeat with the seed.",
    )
    mixup_alpha: float = option(
        0.0, "MixUp: parameter of the Beta distribution (0.2 is usual); 0 is off."
    )
    cutmix_alpha: float = option(
        0.0,
        "CutMix: parameter of the Beta distribution (1.0 is usual); 0 is off. With "
        "MixUp on too, each batch takes one of them at random.",
    )

    def __post_init__(self) -> None:
        """Checks every field."""
        require_literals(self)
        require(
            self.crop_padding_px is None or self.crop_padding_px >= 0,
            "0 or more, or not given",
            "crop_padding_px",
            self.crop_padding_px,
        )
        require(
            0 < self.min_crop_area <= 1,
            "in (0, 1]",
            "min_crop_area",
            self.min_crop_area,
        )
        require(
            0 <= self.rand_augment_magnitude <= 1,
            "in [0, 1]",
            "rand_augment_magnitude",
            self.rand_augment_magnitude,
        )
        for field in ("mixup_alpha", "cutmix_alpha"):
            value = getattr(self, field)
            require(value >= 0, "0 or more", field, value)


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """How weights are updated, and how the learning rate runs."""

    optimizer: Literal["sgd", "rmsprop", "adamw"] = option(
        "sgd", "Optimizer of the weights."
    )
    learning_rate: float | None = option(
        None,
        "Highest learning rate for a batch of 256 images; it is scaled by batch_size / "
        "256. By default 0.1 for sgd, 0.016 for rmsprop and 0.002 for adamw.",
    )
    momentum: float = option(0.9, "Momentum; of adamw its beta_1.")
    nesterov: bool = option(False, "Nesterov's momentum (sgd only).")
    rho: float = option(0.9, "rmsprop: decay of the mean squared gradient.")
    epsilon: float = option(1e-3, "rmsprop: added to the mean squared gradient.")
    schedule: Literal["cosine", "exponential", "constant"] = option(
        "cosine", "How the learning rate falls after the warm-up."
    )
    warmup_epochs: float = option(
        0.5, "Epochs over which the learning rate rises linearly from 0."
    )
    decay_rate: float = option(
        0.97, "exponential: factor of the learning rate every decay_epochs."
    )
    decay_epochs: float = option(2.4, "exponential: epochs between two decays.")
    weight_decay: float = option(
        4e-4,
        "Decoupled weight decay: each step takes learning rate * weight_decay * weight "
        "off. Not for batch normalization, biases and depthwise kernels. A paper's L2 "
        "coefficient for SGD with momentum m is this times (1 - m). adamw, whose "
        "learning rate is so much lower, needs about 100 times more.",
    )
    ema_decay: float = option(
        0.0,
        "Evaluate with a moving average of the weights that keeps this share a step "
        "(it reaches back about 1 / (1 - ema_decay) steps); 0 is off.",
    )
    gradient_clip_norm: float = option(
        0.0, "Scale gradients down to this global norm; 0 is off."
    )

    def __post_init__(self) -> None:
        """Checks every field."""
        require_literals(self)
        require(
            self.learning_rate is None or self.learning_rate > 0,
            "above 0 or not given",
            "learning_rate",
            self.learning_rate,
        )
        for field in ("momentum", "rho", "ema_decay"):
            value = getattr(self, field)
            require(0 <= value < 1, "in [0, 1)", field, value)
        for field in ("epsilon", "decay_epochs"):
            value = getattr(self, field)
            require(value > 0, "above 0", field, value)
        for field in ("warmup_epochs", "weight_decay", "gradient_clip_norm"):
            value = getattr(self, field)
            require(value >= 0, "0 or more", field, value)
        require(0 < self.decay_rate <= 1, "in (0, 1]", "decay_rate", self.decay_rate)
        require(
            not self.nesterov or self.optimizer == "sgd",
            "off unless optimizer is sgd",
            "nesterov",
            self.nesterov,
        )


@dataclasses.dataclass(frozen=True)
class SavingConfig:
    """How often a run is saved.

    Attributes:
        every_epochs: Epochs between two checkpoints.
        minutes: After which there is one within an epoch.
        max_share: Of the run's time; where epochs are short, one is put off until
            saving has taken no more.
    """

    every_epochs: int = 1
    minutes: float = 10.0
    max_share: float = 0.01


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """The length of a training run and its regularisation."""

    epochs: int = option(30, "Passes over the training images.")
    label_smoothing: float = option(
        0.1, "Share of each label spread evenly over all classes."
    )
    dropout_rate: float = option(
        0.1, "Share of features dropped before the last layer."
    )
    drop_path_rate: float = option(
        0.0,
        "Share of images that skip the last block; of the others with a residual "
        "connection in proportion to their place (stochastic depth).",
    )
    batch_norm_momentum: float = option(
        0.97,
        "Share of its running statistics that batch normalization keeps each step. "
        "0.97 suits runs of a few thousand steps; papers with 100 times more use 0.99 "
        "to 0.999.",
    )
    checkpoint_every_epochs: int = option(
        1,
        "Epochs between two checkpoints; more where epochs take seconds, so that "
        "saving takes 1 % of the time.",
    )
    checkpoint_minutes: float = option(
        10.0,
        "Minutes after which there is a checkpoint within an epoch, too; 0: after "
        "every step.",
        added_later=True,
    )
    seed: int = option(0, "Seed of the initial weights and of dropout.")
    deterministic: bool = option(
        False,
        "Repeat a run with its seed to the last bit: operators run one after the "
        "other, as the order in which sums meet would else depend on the moment.",
        added_later=True,
    )

    def __post_init__(self) -> None:
        """Checks every field."""
        for field in ("epochs", "checkpoint_every_epochs"):
            value = getattr(self, field)
            require(value >= 1, "at least 1", field, value)
        for field in (
            *("label_smoothing", "dropout_rate", "drop_path_rate"),
            "batch_norm_momentum",
        ):
            value = getattr(self, field)
            require(0 <= value < 1, "in [0, 1)", field, value)
        for field in ("seed", "checkpoint_minutes"):
            value = getattr(self, field)
            require(value >= 0, "0 or more", field, value)

    @property
    def saving(self) -> SavingConfig:
        """How often a run is saved."""
        return SavingConfig(self.checkpoint_every_epochs, self.checkpoint_minutes)


@dataclasses.dataclass(frozen=True)
class DistributionConfig:
    """How many devices and machines train."""

    distribute: Literal["none", "mirrored", "multi_worker"] = option(
        "none",
        "mirrored: on all GPUs of this machine; multi_worker: on all machines of the "
        "cluster that the variable TF_CONFIG describes, each started with the same "
        "flags. A batch is shared out evenly.",
    )

    def __post_init__(self) -> None:
        """Checks every field."""
        require_literals(self)


def check_warmup(optimizer: OptimizerConfig, training: TrainingConfig) -> None:
    """Raises a ValueError unless the warm-up ends before the run does."""
    require(
        optimizer.warmup_epochs < training.epochs,
        f"less than the run's {training.epochs} epochs",
        "warmup_epochs",
        optimizer.warmup_epochs,
    )
