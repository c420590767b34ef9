"""Float operators behind a converted network: probabilities, or finished detections.

They are attached to the file, not to the network that is converted. Quantisation would
take them in otherwise, and a probability in int8 has steps of 1/256: all below 0.002
would be nothing, all above 0.998 the same. And every way to a file shares them,
whatever quantised it. No TensorFlow.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from export.flatbuffer import (
    Model,
    add_constant,
    add_custom_operator,
    add_operator,
    add_tensor,
    float_outputs,
    read_model,
    set_outputs,
    tensor_shape,
    write_model,
)
from mobilenas_tf.detection_spec import ScoreActivation
from mobilenas_tf.options import require

DETECTION_POSTPROCESS = "TFLite_Detection_PostProcess"

CENTER_SCALE = 10.0
"""Factor of the encoded centres of boxes, as `detection.box_coder` has it."""

SIZE_SCALE = 5.0
"""Factor of the encoded sizes of boxes, as `detection.box_coder` has it."""

DETECTION_OUTPUTS = (
    "detection_boxes",
    "detection_classes",
    "detection_scores",
    "num_detections",
)
"""Outputs of a file with the operator, in the order that apps rely on: that of the
operator, and of the files of the TensorFlow Object Detection API, whose names these
are."""

_IDLE_CLASSES = 17
"""Classes of no score in front of the others where the operator suppresses each class
on its own: with N threads, N above 1, it leaves out class N, counted from 0 (`next_col`
of its source starts at N and is raised before its first use; so up to LiteRT 2.3)."""


def append_probabilities(content: bytes) -> bytes:
    """Returns a classifier's file with a softmax behind its logits.

    Its output is `probabilities`, `[1, K]`, float32: what an app shows and compares
    with a threshold. MediaPipe hands on what the file gives.

    Args:
        content: Of a file with the float32 output `logits`, `[1, K]`.

    Raises:
        ValueError: If the file has other outputs.
    """
    model = read_model(content)
    (logits,) = float_outputs(model, "logits")
    set_outputs(model, {"probabilities": _add_softmax(model, logits, "probabilities")})
    return write_model(model)


def append_class_scores(content: bytes) -> bytes:
    """Returns the file of a detector with a softmax head, its scores ready to be used.

    The outputs are `box_encodings`, `[1, A, 4]`, and `class_scores`, `[1, A, K]`: the
    probabilities of the K classes, without the background's. MediaPipe applies a
    sigmoid to raw scores if the metadata say so, but knows no softmax.

    Args:
        content: Of a file with the float32 outputs `box_encodings` and `class_logits`,
            `[1, A, K + 1]`, background first.

    Raises:
        ValueError: If the file has other outputs.
    """
    model = read_model(content)
    encodings, logits = float_outputs(model, "box_encodings", "class_logits")
    scores = _add_scores(model, logits, "softmax")
    set_outputs(model, {"box_encodings": encodings, "class_scores": scores})
    return write_model(model)


def append_postprocess(
    content: bytes,
    *,
    anchors: np.ndarray,
    score_activation: ScoreActivation,
    score_threshold: float,
    nms_iou_threshold: float,
    max_detections: int,
    is_class_agnostic: bool = False,
) -> bytes:
    """Returns a detector's file that gives detections, by TFLite_Detection_PostProcess.

    The outputs, all float32, are `detection_boxes` `[1, M, 4]` (normalised corners,
    clipped to the image), `detection_classes` and `detection_scores` `[1, M]`, highest
    score first, and `num_detections` `[1]`. Beyond that number their values mean
    nothing. They are the same with any number of threads up to 16.

    Source: tflite/kernels/detection_postprocess.cc of LiteRT.

    Args:
        content: Of a file with the float32 outputs `box_encodings`, `[1, A, 4]`, and
            `class_logits`, `[1, A, K]` (sigmoid) or `[1, A, K + 1]` (softmax,
            background first).
        anchors: `[A, 4]`, normalised `[y_center, x_center, height, width]`.
        score_activation: Of the head.
        score_threshold: Lower scores are no detections.
        nms_iou_threshold: A box falls if its IoU with a better one is above this.
        max_detections: M.
        is_class_agnostic: Whether a box falls to a better one of any class, and an
            anchor is detected as its best class only. Quicker with many classes, and
            somewhat worse where objects of different classes overlap.

    Raises:
        ValueError: If the file has other outputs or another number of anchors, or an
            option is out of range.
    """
    require(0 <= score_threshold < 1, "in [0, 1)", "score_threshold", score_threshold)
    require(
        0 < nms_iou_threshold <= 1, "in (0, 1]", "nms_iou_threshold", nms_iou_threshold
    )
    require(max_detections >= 1, "at least 1", "max_detections", max_detections)
    model = read_model(content)
    encodings, logits = float_outputs(model, "box_encodings", "class_logits")
    check_anchors(anchors, tensor_shape(model, logits)[1])
    scores = _add_scores(model, logits, score_activation)
    if not is_class_agnostic:
        scores = _add_idle_classes(model, scores)
    attributes = {
        "max_detections": max_detections,
        "max_classes_per_detection": 1,
        "detections_per_class": max_detections,
        "use_regular_nms": not is_class_agnostic,
        # Idle classes are never detected, be the threshold 0.
        "nms_score_threshold": max(score_threshold, 1e-30),
        "nms_iou_threshold": nms_iou_threshold,
        "num_classes": tensor_shape(model, scores)[2],
        "y_scale": CENTER_SCALE,
        "x_scale": CENTER_SCALE,
        "h_scale": SIZE_SCALE,
        "w_scale": SIZE_SCALE,
    }
    boxes = add_tensor(model, "unclipped_boxes", [1, max_detections, 4])
    shapes = [[1, max_detections, 4], [1, max_detections], [1, max_detections], [1]]
    # In the operator's order: MediaPipe's metadata writer goes by the indices.
    outputs = {
        name: add_tensor(model, name, shape)
        for name, shape in zip(DETECTION_OUTPUTS, shapes, strict=True)
    }
    clipped, classes, *rest = outputs.values()
    found = classes
    if not is_class_agnostic:
        found = add_tensor(model, "operator_classes", shapes[1])
    add_custom_operator(
        model,
        DETECTION_POSTPROCESS,
        [encodings, scores, add_constant(model, "anchors", anchors.astype(np.float32))],
        [boxes, found, *rest],
        options=bytes(flexbuffers.Dumps(attributes)),
    )
    if not is_class_agnostic:
        _add_class_shift(model, found, classes)
    _add_clip(model, boxes, clipped)
    set_outputs(model, outputs)
    return write_model(model)


def check_anchors(anchors: np.ndarray, num_anchors: int) -> None:
    """Raises a ValueError unless anchors `[A, 4]` are those of a file's A boxes."""
    if anchors.shape != (num_anchors, 4):
        raise ValueError(
            f"anchors must have the shape {(num_anchors, 4)}, one for each box of the "
            f"file. Received: anchors.shape={anchors.shape}"
        )
    is_sound = np.isfinite(anchors).all(axis=1) & (anchors[:, 2:] > 0).all(axis=1)
    if not is_sound.all():
        raise ValueError(
            "anchors must be finite, with heights and widths above 0. "
            f"Received: {anchors[~is_sound][0]}"
        )


