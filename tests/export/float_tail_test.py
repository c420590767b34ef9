import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from detection import box_coder
from export import float_tail
from export.config import ExportConfig
from export.float_tail import (
    append_class_scores,
    append_postprocess,
    append_probabilities,
)
from export.interpreter import (
    count_operators,
    load_interpreter,
    output_names,
    predict,
    predict_outputs,
)
from export.tflite import convert_to_tflite
from tests.export.flat_heads import (
    IMAGES,
    NUM_CLASSES,
    anchors,
    flat_heads,
    int8_file,
    raw_file,
)
from tests.reference import detection as slow

OPTIONS = {"score_threshold": 0.3, "nms_iou_threshold": 0.4, "max_detections": 10}


def corners(centers):
    return np.concatenate(
        [centers[:, :2] - centers[:, 2:] / 2, centers[:, :2] + centers[:, 2:] / 2],
        axis=1,
    )


def num_logits(score_activation):
    return NUM_CLASSES + (score_activation == "softmax")


def scores_of(logits, score_activation):
    if score_activation == "softmax":
        return np.array([slow.softmax(row)[1:] for row in logits])
    return np.vectorize(slow.sigmoid)(logits)


def with_operator(content, score_activation="sigmoid", **changes):
    options = {**OPTIONS, "anchors": anchors(), **changes}
    return append_postprocess(content, score_activation=score_activation, **options)


# With two threads LiteRT's operator leaves out class 2, unless it is kept from it.
@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("is_class_agnostic", [False, True])
@pytest.mark.parametrize("score_activation", ["sigmoid", "softmax"])
def test_detections_are_those_of_the_slow_version(
    score_activation, is_class_agnostic, num_threads
):
    logits = num_logits(score_activation)
    content = with_operator(
        raw_file(logits), score_activation, is_class_agnostic=is_class_agnostic
    )
    interpreter = load_interpreter(content, num_threads=num_threads)
    found = predict_outputs(interpreter, IMAGES)
    outputs = flat_heads(logits).predict(IMAGES, verbose=0)
    labels_found = set()
    for index, (encodings, image_logits) in enumerate(
        zip(outputs["box_encodings"], outputs["class_logits"], strict=True)
    ):
        pairs = zip(encodings, corners(anchors()), strict=True)
        boxes = np.array([slow.decode(*pair) for pair in pairs])
        expected = slow.select_detections(
            boxes,
            scores_of(image_logits, score_activation),
            score_threshold=0.3,
            iou_threshold=0.4,
            max_detections=10,
            is_class_agnostic=is_class_agnostic,
        )
        best, indices, labels = (list(values) for values in zip(*expected, strict=True))
        count = len(expected)
        assert found["num_detections"][index] == count > 2
        labels_found.update(labels)
        for name, values in (
            ("detection_scores", best),
            ("detection_classes", labels),
            ("detection_boxes", np.clip(boxes[indices], 0, 1)),
        ):
            np.testing.assert_allclose(found[name][index, :count], values, atol=1e-5)
    assert labels_found == {0, 1, 2}


def test_outputs_stand_in_the_order_that_apps_rely_on():
    interpreter = load_interpreter(with_operator(raw_file(NUM_CLASSES)))
    outputs = interpreter.get_output_details()
    assert [output["shape"].tolist() for output in outputs] == [
        [1, 10, 4],
        [1, 10],
        [1, 10],
        [1],
    ]
    names = ["detection_boxes", "detection_classes", "detection_scores"]
    assert [output["name"] for output in outputs] == [*names, "num_detections"]
    assert sorted(output_names(interpreter)) == [*names, "num_detections"]
    runner = interpreter.get_signature_runner()
    found = runner(image=IMAGES[:1])
    for output in outputs:
        by_position = interpreter.get_tensor(output["index"])
        np.testing.assert_array_equal(found[output["name"]], by_position)


def test_box_coder_and_operator_have_the_same_scales():
    assert float_tail.CENTER_SCALE == box_coder.CENTER_SCALE
    assert float_tail.SIZE_SCALE == box_coder.SIZE_SCALE


@pytest.mark.parametrize("io", ["float32", "uint8", "int8"])
def test_an_int8_body_hands_boxes_and_logits_over_in_scales_of_their_own(io):
    body = int8_file(NUM_CLASSES + 1, io=io, has_float_outputs=True)
    content = with_operator(body, "softmax")
    interpreter = load_interpreter(content)
    tensors = {t["name"]: t for t in interpreter.get_tensor_details() if t["name"]}
    assert interpreter.get_input_details()[0]["dtype"].__name__ == io
    operators = count_operators(content)
    assert operators["DEQUANTIZE"] == 2
    assert operators["FULLY_CONNECTED"] == 2
    scales = [
        tensor["quantization"][0]
        for tensor in tensors.values()
        if tensor["dtype"] == np.int8 and tensor["shape"].tolist()[1:2] == [12]
    ]
    assert len(scales) == len(set(scales)) == 2
    found = predict_outputs(interpreter, IMAGES)
    raw = predict_outputs(load_interpreter(body), IMAGES)
    scores = scores_of(raw["class_logits"][0], "softmax")
    # Of float precision: in int8, scores would be multiples of 1/256.
    assert found["detection_scores"][0, 0] == pytest.approx(scores.max(), abs=1e-6)


