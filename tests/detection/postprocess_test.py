import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from detection.box_coder import encode_boxes
from detection.boxes import corners_to_centers
from detection.config import PostprocessConfig
from detection.postprocess import (
    score_classes,
    select_detections,
    select_detections_class_agnostic,
)
from tests.reference import detection as slow

SELECTIONS = {
    "per class": select_detections,
    "class-agnostic": select_detections_class_agnostic,
}
NUM_CLASSES = 4
SMALL = PostprocessConfig(score_threshold=0.1, max_detections=5)


def log_odds(scores):
    scores = np.asarray(scores, "float64")
    return np.log(scores / (1 - scores))


def outputs_of(boxes, scores, anchors):
    """Outputs of a sigmoid head that decode to `boxes [B, A, 4]` and `scores`."""
    return {
        "class_logits": tf.constant(log_odds(scores), tf.float32),
        "box_encodings": encode_boxes(tf.constant(boxes, tf.float32), anchors),
    }


def detect(boxes, scores, config=SMALL, select=select_detections):
    """Detections of one image's boxes `[A, 4]` and scores `[A, K]`.

    Every anchor is the whole image.
    """
    anchors = np.tile(np.array([[0, 0, 1, 1]], "float32"), (len(boxes), 1))
    detections = select(
        outputs_of([boxes], [scores], anchors),
        anchors,
        score_activation="sigmoid",
        config=config,
    )
    return {name: value[0].numpy() for name, value in detections.items()}


A_BOX = [0.1, 0.1, 0.5, 0.5]
NEARLY_IT = [0.1, 0.1, 0.5, 0.4]  # IoU 0.12 / 0.16
ELSEWHERE = [0.6, 0.6, 0.9, 0.9]


def test_detections_written_by_hand():
    boxes = [A_BOX, NEARLY_IT, ELSEWHERE]
    scores = [[0.6, 0.05], [0.8, 0.7], [0.3, 0.08]]
    found = detect(boxes, scores)
    assert found["num_detections"] == 3
    np.testing.assert_array_equal(found["classes"], [0, 1, 0, -1, -1])
    np.testing.assert_allclose(found["scores"], [0.8, 0.7, 0.3, 0, 0], atol=1e-6)
    expected = [NEARLY_IT, NEARLY_IT, ELSEWHERE, [0] * 4, [0] * 4]
    np.testing.assert_allclose(found["boxes_normalized"], expected, atol=1e-6)
    assert found["classes"].dtype == found["num_detections"].dtype == np.int32


def test_without_regard_to_classes_an_anchor_is_detected_once():
    boxes = [A_BOX, NEARLY_IT, ELSEWHERE]
    scores = [[0.2, 0.6], [0.8, 0.7], [0.3, 0.08]]
    select = select_detections_class_agnostic
    found = detect(boxes, scores, select=select)
    np.testing.assert_array_equal(found["classes"], [0, 0, -1, -1, -1])
    np.testing.assert_allclose(found["scores"], [0.8, 0.3, 0, 0, 0], atol=1e-6)
    expected = [NEARLY_IT, ELSEWHERE, [0] * 4, [0] * 4, [0] * 4]
    np.testing.assert_allclose(found["boxes_normalized"], expected, atol=1e-6)


@pytest.mark.parametrize("select", SELECTIONS.values(), ids=SELECTIONS)
def test_a_box_stands_unless_its_iou_is_above_the_threshold(select):
    boxes, scores = [A_BOX, NEARLY_IT], [[0.9], [0.8]]
    for threshold, count in ((0.74, 1), (0.76, 2)):
        config = PostprocessConfig(nms_iou_threshold=threshold, max_detections=5)
        assert detect(boxes, scores, config, select)["num_detections"] == count


@pytest.mark.parametrize("select", SELECTIONS.values(), ids=SELECTIONS)
def test_boxes_are_clipped_after_they_were_compared(select):
    # Inside the image both are the same; as they are, their IoU is 1 / 2.
    boxes = [[0.0, 0.5, 1.0, 1.5], [0.0, 0.5, 1.0, 2.5]]
    found = detect(boxes, [[0.9], [0.8]], select=select)
    assert found["num_detections"] == 2
    expected = [[0, 0.5, 1, 1]] * 2
    np.testing.assert_allclose(found["boxes_normalized"][:2], expected, atol=1e-6)