def count_detected_classes(model: Model) -> int:
    """Returns the number of classes in the detections of a file with the operator.

    Raises:
        ValueError: If the file lacks the operator.
    """
    for operator in model.subgraphs[0].operators:
        code = model.operatorCodes[operator.opcodeIndex].customCode
        if code == DETECTION_POSTPROCESS.encode():
            options = flexbuffers.Loads(bytes(operator.customOptions))
            attributes = cast(dict[str, int], options)
            idle = _IDLE_CLASSES if attributes["use_regular_nms"] else 0
            return attributes["num_classes"] - idle
    raise ValueError(
        f"content must have the operator {DETECTION_POSTPROCESS}. Received: a file "
        "without it"
    )


def _add_scores(model: Model, logits: int, score_activation: ScoreActivation) -> int:
    """Returns the index of the classes' scores `[1, A, K]`."""
    batch, num_anchors, num_logits = tensor_shape(model, logits)
    if score_activation == "sigmoid":
        scores = add_tensor(model, "class_scores", [batch, num_anchors, num_logits])
        add_operator(model, schema.BuiltinOperator.LOGISTIC, [logits], [scores])
        return scores
    require(
        num_logits > 1,
        "the background's and those of classes",
        "number of class_logits",
        num_logits,
    )
    all_scores = _add_softmax(model, logits, "all_scores")
    shape = np.array([batch, num_anchors, num_logits - 1], np.int32)
    scores = add_tensor(model, "class_scores", shape.tolist())
    add_operator(
        model,
        schema.BuiltinOperator.SLICE,
        [
            all_scores,
            add_constant(model, "first_class", np.array([0, 0, 1], np.int32)),
            add_constant(model, "class_scores_shape", shape),
        ],
        [scores],
        options=schema.SliceOptionsT(),
    )
    return scores


def _add_idle_classes(model: Model, scores: int) -> int:
    """Returns the index of scores with idle classes in front, whose scores are 0."""
    batch, num_anchors, num_classes = tensor_shape(model, scores)
    shape = [batch, num_anchors, _IDLE_CLASSES + num_classes]
    padded = add_tensor(model, "scores_behind_idle_classes", shape)
    padding = np.array([[0, 0], [0, 0], [_IDLE_CLASSES, 0]], np.int32)
    add_operator(
        model,
        schema.BuiltinOperator.PAD,
        [scores, add_constant(model, "idle_classes", padding)],
        [padded],
        options=schema.PadOptionsT(),
    )
    return padded


def _add_class_shift(model: Model, found: int, classes: int) -> None:
    """Takes the idle classes out of the count; unused places, which are 0, stay 0."""
    count = np.full([], _IDLE_CLASSES, np.float32)
    add_operator(
        model,
        schema.BuiltinOperator.SUB,
        [found, add_constant(model, "num_idle_classes", count)],
        [classes],
        options=schema.SubOptionsT(
            fusedActivationFunction=schema.ActivationFunctionType.RELU
        ),
    )


def _add_softmax(model: Model, logits: int, name: str) -> int:
    """Returns the index of the softmax over the last axis."""
    scores = add_tensor(model, name, tensor_shape(model, logits))
    options = schema.SoftmaxOptionsT(beta=1.0)
    softmax = schema.BuiltinOperator.SOFTMAX
    add_operator(model, softmax, [logits], [scores], options=options)
    return scores


def _add_clip(model: Model, boxes: int, clipped: int) -> None:
    """Clips boxes to [0, 1].

    MediaPipe moves a corner that is outside into the image and keeps the size: the
    other side of the box would end up too far in.
    """
    positive = add_tensor(model, "positive_boxes", tensor_shape(model, boxes))
    add_operator(model, schema.BuiltinOperator.RELU, [boxes], [positive])
    one = add_constant(model, "one", np.ones([], np.float32))
    add_operator(
        model,
        schema.BuiltinOperator.MINIMUM,
        [positive, one],
        [clipped],
        options=schema.MaximumMinimumOptionsT(),
    )