@pytest.mark.parametrize("io", ["float32", "uint8", "int8"])
def test_class_scores_are_the_softmax_without_background(io):
    body = int8_file(NUM_CLASSES + 1, io=io, has_float_outputs=True)
    content = append_class_scores(body)
    found = predict_outputs(load_interpreter(content), IMAGES)
    raw = predict_outputs(load_interpreter(body), IMAGES)
    assert sorted(found) == ["box_encodings", "class_scores"]
    np.testing.assert_array_equal(found["box_encodings"], raw["box_encodings"])
    for scores, logits in zip(found["class_scores"], raw["class_logits"], strict=True):
        np.testing.assert_allclose(scores, scores_of(logits, "softmax"), atol=1e-6)


@pytest.mark.parametrize("quantization", ["float32", "float16", "dynamic", "int8"])
def test_probabilities_are_the_softmax_of_the_logits(classifier, images, quantization):
    config = ExportConfig(quantization, calibration_images=16)
    body = convert_to_tflite(classifier, config, images, tail=lambda content: content)
    interpreter = load_interpreter(append_probabilities(body))
    assert output_names(interpreter) == ["probabilities"]
    expected = [slow.softmax(row) for row in predict(load_interpreter(body), images)]
    np.testing.assert_allclose(predict(interpreter, images), expected, atol=1e-6)


def test_weights_stay_aligned(classifier):
    content = convert_to_tflite(
        classifier, ExportConfig("float32"), tail=append_probabilities
    )
    model = schema.Model.GetRootAs(content)
    starts = [
        model.Buffers(i)._tab.Vector(model.Buffers(i)._tab.Offset(4))
        for i in range(model.BuffersLength())
        if model.Buffers(i).DataLength() > 0
    ]
    assert len(starts) > 8
    assert [start % 16 for start in starts] == [0] * len(starts)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"score_threshold": 1.0}, r"score_threshold must be in \[0, 1\).*=1.0"),
        ({"nms_iou_threshold": 0.0}, r"nms_iou_threshold must be in \(0, 1\].*=0.0"),
        ({"max_detections": 0}, "max_detections must be at least 1.*=0"),
        (
            {"anchors": anchors()[:-1]},
            r"anchors must have the shape \(12, 4\).*\(11, 4\)",
        ),
        ({"anchors": anchors() * [1, 1, 0, 1]}, "heights and widths above 0"),
        ({"anchors": anchors() * np.nan}, "anchors must be finite.*nan"),
    ],
)
def test_bad_options_are_named(changes, words):
    with pytest.raises(ValueError, match=words):
        with_operator(raw_file(NUM_CLASSES), **changes)


def test_a_file_of_other_outputs_is_refused(float_file):
    with pytest.raises(
        ValueError, match=r"box_encodings and class_logits.*logits \(fl"
    ):
        with_operator(float_file)
    with pytest.raises(ValueError, match="must be logits.*class_logits"):
        append_probabilities(raw_file(NUM_CLASSES))


def test_quantised_outputs_are_refused():
    body = int8_file(NUM_CLASSES, io="uint8", has_float_outputs=False)
    with pytest.raises(ValueError, match=r"of type float32.*box_encodings \(uint8\)"):
        with_operator(body)


def test_a_second_tail_is_refused():
    with pytest.raises(ValueError, match="Received: detection_boxes"):
        with_operator(with_operator(raw_file(NUM_CLASSES)))


@pytest.mark.parametrize(
    "append", [append_class_scores, lambda content: with_operator(content, "softmax")]
)
def test_a_softmax_of_the_background_alone_is_refused(append):
    with pytest.raises(ValueError, match="the background's and those of classes.*=1"):
        append(raw_file(1))


def test_a_threshold_of_zero_detects_every_class_and_no_other():
    content = with_operator(
        raw_file(NUM_CLASSES), score_threshold=0.0, max_detections=100
    )
    found = predict_outputs(load_interpreter(content), IMAGES)
    for classes, scores, count in zip(
        found["detection_classes"],
        found["detection_scores"],
        found["num_detections"].astype(int),
        strict=True,
    ):
        assert count < 36  # boxes of classes; some are suppressed
        assert set(classes[:count]) == {0, 1, 2}
        assert scores[:count].min() > 0
        assert not classes[count:].any()
