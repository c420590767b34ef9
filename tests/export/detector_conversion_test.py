"""What `decoding.json` says of a raw detector's file is what is left to do with it."""

import numpy as np
import pytest

from export.android_guide import android_guide
from export.bundle_facts import BundleFacts
from export.config import ExportConfig
from export.detector_conversion import BoxPostprocess, convert_detector
from export.detector_file import open_detector_file
from tests.export.flat_heads import IMAGES, NUM_CLASSES, anchors, flat_heads
from tests.small_detectors import SSDLITE, small_detector

FLOAT = ExportConfig("float32")
INT8_INPUT = ExportConfig("int8", "int8", calibration_images=len(IMAGES))
UINT8_INPUT = ExportConfig("int8", calibration_images=len(IMAGES))


def softmax(x):
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


# By what `score_activation` says.
SCORES_OF = {
    "none": lambda outputs: outputs["class_scores"],
    "sigmoid": lambda outputs: 1 / (1 + np.exp(-outputs["class_logits"])),
    "softmax": lambda outputs: softmax(outputs["class_logits"])[..., 1:],
}


@pytest.mark.parametrize(
    ("head", "config", "left"),
    [
        ("sigmoid", FLOAT, "sigmoid"),
        ("sigmoid", INT8_INPUT, "sigmoid"),
        ("softmax", FLOAT, "none"),
        ("softmax", UINT8_INPUT, "none"),
        ("softmax", INT8_INPUT, "softmax"),
    ],
)
def test_what_is_left_to_do_gives_the_network_s_scores(head, config, left):
    network = flat_heads(NUM_CLASSES + (head == "softmax"))
    boxes = BoxPostprocess(anchors(), head, 0.1, 0.5, 10)
    content = convert_detector(
        network, config, lambda count: IMAGES[:count], boxes, class_names="abc"
    )
    decoding = boxes.to_json(config)
    assert decoding["score_activation"] == left
    found = SCORES_OF[left](open_detector_file(content)(IMAGES))
    expected = SCORES_OF[head](network.predict(IMAGES, verbose=0))
    # Steps of int8 logits, of a range of about 10, are 0.04: 0.01 of a probability.
    np.testing.assert_allclose(found, expected, atol=1e-5 if config is FLOAT else 0.05)


def test_the_words_name_the_output_that_the_file_has():
    boxes = BoxPostprocess(anchors(), "softmax", 0.1, 0.5, 10)
    assert boxes.to_json(FLOAT)["score"] == "class_scores as they are"
    assert "background" in boxes.to_json(INT8_INPUT)["score"]


def test_the_guide_sends_there_for_boxes_and_scores():
    facts = BundleFacts(
        "raw_detector", FLOAT, small_detector(SSDLITE), ("a", "b", "c"), None, {}
    )
    guide = android_guide(facts, {"class_scores": (1, 12, 3)})
    words = " ".join(guide.split())
    assert "`decoding.json` has the anchors, how boxes are decoded and what is" in words
    assert "left to do with the scores" in words
