"""Exported files run in MediaPipe Tasks and in LiteRT, and both say what we say.

MediaPipe Tasks for Python is the same C++ code that Android apps call.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest

from detection.heads import detector_anchors
from export.config import ExportConfig
from export.float_tail import (
    append_class_scores,
    append_postprocess,
    append_probabilities,
)
from export.interpreter import load_interpreter, predict, predict_outputs
from export.mediapipe_modules import import_mediapipe
from export.metadata import (
    BoxDecoding,
    write_classifier_metadata,
    write_detector_metadata,
)
from export.tflite import convert_to_tflite
from tests.export.random_networks import (
    CLASS_NAMES,
    CLASSIFIERS,
    center_anchors,
    detector,
    normalized,
    random_network,
    random_pixels,
)
from tests.reference import detection as slow

pytestmark = pytest.mark.slow

FLOAT32 = ExportConfig(quantization="float32")
UINT8 = ExportConfig(quantization="int8", io="uint8", calibration_images=8)
NAMES = {"name": "trees", "description": "Tells trees apart."}
MEDIAPIPE = import_mediapipe().root
TASKS = MEDIAPIPE.tasks
MEDIAPIPE_IOU = 0.3  # of raw heads; a default that its options do not show


@functools.cache
def classifier_network(family):
    """The network and the pixels that it was made for."""
    pixels = random_pixels(8, 32)
    return random_network(CLASSIFIERS[family](), normalized(pixels)), pixels


@functools.cache
def detector_network(head, score_activation):
    pixels = random_pixels(8, 64)
    architecture = detector(head, score_activation)
    return random_network(architecture, normalized(pixels)), pixels


@functools.cache
def detector_body(head, score_activation, config, *, has_float_outputs):
    """The content of a file of raw logits, without metadata."""
    network, pixels = detector_network(head, score_activation)
    tail = (lambda content: content) if has_float_outputs else None
    return convert_to_tflite(network, config, normalized(pixels), tail=tail)


def options_of(content, **options):
    return {"base_options": TASKS.BaseOptions(model_asset_buffer=content), **options}


def image_of(pixels):
    return MEDIAPIPE.Image(image_format=MEDIAPIPE.ImageFormat.SRGB, data=pixels)


def classify(content, pixels):
    """MediaPipe's scores `[B, K]`."""
    options = TASKS.vision.ImageClassifierOptions(**options_of(content))
    with TASKS.vision.ImageClassifier.create_from_options(options) as task:
        results = [task.classify(image_of(image)) for image in pixels]
    scores = []
    for result in results:
        by_name = {
            category.category_name: category.score
            for category in result.classifications[0].categories
        }
        scores.append([by_name[name] for name in CLASS_NAMES])
    return np.array(scores)


def detect(content, pixels, **options):
    """MediaPipe's detections: `(class name, score, [y, x, height, width])`."""
    options = TASKS.vision.ObjectDetectorOptions(**options_of(content, **options))
    with TASKS.vision.ObjectDetector.create_from_options(options) as task:
        result = task.detect(image_of(pixels))
    found = []
    for detection in result.detections:
        box = detection.bounding_box
        place = np.array([box.origin_y, box.origin_x, box.height, box.width])
        # Detections of several classes at the same pixels come as one.
        for category in detection.categories:
            found.append((category.category_name, category.score, place))
    return found


def scores_of(logits, score_activation):
    if score_activation == "softmax":
        return np.array([slow.softmax(row)[1:] for row in logits])
    return np.vectorize(slow.sigmoid)(logits)


def decoded_boxes(encodings, architecture):
    """Normalised corners `[A, 4]`."""
    pairs = zip(encodings, detector_anchors(architecture), strict=True)
    return np.array([slow.decode(*pair) for pair in pairs])


def expected_detections(boxes, scores, **options):
    """`(class name, score, normalised corners)` by the slow version."""
    return [
        (CLASS_NAMES[label], score, boxes[anchor])
        for score, anchor, label in slow.select_detections(
            boxes, scores, max_detections=100, **options
        )
    ]


def check_detections(found, expected, *, tolerance):
    """Each expected detection is found, and no other."""
    left = list(found)
    assert 5 < len(expected) == len(left)
    for name, score, box in expected:
        matches = [
            index
            for index, (other_name, other_score, other_box) in enumerate(left)
            if other_name == name
            and abs(other_score - score) < 1e-4
            and np.abs(other_box - box).max() <= tolerance
        ]
        assert matches, (name, score, box, left)
        del left[matches[0]]


def check_suppression(found, boxes, scores, *, score_threshold):
    """Detections are what suppression leaves, in any order of equal scores.

    Int8 heads have many of these. Each found one is an anchor's best class; no two of
    them overlap; every other anchor overlaps with a better one.
    """
    best, labels = scores.max(axis=1), scores.argmax(axis=1)
    kept = []
    for name, score, place in found:
        distances = [
            np.abs(place - mediapipe_place(box)).max()
            if CLASS_NAMES[label] == name and abs(own_score - score) < 1e-4
            else np.inf
            for box, own_score, label in zip(boxes, best, labels, strict=True)
        ]
        assert min(distances) <= 1, (name, score, place)
        kept.append(int(np.argmin(distances)))
    assert 5 < len(kept) == len(set(kept))
    overlaps = slow.all_pairs(slow.iou, boxes, boxes[kept])
    np.testing.assert_array_equal(
        overlaps[kept] > MEDIAPIPE_IOU, np.eye(len(kept), dtype=bool)
    )
    is_better = best[kept] > best[:, None] - 1e-6
    is_suppressed = (is_better & (overlaps > MEDIAPIPE_IOU)).any(axis=1)
    assert (is_suppressed | (best < score_threshold)).all()


