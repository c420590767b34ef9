"""What an app must know of a `.tflite` file, inside the file: for MediaPipe Tasks.

Name and description, the range of the input, labels, and for raw detection heads how
boxes are decoded. The entries are made by MediaPipe's own writers.
"""

from __future__ import annotations

import dataclasses
import io
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer import (
    Model,
    output_indices,
    read_model,
    tensor_shape,
    write_model,
)
from export.float_tail import (
    CENTER_SCALE,
    DETECTION_OUTPUTS,
    SIZE_SCALE,
    check_anchors,
    count_detected_classes,
)
from export.mediapipe_modules import import_mediapipe
from mobilenas_tf.options import require

# Networks take (pixel - 127.5) / 127.5. MediaPipe computes that for a float32 input and
# hands raw pixels to a uint8 input; Android's code generator applies it and then the
# input's scale of 1 / 127.5, which gives the pixel back.
_MEAN = _STDDEV = 127.5

_METADATA = "TFLITE_METADATA"  # where readers look for it among a model's metadata
_LABELS = "labels.txt"


@dataclasses.dataclass(frozen=True, eq=False)
class BoxDecoding:
    """How raw heads become boxes.

    Attributes:
        anchors: `[A, 4]`, normalised `[y_center, x_center, height, width]`.
        score_threshold: Lower scores are left out by an Android app that names no
            threshold itself; None leaves out nothing. How much boxes may overlap cannot
            be said: in MediaPipe a box falls if its IoU with a better one, of any
            class, is above 0.3.
    """

    anchors: np.ndarray
    score_threshold: float | None = None

    def __post_init__(self) -> None:
        threshold = self.score_threshold
        if threshold is not None:
            require(0 <= threshold < 1, "in [0, 1)", "score_threshold", threshold)


def write_classifier_metadata(
    content: bytes, *, class_names: Sequence[str], name: str, description: str
) -> bytes:
    """Returns a classifier's file with metadata for MediaPipe's ImageClassifier.

    Metadata that the file has already are replaced.

    Args:
        content: Of a file with one output `[1, K]`.
        class_names: Of the K classes, in the order of the output.
        name: Of the model.
        description: What it does, in a sentence.

    Raises:
        ValueError: If the file is no classifier, or the names are not those of its
            classes.
    """
    model = read_model(content)
    content = write_model(model)  # without labels, which the writer would not replace
    shapes = _output_shapes(model)
    if [len(shape) for shape in shapes.values()] != [2]:
        raise ValueError(
            "content must be a classifier's file, with one output [1, K]. "
            f"Received: {shapes}"
        )
    ((_, num_classes),) = shapes.values()
    _check_class_names(class_names, num_classes)
    writers = import_mediapipe().image_classifier.MetadataWriter
    writer = writers.create(
        bytearray(content), [_MEAN], [_STDDEV], _labels(class_names)
    )
    return _finish(model, writer, class_names, name=name, description=description)


def write_detector_metadata(
    content: bytes,
    *,
    class_names: Sequence[str],
    name: str,
    description: str,
    decoding: BoxDecoding | None,
) -> bytes:
    """Returns a detector's file with metadata for MediaPipe's ObjectDetector.

    Metadata that the file has already are replaced.

    Args:
        content: Of a file that gives detections (`float_tail.append_postprocess`), or
            raw heads: `box_encodings`, `[1, A, 4]`, with `class_logits` of a sigmoid
            head or `class_scores` (`float_tail.append_class_scores`), `[1, A, K]`.
        class_names: Of the K classes, in the order of the scores.
        name: Of the model.
        description: What it does, in a sentence.
        decoding: Of raw heads; None for a file that gives detections.

    Raises:
        ValueError: If the file is neither, the decoding is not for it, or the names are
            not those of its classes.
    """
    model = read_model(content)
    content = write_model(model)  # without labels, which the writer would not replace
    shapes = _output_shapes(model)
    has_detections = set(shapes) == set(DETECTION_OUTPUTS)
    if has_detections != (decoding is None):
        raise ValueError(
            "decoding must be given for raw heads, and for them only. Received: "
            f"{'none' if decoding is None else 'a decoding'} for the outputs "
            f"{', '.join(shapes)}"
        )
    if decoding is None:
        num_classes = count_detected_classes(model)
    else:
        *_, num_classes = shapes[_raw_scores(shapes)]
    _check_class_names(class_names, num_classes)
    labels = _labels(class_names)
    if decoding is None:
        writers = import_mediapipe().object_detector.MetadataWriter
        writer = writers.create_for_models_with_nms(
            bytearray(content), [_MEAN], [_STDDEV], labels
        )
    else:
        writer = _raw_heads_writer(content, shapes, labels, decoding)
    return _finish(model, writer, class_names, name=name, description=description)


