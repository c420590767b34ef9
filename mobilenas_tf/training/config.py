"""Options of classifier training: data, augmentation, optimizer, and the run itself.

Every default and help text lives here; the flags of the binaries are generated from
them. What the options do is left to `data`, `augmentation`, `optimizers` and `trainer`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal


def _option(default: Any, help_text: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": help_text})


def _require(condition: bool, expected: str, name: str, value: object) -> None:
    if not condition:
        raise ValueError(f"{name} must be {expected}. Received: {name}={value!r}")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which images to train on, and how they are split and batched."""

    dataset: str = _option(
        "digits",
        "Data set: digits (embedded), tfds:NAME (prepared TensorFlow data set) or "
        "folder:DIR (one sub-folder a class, perhaps inside train/, val/ and test/).",
    )
    data_dir: str | None = _option(
        None, "Folder of prepared TensorFlow data sets; by default TFDS's own."
    )
    image_size_px: int = _option(32, "Height and width of the images in pixels.")
    central_crop_fraction: float = _option(
        1.0,
        "Share of a photo's shorter side that evaluation looks at; published ImageNet "
        "figures use 0.875.",
    )
    batch_size: int = _option(128, "Images in a training step.")
    max_train_images: int | None = _option(
        None, "Train on a random subset of this size with the same class shares."
    )
    validation_fraction: float = _option(
        0.1, "Share set aside for validation where the data set has no such split."
    )
    class_weights: Literal["none", "balanced"] = _option(
        "none", "balanced weighs each image by the inverse of its class's frequency."
    )
    max_corrupt_images: int = _option(
        10, "Photos that may fail to decode (they are skipped) before it is an error."
    )
    in_memory_limit_mib: int = _option(
        2048, "Keep the images in memory if they take at most this much; else stream."
    )
    seed: int = _option(0, "Seed of the subset, the order and the augmentation.")

    def __post_init__(self) -> None:
        """Checks every field."""
        prefix, _, name = self.dataset.partition(":")
        if self.dataset != "digits" and not (prefix in ("tfds", "folder") and name):
            raise ValueError(
                "dataset must be digits, tfds:NAME or folder:DIR. "
                f"Received: dataset={self.dataset!r}"
            )
        for field in ("image_size_px", "batch_size"):
            value = getattr(self, field)
            _require(value >= 1, "at least 1", field, value)
        for field in ("max_corrupt_images", "in_memory_limit_mib", "seed"):
            value = getattr(self, field)
            _require(value >= 0, "0 or more", field, value)
        _require(
            0 < self.central_crop_fraction <= 1,
            "in (0, 1]",
            "central_crop_fraction",
            self.central_crop_fraction,
        )
        _require(
            self.max_train_images is None or self.max_train_images >= 1,
            "at least 1 or not given",
            "max_train_images",
            self.max_train_images,
        )
        _require(
            0 < self.validation_fraction <= 0.5,
            "in (0, 0.5]",
            "validation_fraction",
            self.validation_fraction,
        )
        _require(
            self.class_weights in ("none", "balanced"),
            "none or balanced",
            "class_weights",
            self.class_weights,
        )