def mediapipe_place(box):
    """`[y, x, height, width]` in pixels, as MediaPipe says it of normalised corners.

    Of a box that sticks out of the image it moves the first corner to the border and
    leaves height and width.
    """
    start, size = np.clip(box[:2], 0, 1), box[2:] - box[:2]
    return 64 * np.concatenate([start, np.minimum(size, 1)])


@pytest.mark.parametrize("family", CLASSIFIERS)
@pytest.mark.parametrize("config", [FLOAT32, UINT8], ids=["float32", "uint8"])
def test_mediapipe_and_litert_give_a_classifiers_probabilities(family, config):
    network, pixels = classifier_network(family)
    images = normalized(pixels)
    content = write_classifier_metadata(
        convert_to_tflite(network, config, images, tail=append_probabilities),
        class_names=CLASS_NAMES,
        **NAMES,
    )
    ours = predict(load_interpreter(content), images)
    if config is FLOAT32:
        expected = [slow.softmax(row) for row in network.predict(images, verbose=0)]
        np.testing.assert_allclose(ours, expected, atol=1e-4)
    theirs = classify(content, pixels)
    np.testing.assert_allclose(theirs, ours, atol=1e-4)
    np.testing.assert_array_equal(theirs.argmax(axis=1), ours.argmax(axis=1))
    assert len(set(ours.argmax(axis=1))) > 1


def test_mediapipe_dequantises_the_logits_of_an_int8_classifier():
    network, pixels = classifier_network("fbnet")
    content = write_classifier_metadata(
        convert_to_tflite(network, UINT8, normalized(pixels)),
        class_names=CLASS_NAMES,
        **NAMES,
    )
    ours = predict(load_interpreter(content), normalized(pixels))
    np.testing.assert_allclose(classify(content, pixels), ours, atol=1e-4)


@pytest.mark.parametrize("score_activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("head", ["ssdlite", "fpnlite"])
@pytest.mark.parametrize("config", [FLOAT32, UINT8], ids=["float32", "uint8"])
def test_mediapipe_and_litert_find_what_the_operator_is_to_find(
    head, score_activation, config
):
    architecture = detector(head, score_activation)
    body = detector_body(head, score_activation, config, has_float_outputs=True)
    content = write_detector_metadata(
        append_postprocess(
            body,
            anchors=center_anchors(architecture),
            score_activation=score_activation,
            score_threshold=0.3,
            nms_iou_threshold=0.5,
            max_detections=100,
        ),
        class_names=CLASS_NAMES[:3],
        decoding=None,
        **NAMES,
    )
    network, pixels = detector_network(head, score_activation)
    images = normalized(pixels[:2])
    outputs = raw_outputs(network, body, images, config)
    found = predict_outputs(load_interpreter(content), images)
    for index in range(2):
        expected = expected_detections(
            decoded_boxes(outputs["box_encodings"][index], architecture),
            scores_of(outputs["class_logits"][index], score_activation),
            score_threshold=0.3,
            iou_threshold=0.5,
        )
        count = int(found["num_detections"][index])
        labels = found["detection_classes"][index, :count].astype(int)
        litert = zip(
            [CLASS_NAMES[label] for label in labels],
            found["detection_scores"][index, :count],
            found["detection_boxes"][index, :count],
            strict=True,
        )
        clipped = [(name, score, np.clip(box, 0, 1)) for name, score, box in expected]
        check_detections(litert, clipped, tolerance=1e-4)
        places = [(name, score, mediapipe_place(box)) for name, score, box in clipped]
        check_detections(detect(content, pixels[index]), places, tolerance=1)


@pytest.mark.parametrize("score_activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("head", ["ssdlite", "fpnlite"])
@pytest.mark.parametrize("config", [FLOAT32, UINT8], ids=["float32", "uint8"])
def test_mediapipe_decodes_raw_heads(head, score_activation, config):
    architecture = detector(head, score_activation)
    is_softmax = score_activation == "softmax"
    # A sigmoid head needs no tail, so that its outputs are uint8, too.
    body = detector_body(head, score_activation, config, has_float_outputs=is_softmax)
    content = write_detector_metadata(
        append_class_scores(body) if is_softmax else body,
        class_names=CLASS_NAMES[:3],
        decoding=BoxDecoding(center_anchors(architecture)),
        **NAMES,
    )
    network, pixels = detector_network(head, score_activation)
    images = normalized(pixels[:2])
    outputs = raw_outputs(network, body, images, config)
    found = predict_outputs(load_interpreter(content), images)
    for index in range(2):
        scores = scores_of(outputs["class_logits"][index], score_activation)
        if is_softmax:
            np.testing.assert_allclose(found["class_scores"][index], scores, atol=1e-4)
        check_suppression(
            detect(content, pixels[index], score_threshold=0.3),
            decoded_boxes(outputs["box_encodings"][index], architecture),
            scores,
            score_threshold=0.3,
        )


def raw_outputs(network, body, images, config):
    """Logits and encoded boxes: the network's own, or those of its int8 file."""
    if config is FLOAT32:
        return network.predict(images, verbose=0)
    return predict_outputs(load_interpreter(body), images)