def _raw_heads_writer(
    content: bytes,
    shapes: dict[str, tuple[int, ...]],
    labels: Any,
    decoding: BoxDecoding,
) -> Any:
    scores = _raw_scores(shapes)
    _, num_anchors, num_classes = shapes[scores]
    check_anchors(decoding.anchors, num_anchors)
    mediapipe = import_mediapipe()
    detector, info = mediapipe.object_detector, mediapipe.metadata_info
    orders = info.RawDetectionOutputTensorsOrder
    is_box_first = next(iter(shapes)) == "box_encodings"
    writer = detector.MetadataWriter.create_for_models_without_nms(
        bytearray(content),
        [_MEAN],
        [_STDDEV],
        labels,
        detector.SsdAnchorsOptions(
            detector.FixedAnchorsSchema(
                [
                    detector.FixedAnchor(x_center=x, y_center=y, width=w, height=h)
                    for y, x, h, w in decoding.anchors.tolist()
                ]
            )
        ),
        detector.TensorsDecodingOptions(
            num_classes=num_classes,
            num_boxes=num_anchors,
            num_coords=4,
            keypoint_coord_offset=0,
            num_keypoints=0,
            num_values_per_keypoint=2,
            x_scale=CENTER_SCALE,
            y_scale=CENTER_SCALE,
            w_scale=SIZE_SCALE,
            h_scale=SIZE_SCALE,
            apply_exponential_on_box_size=True,
            sigmoid_score=scores == "class_logits",
        ),
        orders.LOCATION_SCORE if is_box_first else orders.SCORE_LOCATION,
    )
    if decoding.score_threshold is not None:
        # The writer of detectors has no argument for it, that of its base has.
        for output in writer.writer._output_mds:
            if isinstance(output, info.ClassificationTensorMd):
                output.score_thresholding_md = info.ScoreThresholdingMd(
                    decoding.score_threshold
                )
    return writer


def _raw_scores(shapes: dict[str, tuple[int, ...]]) -> str:
    """Returns the name of the scores among the outputs of raw heads."""
    for scores in ("class_logits", "class_scores"):
        if set(shapes) == {"box_encodings", scores}:
            return scores
    raise ValueError(
        "content must be a detector's file with the outputs box_encodings and "
        "class_logits or class_scores, or with detections. Received: "
        f"{', '.join(shapes)}"
    )


def _output_shapes(model: Model) -> dict[str, tuple[int, ...]]:
    """Returns the outputs' shapes by their names, in the order of the file."""
    return {
        name: tensor_shape(model, index)
        for name, index in output_indices(model).items()
    }


def _check_class_names(class_names: Sequence[str], num_classes: int) -> None:
    if len(class_names) != num_classes:
        raise ValueError(
            f"class_names must be one for each of the file's {num_classes} classes. "
            f"Received: {len(class_names)} names"
        )
    for name in class_names:
        require(
            name == name.strip() and len(name.splitlines()) == 1,
            "lines of text",
            "class_names",
            name,
        )


def _labels(class_names: Sequence[str]) -> Any:
    return (
        import_mediapipe()
        .metadata_writer.Labels()
        .add(list(class_names), exported_filename=_LABELS)
    )


def _finish(
    model: Model,
    writer: Any,
    class_names: Sequence[str],
    *,
    name: str,
    description: str,
) -> bytes:
    """Returns the file with a writer's metadata, and the labels behind the model.

    MediaPipe's own packing would spoil the weights' alignment, and date the labels.
    """
    with writer.writer._temp_folder:  # that of the labels, which it forgets to remove
        writer.writer.add_general_info(name, description)
        populated, _ = writer.populate()
    buffer = import_mediapipe().metadata.get_metadata_buffer(populated)
    model.metadata = model.metadata or []
    entry = next((m for m in model.metadata if m.name == _METADATA.encode()), None)
    if entry is None:
        model.buffers.append(schema.BufferT())
        entry = schema.MetadataT(_METADATA.encode(), len(model.buffers) - 1)
        model.metadata.append(entry)
    model.buffers[entry.buffer].data = np.frombuffer(bytes(buffer), np.uint8)
    file = io.BytesIO(write_model(model))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(zipfile.ZipInfo(_LABELS), "\n".join(class_names))
    return file.getvalue()
