import numpy as np
import pytest

from export.detector_file import open_detector_file
from export.float_tail import append_class_scores, append_postprocess
from export.metadata import BoxDecoding, write_detector_metadata
from tests.export.flat_heads import IMAGES, NUM_CLASSES, anchors, flat_heads, raw_file


def write(path, content, decoding):
    content = write_detector_metadata(
        content, class_names="abc", name="n", description="d", decoding=decoding
    )
    path.write_bytes(content)
    return path


def test_raw_heads_give_their_logits(tmp_path):
    path = write(tmp_path / "raw.tflite", raw_file(NUM_CLASSES), BoxDecoding(anchors()))
    file = open_detector_file(path, num_threads=2)
    assert (file.name, file.kind) == (str(path), "logits")
    expected = flat_heads(NUM_CLASSES).predict(IMAGES, verbose=0)
    for name, values in file(IMAGES).items():
        np.testing.assert_allclose(values, expected[name], atol=1e-5)


def test_a_softmax_head_gives_its_scores(tmp_path):
    content = append_class_scores(raw_file(NUM_CLASSES + 1))
    path = write(tmp_path / "scores.tflite", content, BoxDecoding(anchors()))
    file = open_detector_file(path)
    assert file.kind == "scores"
    scores = file(IMAGES)["class_scores"]
    assert scores.shape == (4, 12, 3)
    assert 0 < scores.min() and scores.sum(axis=-1).max() < 1


@pytest.mark.parametrize("is_class_agnostic", [False, True])
def test_detections_are_blank_beyond_their_number(tmp_path, is_class_agnostic):
    content = append_postprocess(
        raw_file(NUM_CLASSES),
        anchors=anchors(),
        score_activation="sigmoid",
        score_threshold=0.9,
        nms_iou_threshold=0.4,
        max_detections=30,
        is_class_agnostic=is_class_agnostic,
    )
    file = open_detector_file(write(tmp_path / "d.tflite", content, None))
    assert file.kind == "detections"
    found = file(np.concatenate([IMAGES, IMAGES[::-1]]))
    assert found["boxes_normalized"].shape == (8, 30, 4)
    assert found["classes"].dtype == found["num_detections"].dtype == np.int32
    for index, count in enumerate(found["num_detections"]):
        assert 0 < count < 30
        scores = found["scores"][index]
        assert (np.diff(scores[:count]) <= 0).all() and scores[count - 1] >= 0.9
        assert not scores[count:].any()
        assert not found["boxes_normalized"][index, count:].any()
        assert (found["classes"][index, :count] >= 0).all()
        assert (found["classes"][index, count:] == -1).all()


def test_a_classifier_is_no_detector(tmp_path, float_file):
    path = tmp_path / "trees.tflite"
    path.write_bytes(float_file)
    with pytest.raises(ValueError, match="trees.tflite must be a detector.*d: logits"):
        open_detector_file(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_detector_file(tmp_path / "nowhere.tflite")
