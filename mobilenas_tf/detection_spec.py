"""Heads that turn an architecture into a detector, as values.

A detector is an `Architecture` with one of these heads in place of the classifier's.
Which of the backbone's feature maps a head works on is said by `spec.head_taps`; how
anchors are laid out over an image is left to `detection.anchors`.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from mobilenas_tf.spec_fields import Activation, check_member, check_positive

# sigmoid: one score a class, each for itself. softmax: one more, first, for no object.
ScoreActivation = Literal["sigmoid", "softmax"]


@dataclasses.dataclass(frozen=True)
class AnchorShape:
    """One anchor box of a cell.

    `height = scale / sqrt(aspect_ratio)` and `width = scale * sqrt(aspect_ratio)`, in
    shares of the image's side (Liu et al., SSD, arXiv:1512.02325, section 2.2).
    """

    scale: float
    aspect_ratio: float = 1.0

    def __post_init__(self) -> None:
        if not (self.scale > 0 and self.aspect_ratio > 0):
            raise ValueError(
                "scale and aspect_ratio of AnchorShape must be above 0. Received: "
                f"scale={self.scale}, aspect_ratio={self.aspect_ratio}"
            )


Anchors = tuple[tuple[AnchorShape, ...], ...]


@dataclasses.dataclass(frozen=True)
class ExtraLayer:
    """1x1 convolution, 3x3 depthwise convolution of stride 2, 1x1 convolution.

    Each is followed by batch norm and the head's activation.
    """

    squeezed_channels: int
    out_channels: int

    def __post_init__(self) -> None:
        check_positive(
            self,
            squeezed_channels=self.squeezed_channels,
            out_channels=self.out_channels,
        )


@dataclasses.dataclass(frozen=True)
class SsdLiteHead:
    """SSDLite: class scores and boxes on feature maps of falling resolution.

    The first level is the expansion, at stride 16, of the block that goes on to stride
    32 (the last output at stride 16 where that block has no expansion), the second the
    last output, behind a 1x1 convolution if `conv_channels` is given, the others come
    out of `extras`. On every level two predictors, one for scores and one for boxes:
    3x3 depthwise convolution, batch norm, activation, 1x1 convolution.

    Source: Sandler et al., MobileNetV2, arXiv:1801.04381, section 6.2; Howard et al.,
    Searching for MobileNetV3, arXiv:1905.02244, section 6.3.
    """

    num_classes: int
    anchors: Anchors
    extras: tuple[ExtraLayer, ...]
    conv_channels: int | None = None
    conv_activation: Activation = "relu6"
    activation: Activation = "relu6"
    score_activation: ScoreActivation = "sigmoid"

    def __post_init__(self) -> None:
        _check_detection_head(self)
        if self.conv_channels is not None:
            check_positive(self, conv_channels=self.conv_channels)
        check_member(self, "conv_activation", Activation)
        if len(self.anchors) != 2 + len(self.extras):
            raise ValueError(
                "anchors of SsdLiteHead must be two levels and one for each extra "
                f"layer. Received: {len(self.anchors)} levels, {len(self.extras)} "
                "extra layers"
            )

    @property
    def num_logits(self) -> int:
        """Scores of an anchor."""
        return _num_logits(self)


@dataclasses.dataclass(frozen=True)
class FpnLiteHead:
    """A light feature pyramid: the last outputs at strides 8, 16 and 32, joined.

    1x1 convolutions bring the three maps to `channels`; from coarse to fine each is
    doubled in size and added to the next, then smoothed (3x3 depthwise, 1x1); further
    levels come out of the coarsest by depthwise-separable convolutions of stride 2.
    Two towers, for scores and for boxes, of `tower_depth` depthwise-separable
    convolutions and a predictor like SSDLite's serve all levels with the same
    convolutions, and each level with batch norms of its own. (An exported file holds a
    copy of those convolutions for each level, as batch norm is folded into them.)

    Source: Lin et al., Feature Pyramid Networks, arXiv:1612.03144, section 3; towers of
    Lin et al., Focal loss, arXiv:1708.02002, section 4, with the batch norms of the
    TensorFlow Object Detection API's `WeightSharedConvolutionalBoxPredictor`. Differs:
    depthwise-separable convolutions, and shorter towers than the four layers there.
    """

    num_classes: int
    anchors: Anchors
    channels: int = 96
    tower_depth: int = 1
    activation: Activation = "relu6"
    score_activation: ScoreActivation = "sigmoid"

    def __post_init__(self) -> None:
        _check_detection_head(self)
        check_positive(self, channels=self.channels)
        if self.tower_depth < 0:
            raise ValueError(
                "tower_depth of FpnLiteHead must be 0 or more. "
                f"Received: tower_depth={self.tower_depth}"
            )
        if len({len(level) for level in self.anchors}) > 1:
            raise ValueError(
                "anchors of FpnLiteHead must have the same number of shapes on every "
                "level, as the levels share their predictors. Received: "
                f"{[len(level) for level in self.anchors]} shapes by level"
            )
        if len(self.anchors) < 3:
            raise ValueError(
                "anchors of FpnLiteHead must be at least three levels. "
                f"Received: {len(self.anchors)} levels"
            )

    @property
    def num_logits(self) -> int:
        """Scores of an anchor."""
        return _num_logits(self)


DetectionHead = SsdLiteHead | FpnLiteHead


def _num_logits(head: DetectionHead) -> int:
    return head.num_classes + int(head.score_activation == "softmax")


def _check_detection_head(head: DetectionHead) -> None:
    check_positive(head, num_classes=head.num_classes)
    check_member(head, "activation", Activation)
    check_member(head, "score_activation", ScoreActivation)
    if not all(head.anchors):
        raise ValueError(
            f"anchors of {type(head).__name__} must have a shape on every level. "
            f"Received: {[len(level) for level in head.anchors]} shapes by level"
        )