@dataclasses.dataclass(frozen=True)
class AugmentationConfig:
    """How training images are varied."""

    crop: Literal["auto", "none", "pad", "random_resized"] = _option(
        "auto",
        "none; pad: shift by a crop of the padded image; random_resized: zoom into a "
        "random part. auto: pad for digits and up to 64 px, else random_resized.",
    )
    crop_padding_px: int | None = _option(
        None,
        "Padding for crop=pad. By default an eighth of the image size (4 px at 32), "
        "a sixteenth for digits.",
    )
    min_crop_area: float = _option(
        0.25, "Smallest share of the image that crop=random_resized keeps."
    )
    horizontal_flip: Literal["auto", "on", "off"] = _option(
        "auto", "Mirror half of the images; auto: not for digits."
    )
    rand_augment_magnitude: float = _option(
        0.0,
        "Strength of RandAugment in [0, 1] (the paper's magnitude / 10); 0 is off. "
        "What it draws does not repeat with the seed.",
    )
    mixup_alpha: float = _option(
        0.0, "MixUp: parameter of the Beta distribution (0.2 is usual); 0 is off."
    )
    cutmix_alpha: float = _option(
        0.0,
        "CutMix: parameter of the Beta distribution (1.0 is usual); 0 is off. With "
        "MixUp on too, each batch takes one of them at random.",
    )

    def __post_init__(self) -> None:
        """Checks every field."""
        crops = ("auto", "none", "pad", "random_resized")
        _require(self.crop in crops, "one of " + ", ".join(crops), "crop", self.crop)
        _require(
            self.crop_padding_px is None or self.crop_padding_px >= 0,
            "0 or more, or not given",
            "crop_padding_px",
            self.crop_padding_px,
        )
        _require(
            0 < self.min_crop_area <= 1,
            "in (0, 1]",
            "min_crop_area",
            self.min_crop_area,
        )
        _require(
            self.horizontal_flip in ("auto", "on", "off"),
            "auto, on or off",
            "horizontal_flip",
            self.horizontal_flip,
        )
        _require(
            0 <= self.rand_augment_magnitude <= 1,
            "in [0, 1]",
            "rand_augment_magnitude",
            self.rand_augment_magnitude,
        )
        for field in ("mixup_alpha", "cutmix_alpha"):
            value = getattr(self, field)
            _require(value >= 0, "0 or more", field, value)


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """How weights are updated, and how the learning rate runs."""

    optimizer: Literal["sgd", "rmsprop"] = _option("sgd", "Optimizer of the weights.")
    learning_rate: float | None = _option(
        None,
        "Highest learning rate for a batch of 256 images; it is scaled by batch_size / "
        "256. By default 0.1 for sgd and 0.016 for rmsprop.",
    )
    momentum: float = _option(0.9, "Momentum of either optimizer.")
    nesterov: bool = _option(False, "Nesterov's momentum (sgd only).")
    rho: float = _option(0.9, "rmsprop: decay of the mean squared gradient.")
    epsilon: float = _option(1e-3, "rmsprop: added to the mean squared gradient.")
    schedule: Literal["cosine", "exponential", "constant"] = _option(
        "cosine", "How the learning rate falls after the warm-up."
    )
    warmup_epochs: float = _option(
        0.5, "Epochs over which the learning rate rises linearly from 0."
    )
    decay_rate: float = _option(
        0.97, "exponential: factor of the learning rate every decay_epochs."
    )
    decay_epochs: float = _option(2.4, "exponential: epochs between two decays.")
    weight_decay: float = _option(
        4e-4,
        "Decoupled weight decay: each step takes learning rate * weight_decay * weight "
        "off. Not for batch normalization, biases and depthwise kernels. A paper's L2 "
        "coefficient for SGD with momentum m is this times (1 - m).",
    )
    ema_decay: float = _option(
        0.0,
        "Evaluate with a moving average of the weights that keeps this share a step "
        "(it reaches back about 1 / (1 - ema_decay) steps); 0 is off.",
    )
    gradient_clip_norm: float = _option(
        0.0, "Scale gradients down to this global norm; 0 is off."
    )

    def __post_init__(self) -> None:
        """Checks every field."""
        _require(
            self.optimizer in ("sgd", "rmsprop"),
            "sgd or rmsprop",
            "optimizer",
            self.optimizer,
        )
        _require(
            self.schedule in ("cosine", "exponential", "constant"),
            "cosine, exponential or constant",
            "schedule",
            self.schedule,
        )
        _require(
            self.learning_rate is None or self.learning_rate > 0,
            "above 0 or not given",
            "learning_rate",
            self.learning_rate,
        )
        for field in ("momentum", "rho", "ema_decay"):
            value = getattr(self, field)
            _require(0 <= value < 1, "in [0, 1)", field, value)
        for field in ("epsilon", "decay_epochs"):
            value = getattr(self, field)
            _require(value > 0, "above 0", field, value)
        for field in ("warmup_epochs", "weight_decay", "gradient_clip_norm"):
            value = getattr(self, field)
            _require(value >= 0, "0 or more", field, value)
        _require(0 < self.decay_rate <= 1, "in (0, 1]", "decay_rate", self.decay_rate)
        _require(
            not self.nesterov or self.optimizer == "sgd",
            "off unless optimizer is sgd",
            "nesterov",
            self.nesterov,
        )


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """The length of a training run and its regularisation."""

    epochs: int = _option(30, "Passes over the training images.")
    label_smoothing: float = _option(
        0.1, "Share of each label spread evenly over all classes."
    )
    dropout_rate: float = _option(
        0.1, "Share of features dropped before the last layer."
    )
    batch_norm_momentum: float = _option(
        0.97,
        "Share of its running statistics that batch normalization keeps each step. "
        "0.97 suits runs of a few thousand steps; papers with 100 times more use 0.99 "
        "to 0.999.",
    )
    checkpoint_every_epochs: int = _option(1, "Epochs between two checkpoints.")
    seed: int = _option(0, "Seed of the initial weights and of dropout.")

    def __post_init__(self) -> None:
        """Checks every field."""
        for field in ("epochs", "checkpoint_every_epochs"):
            value = getattr(self, field)
            _require(value >= 1, "at least 1", field, value)
        for field in ("label_smoothing", "dropout_rate", "batch_norm_momentum"):
            value = getattr(self, field)
            _require(0 <= value < 1, "in [0, 1)", field, value)
        _require(self.seed >= 0, "0 or more", "seed", self.seed)
