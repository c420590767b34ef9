"""The content of a detector's `.tflite` file, of any kind that apps load."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from export.bundle_facts import FileKind
from export.config import ExportConfig
from export.conversion import FineTuned, Tail, convert_network
from export.float_tail import (
    CENTER_SCALE,
    SIZE_SCALE,
    append_class_scores,
    append_postprocess,
)
from export.metadata import BoxDecoding, write_detector_metadata
from mobilenas_tf.detection_spec import ScoreActivation

# What is left to do with the scores of a raw file, by its `score_activation`.
_SCORES = {
    "none": "class_scores as they are",
    "sigmoid": "1 / (1 + exp(-x)) of each of class_logits",
    "softmax": "the softmax of an anchor's class_logits, of which the first, the "
    "background's, is then left out",
}


@dataclasses.dataclass(frozen=True, eq=False)
class BoxPostprocess:
    """How a detector's outputs become detections.

    Attributes:
        anchors: `[A, 4]`, normalised `[y_center, x_center, height, width]`.
        score_activation: Of the head.
        score_threshold: Lower scores are no detections.
        nms_iou_threshold: A box falls if its IoU with a better one is above this.
        max_detections: Of an image.
    """

    anchors: np.ndarray
    score_activation: ScoreActivation
    score_threshold: float
    nms_iou_threshold: float
    max_detections: int

    def to_json(self, config: ExportConfig) -> dict[str, Any]:
        """Returns what an app needs that decodes raw heads itself.

        Its `score_activation` is what is left to do: none where the file has done it.

        Args:
            config: How the file was converted.
        """
        values = dataclasses.asdict(self)
        if _has_class_scores(config, self):
            values["score_activation"] = "none"
        return {
            "score": _SCORES[values["score_activation"]],
            "box": "of an encoding [ty, tx, th, tw] and its anchor: y = ty / "
            "center_scale * height + y_center, h = exp(th / size_scale) * height, and "
            "so x and w; y and x are of the centre",
            "center_scale": CENTER_SCALE,
            "size_scale": SIZE_SCALE,
            **values,
            "anchors": np.round(self.anchors.astype(float), 7).tolist(),
        }


def detector_kind(config: ExportConfig) -> FileKind:
    """Returns what the file of a detector ends in."""
    return "detector" if config.postprocess else "raw_detector"


def convert_detector(
    network: keras.Model,
    config: ExportConfig,
    calibration_images: Callable[[int], np.ndarray],
    boxes: BoxPostprocess,
    *,
    class_names: Sequence[str],
    fine_tuned: FineTuned | None = None,
) -> bytes:
    """Returns the content of the file, with the metadata that MediaPipe reads.

    Its outputs are float32 and one of these: finished detections (`postprocess`);
    `box_encodings` with `class_logits` of a sigmoid head; `box_encodings` with
    `class_scores` of a softmax head, as MediaPipe knows no softmax. With an int8 input,
    which MediaPipe refuses, they are the network's own, in int8, without metadata.

    Args:
        network: A detector, of stock layers.
        config: How to convert.
        calibration_images: `count -> [count, S, S, 3]` images in [-1, 1].
        boxes: How its outputs become detections.
        class_names: Of the K classes, in the order of the scores.
        fine_tuned: Makes the file of `int8_qat`.
    """
    images = (
        calibration_images(config.calibration_images)
        if config.quantization == "int8"
        else None
    )
    has_metadata = config.tensor_type != "int8"
    content = convert_network(
        network,
        config,
        images,
        tail=_tail(config, boxes) if has_metadata else None,
        fine_tuned=fine_tuned,
    )
    if not has_metadata:
        return content
    return write_detector_metadata(
        content,
        class_names=class_names,
        name=network.name,
        description=f"Finds objects of {len(class_names)} classes in images.",
        decoding=None if config.postprocess else BoxDecoding(boxes.anchors),
    )


def _tail(config: ExportConfig, boxes: BoxPostprocess) -> Tail:
    if config.postprocess:
        return lambda content: append_postprocess(
            content,
            **{f.name: getattr(boxes, f.name) for f in dataclasses.fields(boxes)},
        )
    if _has_class_scores(config, boxes):
        return append_class_scores
    return lambda content: content


def _has_class_scores(config: ExportConfig, boxes: BoxPostprocess) -> bool:
    """Returns whether a raw file gives scores ready to be used, in place of logits."""
    return boxes.score_activation == "softmax" and config.tensor_type != "int8"
