"""Defaults, help texts and checks of the options of detection."""

import dataclasses

import pytest

from detection.config import (
    DetectionDataConfig,
    DetectionLossConfig,
    PostprocessConfig,
    SceneAugmentationConfig,
)

CONFIGS = (
    DetectionDataConfig,
    DetectionLossConfig,
    PostprocessConfig,
    SceneAugmentationConfig,
)


@pytest.mark.parametrize("config", CONFIGS)
def test_every_option_has_a_default_and_a_help_text(config):
    config()
    for field in dataclasses.fields(config):
        assert field.metadata["help"]


@pytest.mark.parametrize(
    ("config", "options", "words"),
    [
        (DetectionLossConfig, {"class_loss": "hinge"}, "class_loss must be one of foc"),
        (DetectionLossConfig, {"focal_alpha": 1.1}, "focal_alpha must be in"),
        (DetectionLossConfig, {"focal_gamma": -1.0}, "focal_gamma must be 0 or more"),
        (DetectionLossConfig, {"box_loss_weight": -1.0}, "box_loss_weight must be 0"),
        (
            DetectionLossConfig,
            {"negatives_per_positive": 0},
            "negatives_per_positive must be at least 1",
        ),
        (DetectionLossConfig, {"positive_iou": 0.0}, "positive_iou must be in"),
        (
            DetectionLossConfig,
            {"positive_iou": 0.4},
            "negative_iou must be from 0 to positive_iou, 0.4",
        ),
        (PostprocessConfig, {"score_threshold": 1.0}, "score_threshold must be in"),
        (PostprocessConfig, {"nms_iou_threshold": 0.0}, "nms_iou_threshold must be"),
        (PostprocessConfig, {"max_detections": 0}, "max_detections must be at least 1"),
        (DetectionDataConfig, {"dataset": "digits"}, "digit_scenes, coco:DIR or tfds:"),
        (DetectionDataConfig, {"dataset": "coco:"}, "coco:DIR.*dataset='coco:'"),
        (DetectionDataConfig, {"dataset": "folder:photos"}, "must be digit_scenes"),
        (DetectionDataConfig, {"image_size_px": 0}, "image_size_px must be at least 1"),
        (DetectionDataConfig, {"batch_size": 0}, "batch_size must be at least 1"),
        (DetectionDataConfig, {"max_boxes": 0}, "max_boxes must be at least 1"),
        (DetectionDataConfig, {"max_train_images": 0}, "max_train_images must be at"),
        (DetectionDataConfig, {"validation_fraction": 0.6}, r"must be in \(0, 0.5\]"),
        (DetectionDataConfig, {"max_bad_annotations": -1}, "max_bad_annotations must"),
        (DetectionDataConfig, {"max_corrupt_images": -1}, "max_corrupt_images must be"),
        (DetectionDataConfig, {"in_memory_limit_mib": -1}, "in_memory_limit_mib must"),
        (DetectionDataConfig, {"seed": -1}, "seed must be 0 or more"),
        (SceneAugmentationConfig, {"min_crop_area": 0.0}, "min_crop_area must be in"),
        (SceneAugmentationConfig, {"max_zoom_out": 0.9}, "max_zoom_out must be at"),
        (
            SceneAugmentationConfig,
            {"zoom_out_probability": 1.5},
            "zoom_out_probability must be in",
        ),
        (
            SceneAugmentationConfig,
            {"horizontal_flip": "yes"},
            "horizontal_flip must be one of auto, on, off",
        ),
        (SceneAugmentationConfig, {"color_jitter": 2.0}, "color_jitter must be in"),
        (
            SceneAugmentationConfig,
            {"mosaic_probability": -0.1},
            "mosaic_probability must be in",
        ),
    ],
)
def test_bad_options_are_refused(config, options, words):
    with pytest.raises(ValueError, match=words):
        config(**options)
