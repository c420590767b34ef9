"""A `.tflite` detector of any kind: images to raw heads, or to finished detections."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Literal

import numpy as np

from export.float_tail import DETECTION_OUTPUTS
from export.interpreter import (
    load_interpreter,
    output_names,
    predict_outputs,
    source_name,
)

# logits and scores: of all anchors, with encoded boxes. detections: after suppression.
DetectorKind = Literal["logits", "scores", "detections"]

_OUTPUTS: dict[DetectorKind, tuple[str, ...]] = {
    "logits": ("box_encodings", "class_logits"),
    "scores": ("box_encodings", "class_scores"),
    "detections": DETECTION_OUTPUTS,
}
Outputs = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class DetectorFile:
    """A detector, called with images `[B, S, S, 3]` in [-1, 1].

    What comes back depends on its kind. Detections are those of
    `detection.postprocess.select_detections`, found with the thresholds that the file
    was made with: `boxes_normalized` `[B, M, 4]`, `scores` `[B, M]`, `classes` `[B, M]`
    int32 and `num_detections` `[B]` int32, beyond which boxes and scores are 0 and
    classes -1. The others are `box_encodings` `[B, A, 4]` with the head's
    `class_logits`, or with `class_scores` `[B, A, K]` in [0, 1].
    """

    name: str
    kind: DetectorKind
    predict: Callable[[np.ndarray], Outputs]

    def __call__(self, images: np.ndarray) -> Outputs:
        """Returns the outputs of a batch."""
        return self.predict(images)


def open_detector_file(
    source: str | os.PathLike[str] | bytes, *, num_threads: int = 1
) -> DetectorFile:
    """Opens a `.tflite` detector, given by path or already read.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged or has not a detector's outputs.
    """
    interpreter = load_interpreter(source, num_threads=num_threads)
    name = source_name(source)
    found = output_names(interpreter)
    kinds: list[DetectorKind] = [
        kind for kind, names in _OUTPUTS.items() if set(names) == set(found)
    ]
    if not kinds:
        raise ValueError(
            f"{name} must be a detector, with the outputs "
            f"{'; or '.join(', '.join(names) for names in _OUTPUTS.values())}. "
            f"Received: {', '.join(found)}"
        )

    def predict(images: np.ndarray) -> Outputs:
        outputs = predict_outputs(interpreter, np.asarray(images), name=name)
        return _read_detections(outputs) if kinds == ["detections"] else outputs

    return DetectorFile(name, kinds[0], predict)


def _read_detections(outputs: Outputs) -> Outputs:
    """Returns the operator's outputs with the places beyond their number blanked."""
    count = outputs["num_detections"].astype(np.int32)
    scores = outputs["detection_scores"]
    is_detection = np.arange(scores.shape[1]) < count[:, None]
    classes = outputs["detection_classes"]
    return {
        "boxes_normalized": np.where(
            is_detection[..., None], outputs["detection_boxes"], np.float32(0)
        ),
        "scores": np.where(is_detection, scores, np.float32(0)),
        "classes": np.where(is_detection, classes, -1).astype(np.int32),
        "num_detections": count,
    }