@pytest.mark.parametrize("select", SELECTIONS.values(), ids=SELECTIONS)
def test_nothing_above_the_threshold_is_no_detection(select):
    found = detect([A_BOX, ELSEWHERE], [[0.05, 0.01], [0.02, 0.09]], select=select)
    assert found["num_detections"] == 0
    np.testing.assert_array_equal(found["classes"], [-1] * 5)
    assert not found["scores"].any() and not found["boxes_normalized"].any()


@pytest.mark.parametrize("select", SELECTIONS.values(), ids=SELECTIONS)
def test_of_too_many_detections_those_with_the_highest_scores_stand(select):
    corners = np.linspace(0.0, 0.9, 10)
    boxes = [[low, low, low + 0.1, low + 0.1] for low in corners]
    scores = [[0.2 + 0.05 * index] for index in range(10)]
    found = detect(boxes, scores, select=select)
    np.testing.assert_allclose(found["scores"], [0.65, 0.6, 0.55, 0.5, 0.45], atol=1e-6)
    np.testing.assert_allclose(found["boxes_normalized"][0], boxes[9], atol=1e-6)


def random_outputs(rng, num_images, num_anchors):
    low = rng.uniform(-0.1, 0.7, (num_images, num_anchors, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.1, 0.5, low.shape)], axis=-1)
    anchors = boxes[0].astype("float32")
    scores = rng.uniform(0.01, 0.99, (num_images, num_anchors, NUM_CLASSES))
    return boxes, scores, anchors


@pytest.mark.parametrize("max_detections", [10, 200])
@pytest.mark.parametrize("select", SELECTIONS.values(), ids=SELECTIONS)
def test_detections_are_those_of_the_slow_version(select, max_detections):
    rng = np.random.default_rng(1)
    boxes, scores, anchors = random_outputs(rng, num_images=3, num_anchors=60)
    config = PostprocessConfig(
        score_threshold=0.3, nms_iou_threshold=0.4, max_detections=max_detections
    )
    found = tf.function(select)(
        outputs_of(boxes, scores, anchors),
        anchors,
        score_activation="sigmoid",
        config=config,
    )
    assert found["boxes_normalized"].shape == (3, max_detections, 4)
    for image in range(3):
        expected = slow.select_detections(
            boxes[image],
            scores[image],
            score_threshold=0.3,
            iou_threshold=0.4,
            max_detections=max_detections,
            is_class_agnostic=select is select_detections_class_agnostic,
        )
        count = len(expected)
        assert found["num_detections"][image] == count
        assert count == max_detections or 10 < count < max_detections
        best, indices, labels = (list(values) for values in zip(*expected, strict=True))
        np.testing.assert_allclose(found["scores"][image, :count], best, atol=1e-6)
        np.testing.assert_array_equal(found["classes"][image, :count], labels)
        np.testing.assert_allclose(
            found["boxes_normalized"][image, :count],
            np.clip(boxes[image][indices], 0, 1),
            atol=1e-5,
        )
        assert not np.any(found["scores"][image, count:])
        np.testing.assert_array_equal(found["classes"][image, count:], -1)


def test_softmax_scores_are_those_of_the_foreground():
    logits = np.random.default_rng(2).normal(size=(2, 3, 5))
    scores = score_classes(tf.constant(logits), "softmax")
    for where in np.ndindex(2, 3):
        np.testing.assert_allclose(scores[where], slow.softmax(logits[where])[1:])


@pytest.mark.parametrize("select", SELECTIONS.values(), ids=SELECTIONS)
@pytest.mark.parametrize("value", [-100.0, 0.0, 100.0])
@pytest.mark.parametrize("score_activation", ["sigmoid", "softmax"])
def test_extreme_outputs_give_finite_boxes_in_the_image(
    select, value, score_activation
):
    anchors = np.array([[0.2, 0.2, 0.4, 0.4], [0.9, 0.9, 1.1, 1.1]], "float32")
    outputs = {
        "class_logits": tf.fill([1, 2, 3], value),
        "box_encodings": tf.fill([1, 2, 4], value),
    }
    found = select(outputs, anchors, score_activation=score_activation, config=SMALL)
    boxes = found["boxes_normalized"].numpy()
    assert np.all((boxes >= 0) & (boxes <= 1))
    assert np.all(np.isfinite(found["scores"]))


