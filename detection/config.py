"""Options of detection. Imports no TensorFlow; defaults and help texts live here."""

from __future__ import annotations

import dataclasses
from typing import Literal

from mobilenas_tf.detection_spec import ScoreActivation
from mobilenas_tf.options import option, require, require_literals
from mobilenas_tf.training.config import check_reading

AnchorTable = Literal["auto", "object_detection_api", "torchvision", "multiscale"]


@dataclasses.dataclass(frozen=True)
class HeadConfig:
    """What turns a backbone into a detector."""

    head: Literal["ssdlite", "fpnlite"] = option(
        "ssdlite",
        "ssdlite: from stride 16 on; fpnlite: a light feature pyramid from stride 8 "
        "on, better for small objects and dearer.",
    )
    anchors: AnchorTable = option(
        "auto",
        "Table of the anchors' shapes: SSD's evenly spread scales, 3 a cell on the "
        "finest level and 6 elsewhere, or 6 everywhere; or RetinaNet's, 6 a cell, with "
        "scales that double from level to level. auto: the first for ssdlite, the "
        "last for fpnlite, whose levels must have as many.",
    )
    min_scale: float | None = option(
        None,
        "Scale of the finest level's anchors, as a share of the image's side. By "
        "default 0.2, and 0.1 for the multiscale ones of fpnlite.",
    )
    max_scale: float = option(
        0.95, "Scale of the coarsest level's anchors (not of multiscale)."
    )
    score_activation: ScoreActivation = option(
        "sigmoid",
        "sigmoid: a score for each class by itself; softmax: with one more class for "
        "the background (class_loss=hard_negative_mining only).",
    )
    pyramid_channels: int = option(96, "fpnlite: channels of every level.")
    tower_depth: int = option(
        1,
        "fpnlite: depthwise-separable convolutions before the predictors of scores and "
        "of boxes, the same for all levels.",
    )

    def __post_init__(self) -> None:
        """Checks every field."""
        require_literals(self)
        table, min_scale, max_scale = self.anchor_table
        require(min_scale > 0, "above 0", "min_scale", min_scale)
        if table != "multiscale":
            require(
                min_scale < max_scale,
                f"below max_scale, {max_scale}",
                "min_scale",
                min_scale,
            )
        require(
            self.head == "ssdlite" or self.anchors != "object_detection_api",
            "auto, torchvision or multiscale for head=fpnlite, whose levels have as "
            "many shapes each",
            "anchors",
            self.anchors,
        )
        require(self.tower_depth >= 0, "0 or more", "tower_depth", self.tower_depth)
        require(0 < max_scale < 1, "in (0, 1)", "max_scale", max_scale)
        require(
            self.pyramid_channels >= 1,
            "at least 1",
            "pyramid_channels",
            self.pyramid_channels,
        )

    @property
    def anchor_table(self) -> tuple[AnchorTable, float, float]:
        """The table that `anchors` stands for, and its smallest and largest scale."""
        is_pyramid, table = self.head == "fpnlite", self.anchors
        if table == "auto":
            table = "multiscale" if is_pyramid else "object_detection_api"
        default = 0.1 if is_pyramid and table == "multiscale" else 0.2
        min_scale = default if self.min_scale is None else self.min_scale
        return table, min_scale, self.max_scale


@dataclasses.dataclass(frozen=True)
class DetectionLossConfig:
    """Which anchors answer for which boxes, and what a wrong prediction costs."""

    class_loss: Literal["focal", "hard_negative_mining"] = option(
        "focal",
        "Loss of the classes: focal loss over all anchors, or cross-entropy of the "
        "objects and of the background anchors with the highest loss.",
    )
    focal_alpha: float = option(
        0.75, "focal: weight of the anchor's class; the other classes have the rest."
    )
    focal_gamma: float = option(
        2.0, "focal: how fast the loss of a prediction falls that is nearly right."
    )
    negatives_per_positive: int = option(
        3, "hard_negative_mining: background anchors for each one with an object."
    )
    box_loss_weight: float = option(
        1.0,
        "Weight of the box loss, the sum over four coordinates. The TensorFlow Object "
        "Detection API's SSDLite takes their mean, which is 0.25 here.",
    )
    positive_iou: float = option(
        0.5, "An anchor with this IoU or more with a box answers for it."
    )
    negative_iou: float = option(
        0.5,
        "An anchor with less IoU than this with every box is background. Between the "
        "two it counts for nothing.",
    )

    def __post_init__(self) -> None:
        """Checks every field."""
        require_literals(self)
        for field in ("focal_alpha", "positive_iou"):
            value = getattr(self, field)
            require(0 < value <= 1, "in (0, 1]", field, value)
        for field in ("focal_gamma", "box_loss_weight"):
            value = getattr(self, field)
            require(value >= 0, "0 or more", field, value)
        require(
            self.negatives_per_positive >= 1,
            "at least 1",
            "negatives_per_positive",
            self.negatives_per_positive,
        )
        require(
            0 <= self.negative_iou <= self.positive_iou,
            f"from 0 to positive_iou, {self.positive_iou}",
            "negative_iou",
            self.negative_iou,
        )


