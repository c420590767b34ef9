"""Detection heads for any architecture: SSDLite, and a light feature pyramid."""

from __future__ import annotations

import dataclasses

import numpy as np

from detection.anchors import (
    Shapes,
    build_anchors,
    multiscale_anchor_shapes,
    ssd_anchor_shapes,
    torchvision_anchor_shapes,
)
from detection.config import HeadConfig
from mobilenas_tf.costs.network import layer_costs
from mobilenas_tf.detection_spec import (
    Anchors,
    AnchorShape,
    DetectionHead,
    ExtraLayer,
    FpnLiteHead,
    SsdLiteHead,
)
from mobilenas_tf.spec import (
    Architecture,
    Head,
    feature_channels,
    round_channels,
    with_head,
)

# Sandler et al., MobileNetV2, and the TF Object Detection API's SSDLite configurations.
EXTRA_CHANNELS = (512, 256, 256, 128)
# Output of MobileNetV3-Large's last block (Howard et al., arXiv:1905.02244, table 1).
_FULL_FEATURES = 160
_SPREAD_ANCHORS = {
    "object_detection_api": ssd_anchor_shapes,
    "torchvision": torchvision_anchor_shapes,
}
_SMALLEST_EXTRA = 16  # `min_depth` of the same configurations


def with_detection_head(
    backbone: Architecture,
    config: HeadConfig,
    *,
    num_classes: int,
    image_size_px: int | None = None,
) -> Architecture:
    """Returns a detector with the backbone's layers and its last 1x1 convolution.

    The four extra layers of SSDLite have 512, 256, 256 and 128 channels, times the
    share that the backbone's last block has of MobileNetV3-Large's 160 where that is
    below 1. Differs: the TF Object Detection API takes the backbone's width multiplier,
    which a searched network does not have.

    Args:
        backbone: A classifier, or a detector whose head is to be replaced.
        config: What head.
        num_classes: K, without the background.
        image_size_px: Input size; None keeps the backbone's.

    Raises:
        ValueError: If the backbone lacks the feature maps that the head needs.
    """
    backbone = with_head(backbone, image_size_px=image_size_px)
    head: DetectionHead
    if config.head == "fpnlite":
        head = FpnLiteHead(
            num_classes=num_classes,
            anchors=anchor_shapes(config, num_levels=5),
            channels=config.pyramid_channels,
            tower_depth=config.tower_depth,
            score_activation=config.score_activation,
        )
    else:
        share = min(1.0, feature_channels(backbone) / _FULL_FEATURES)
        extras = [
            max(_SMALLEST_EXTRA, round_channels(channels * share))
            for channels in EXTRA_CHANNELS
        ]
        head = SsdLiteHead(
            num_classes=num_classes,
            anchors=anchor_shapes(config, num_levels=2 + len(extras)),
            extras=tuple(ExtraLayer(channels // 2, channels) for channels in extras),
            score_activation=config.score_activation,
            **_last_convolution(backbone.head),
        )
    return dataclasses.replace(backbone, head=head)


def fit_detector(
    architecture: Architecture,
    config: HeadConfig,
    *,
    num_classes: int,
    image_size_px: int | None,
) -> Architecture:
    """Returns the architecture as a detector for a data set.

    A detector, such as a search has found, keeps its head; a classifier gets one.

    Args:
        architecture: Any architecture.
        config: What head a classifier gets.
        num_classes: Classes of the data set.
        image_size_px: Input size; None keeps the architecture's.

    Raises:
        ValueError: If a detector has another number of classes, or a classifier lacks
            the feature maps that the head needs.
    """
    if isinstance(architecture.head, Head):
        return with_detection_head(
            architecture, config, num_classes=num_classes, image_size_px=image_size_px
        )
    check_classes(architecture, num_classes)
    return with_head(architecture, image_size_px=image_size_px)


def anchor_shapes(config: HeadConfig, *, num_levels: int) -> Anchors:
    """Returns the anchors' shapes by level, finest first."""
    levels: Shapes
    table, min_scale, max_scale = config.anchor_table
    if table == "multiscale":
        levels = multiscale_anchor_shapes(num_levels, min_scale)
    else:
        levels = _SPREAD_ANCHORS[table](num_levels, min_scale, max_scale)
    return tuple(tuple(AnchorShape(*shape) for shape in level) for level in levels)


def detector_anchors(detector: Architecture) -> np.ndarray:
    """Returns a detector's anchors `[A, 4]`, float32 normalised corners.

    They depend on image size, strides and head, not on channels: a supernet and all
    networks in it have the same.

    Raises:
        ValueError: If the architecture is a classifier.
    """
    head = detector_head(detector)
    grids = [
        (layer.out_size_px, layer.out_size_px)
        for layer in layer_costs(detector)
        if layer.path.startswith("head/level")
    ]
    return build_anchors(head.anchors, grids)


def detector_head(detector: Architecture) -> DetectionHead:
    """Returns the detection head of an architecture.

    Raises:
        ValueError: If the architecture is a classifier.
    """
    if isinstance(detector.head, Head):
        raise ValueError(
            "architecture must be a detector, as train_detector and "
            f"search_detector make them. Received: the classifier {detector.name}"
        )
    return detector.head


def check_classes(detector: Architecture, num_classes: int) -> None:
    """Raises a ValueError unless a detector finds as many classes as the data have."""
    if detector_head(detector).num_classes != num_classes:
        raise ValueError(
            f"num_classes of {detector.name} must be the data set's {num_classes}. "
            f"Received: num_classes={detector.head.num_classes}"
        )


def _last_convolution(head: Head | DetectionHead) -> dict:
    """Returns the fields of the 1x1 convolution behind the last block, if any."""
    if isinstance(head, Head):
        return {
            "conv_channels": head.conv_channels,
            "conv_activation": head.activation,
        }
    if isinstance(head, SsdLiteHead):
        return {
            "conv_channels": head.conv_channels,
            "conv_activation": head.conv_activation,
        }
    return {}