@pytest.mark.parametrize("select", SELECTIONS.values(), ids=SELECTIONS)
def test_a_graph_takes_batches_of_any_size(select):
    anchors = np.array([[0.2, 0.2, 0.4, 0.4]], "float32")

    @tf.function(
        input_signature=[
            {
                "class_logits": tf.TensorSpec([None, 1, 2]),
                "box_encodings": tf.TensorSpec([None, 1, 4]),
            }
        ]
    )
    def detections(outputs):
        found = select(outputs, anchors, score_activation="sigmoid", config=SMALL)
        assert found["boxes_normalized"].shape[1:] == (5, 4)
        return found

    for size in (0, 3):
        outputs = {
            "class_logits": tf.zeros([size, 1, 2]),
            "box_encodings": tf.zeros([size, 1, 4]),
        }
        assert detections(outputs)["scores"].shape == (size, 5)


def litert_operator(anchors, num_classes, config, *, is_regular):
    """Returns a function that runs LiteRT's own operator on encodings and scores."""
    attributes = {
        "max_detections": f"i: {config.max_detections}",
        "max_classes_per_detection": "i: 1",
        "detections_per_class": f"i: {config.max_detections}",
        "use_regular_nms": f"b: {str(is_regular).lower()}",
        "nms_score_threshold": f"f: {config.score_threshold}",
        "nms_iou_threshold": f"f: {config.nms_iou_threshold}",
        "num_classes": f"i: {num_classes}",
        "y_scale": "f: 10.0",
        "x_scale": "f: 10.0",
        "h_scale": "f: 5.0",
        "w_scale": "f: 5.0",
    }
    attributes = " ".join(
        f'attr {{ key: "{name}" value {{ {value} }} }}'
        for name, value in attributes.items()
    )

    @tf.function(
        experimental_implements=f'name: "TFLite_Detection_PostProcess" {attributes}'
    )
    def operator(boxes, scores, anchors):
        shape = (1, config.max_detections)
        floats = tf.zeros(shape)
        return tf.zeros((*shape, 4)), floats, floats, tf.zeros(1)

    centers = corners_to_centers(anchors).numpy()

    class Postprocessing(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec([1, len(anchors), 4], name="encodings"),
                tf.TensorSpec([1, len(anchors), num_classes], name="scores"),
            ]
        )
        def run(self, encodings, scores):
            boxes, classes, scores, count = operator(
                encodings, scores, tf.constant(centers)
            )
            return {
                "boxes_normalized": boxes,
                "classes": classes,
                "scores": scores,
                "num_detections": count,
            }

    module = Postprocessing()
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [module.run.get_concrete_function()], module
    )
    converter.allow_custom_ops = True
    runner = Interpreter(model_content=converter.convert()).get_signature_runner()
    return lambda encodings, scores: runner(encodings=encodings, scores=scores)


@pytest.mark.parametrize("select", SELECTIONS.values(), ids=SELECTIONS)
def test_detections_are_those_of_the_operator_of_litert(select):
    boxes, scores, anchors = random_outputs(
        np.random.default_rng(3), num_images=1, num_anchors=50
    )
    # Inside the image, as the operator does not clip.
    boxes = np.clip(boxes, 0, 1)
    config = PostprocessConfig(score_threshold=0.2, nms_iou_threshold=0.4)
    operator = litert_operator(
        anchors, NUM_CLASSES, config, is_regular=select is select_detections
    )
    outputs = outputs_of(boxes, scores, anchors)
    expected = operator(outputs["box_encodings"], tf.sigmoid(outputs["class_logits"]))
    found = select(outputs, anchors, score_activation="sigmoid", config=config)
    count = int(expected["num_detections"][0])
    assert found["num_detections"][0] == count > 10
    for name in ("boxes_normalized", "scores", "classes"):
        np.testing.assert_allclose(
            found[name][:, :count], expected[name][:, :count], atol=1e-5
        )


def test_outputs_for_other_anchors_are_refused():
    anchors = np.zeros((2, 4), "float32")
    outputs = {
        "class_logits": tf.zeros([1, 3, 2]),
        "box_encodings": tf.zeros([1, 3, 4]),
    }
    with pytest.raises(ValueError, match="box_encodings must have the shape"):
        select_detections(outputs, anchors, score_activation="sigmoid", config=SMALL)