def check_loss(loss: DetectionLossConfig, score_activation: ScoreActivation) -> None:
    """Raises a ValueError if a head's scores are not for the loss."""
    require(
        loss.class_loss != "focal" or score_activation == "sigmoid",
        "sigmoid for class_loss=focal (hard_negative_mining takes softmax too)",
        "score_activation",
        score_activation,
    )


@dataclasses.dataclass(frozen=True)
class PostprocessConfig:
    """Which of a network's predictions are detections."""

    score_threshold: float = option(
        0.001, "Predictions with this score or less are no detections."
    )
    nms_iou_threshold: float = option(
        0.6, "Of two detections of a class whose IoU is above this, the better stands."
    )
    max_detections: int = option(100, "Detections of an image at most.")

    def __post_init__(self) -> None:
        """Checks every field."""
        require(
            0 <= self.score_threshold < 1,
            "in [0, 1)",
            "score_threshold",
            self.score_threshold,
        )
        require(
            0 < self.nms_iou_threshold <= 1,
            "in (0, 1]",
            "nms_iou_threshold",
            self.nms_iou_threshold,
        )
        require(
            self.max_detections >= 1,
            "at least 1",
            "max_detections",
            self.max_detections,
        )


@dataclasses.dataclass(frozen=True)
class DetectionDataConfig:
    """Which annotated images to train a detector on, and how they are split."""

    dataset: str = option(
        "digit_scenes",
        "Data set: digit_scenes (embedded), coco:DIR (annotations/instances_train*.json"
        ", instances_val*.json and the folders of their photos) or tfds:NAME (prepared "
        "TensorFlow data set, such as coco/2017 or voc/2007).",
    )
    data_dir: str | None = option(
        None, "Folder of prepared TensorFlow data sets; by default TFDS's own."
    )
    image_size_px: int = option(
        160, "Height and width that images are stretched to, in pixels."
    )
    batch_size: int = option(32, "Images in a training step.")
    max_train_images: int | None = option(
        None, "Train on a random subset of this many images."
    )
    validation_fraction: float = option(
        0.05, "Share set aside for validation where the data set has no such split."
    )
    max_boxes: int = option(
        100, "Boxes of an image at most; of more, training sees the largest."
    )
    max_bad_annotations: int = option(
        100,
        "Annotations that may be off before it is an error: photos that are missing "
        "(left out), boxes that stick out of the photo (clipped), that have no area or "
        "are no numbers (left out).",
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
        prefix, _, name = self.dataset.partition(":")
        if self.dataset != "digit_scenes" and not (prefix in ("coco", "tfds") and name):
            raise ValueError(
                "dataset must be digit_scenes, coco:DIR or tfds:NAME. "
                f"Received: dataset={self.dataset!r}"
            )
        check_reading(self)
        require(self.max_boxes >= 1, "at least 1", "max_boxes", self.max_boxes)
        require(
            self.max_bad_annotations >= 0,
            "0 or more",
            "max_bad_annotations",
            self.max_bad_annotations,
        )


@dataclasses.dataclass(frozen=True)
class SceneAugmentationConfig:
    """How training images are varied, and their boxes with them."""

    random_crop: bool = option(
        True, "Zoom into a random part that holds the centre of an object."
    )
    min_crop_area: float = option(
        0.1, "random_crop: smallest share of the image that is kept."
    )
    zoom_out_probability: float = option(
        0.0,
        "Share of images put on a larger grey canvas, which makes small objects; "
        "SSD takes 0.5 and trains twice as long.",
    )
    max_zoom_out: float = option(
        4.0, "Longest side of that canvas over the image's side."
    )
    horizontal_flip: Literal["auto", "on", "off"] = option(
        "auto", "Mirror half of the images; auto: not for digit_scenes."
    )
    color_jitter: float = option(
        0.5,
        "Strength of random brightness, contrast, saturation and hue in [0, 1]; 1 has "
        "SSD's ranges, 0 is off.",
    )
    mosaic_probability: float = option(
        0.0, "Share of images replaced by a mosaic of four images of the batch."
    )

    def __post_init__(self) -> None:
        """Checks every field."""
        require_literals(self)
        require(
            0 < self.min_crop_area <= 1,
            "in (0, 1]",
            "min_crop_area",
            self.min_crop_area,
        )
        require(self.max_zoom_out >= 1, "at least 1", "max_zoom_out", self.max_zoom_out)
        for field in ("zoom_out_probability", "color_jitter", "mosaic_probability"):
            value = getattr(self, field)
            require(0 <= value <= 1, "in [0, 1]", field, value)


# What suits digit_scenes, whose digits have every size from 10 to 80 px and any colour.
DIGIT_SCENE_AUGMENTATION = SceneAugmentationConfig(
    min_crop_area=0.3, zoom_out_probability=0.3, max_zoom_out=2.0, color_jitter=1.0
)
# Digits are quickly found and slowly told apart: the boxes must not outweigh the
# classes, and less is held back of what is nearly right.
DIGIT_SCENE_LOSS = DetectionLossConfig(focal_gamma=1.0, box_loss_weight=0.5)
