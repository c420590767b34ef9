"""Defaults, help texts and checks of the training options."""

import dataclasses

import pytest

from mobilenas_tf.json_io import from_plain, to_plain
from mobilenas_tf.training.config import (
    AugmentationConfig,
    DataConfig,
    OptimizerConfig,
    TrainingConfig,
)

CONFIGS = (DataConfig, AugmentationConfig, OptimizerConfig, TrainingConfig)


@pytest.mark.parametrize("config", CONFIGS)
def test_every_option_has_a_default_and_a_help_text(config):
    config()
    for field in dataclasses.fields(config):
        assert field.metadata["help"]


@pytest.mark.parametrize(
    ("config", "options", "words"),
    [
        (DataConfig, {"dataset": "digit"}, "digits, tfds:NAME or folder:DIR"),
        (DataConfig, {"dataset": "tfds:"}, "must be digits.*dataset='tfds:'"),
        (DataConfig, {"dataset": "coco:photos"}, "must be digits, tfds:NAME"),
        (DataConfig, {"image_size_px": 0}, "image_size_px must be at least 1"),
        (DataConfig, {"batch_size": 0}, "batch_size must be at least 1"),
        (DataConfig, {"max_train_images": 0}, "max_train_images must be at least 1"),
        (DataConfig, {"validation_fraction": 0.0}, r"must be in \(0, 0.5\]"),
        (DataConfig, {"central_crop_fraction": 1.1}, "central_crop_fraction must be"),
        (DataConfig, {"class_weights": "auto"}, "class_weights must be one of none"),
        (DataConfig, {"max_corrupt_images": -1}, "max_corrupt_images must be 0 or"),
        (DataConfig, {"seed": -1}, "seed must be 0 or more"),
        (AugmentationConfig, {"crop": "center"}, "crop must be one of auto, none"),
        (AugmentationConfig, {"crop_padding_px": -1}, "crop_padding_px must be 0"),
        (AugmentationConfig, {"min_crop_area": 0.0}, "min_crop_area must be in"),
        (AugmentationConfig, {"horizontal_flip": "yes"}, "horizontal_flip must be"),
        (AugmentationConfig, {"rand_augment_magnitude": 9.0}, r"must be in \[0, 1\]"),
        (AugmentationConfig, {"mixup_alpha": -0.2}, "mixup_alpha must be 0 or more"),
        (
            OptimizerConfig,
            {"optimizer": "adam"},
            "optimizer must be one of sgd, rmsprop, adamw",
        ),
        (OptimizerConfig, {"schedule": "linear"}, "schedule must be one of cosine"),
        (OptimizerConfig, {"learning_rate": 0.0}, "learning_rate must be above 0"),
        (OptimizerConfig, {"momentum": 1.0}, r"momentum must be in \[0, 1\)"),
        (OptimizerConfig, {"epsilon": 0.0}, "epsilon must be above 0"),
        (OptimizerConfig, {"warmup_epochs": -1.0}, "warmup_epochs must be 0 or more"),
        (OptimizerConfig, {"decay_rate": 1.5}, r"decay_rate must be in \(0, 1\]"),
        (
            OptimizerConfig,
            {"optimizer": "rmsprop", "nesterov": True},
            "nesterov must be off unless optimizer is sgd",
        ),
        (TrainingConfig, {"epochs": 0}, "epochs must be at least 1"),
        (TrainingConfig, {"dropout_rate": 1.0}, r"dropout_rate must be in \[0, 1\)"),
        (TrainingConfig, {"seed": -1}, "seed must be 0 or more"),
        (
            TrainingConfig,
            {"checkpoint_minutes": -1.0},
            "checkpoint_minutes must be 0 or more",
        ),
    ],
)
def test_a_bad_option_is_named(config, options, words):
    with pytest.raises(ValueError, match=words):
        config(**options)


def test_the_config_of_an_older_run_may_lack_what_was_added_later():
    older = to_plain(TrainingConfig(epochs=3))
    del older["checkpoint_minutes"]
    assert from_plain(TrainingConfig, older, "config.json") == TrainingConfig(epochs=3)
    del older["seed"]
    with pytest.raises(ValueError, match="config.json must have the key 'seed'"):
        from_plain(TrainingConfig, older, "config.json")
