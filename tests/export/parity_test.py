import json
import math

import numpy as np
import pytest

from export.float_tail import append_probabilities
from export.parity import compare_outputs, compare_predictions

KERAS = np.array([[3.0, 0.0], [0.0, 4.0], [1.0, 0.0], [0.0, 1.0]])
TFLITE = np.array([[3.0, 0.0], [0.0, 4.0], [0.0, 1.0], [0.0, 1.0]])


def test_report_on_four_images_of_which_one_flips():
    report = compare_predictions(KERAS, TFLITE, np.array([0, 1, 0, 0]))
    assert report.num_images == 4
    assert report.top1_agreement == 0.75
    assert report.max_difference == 1.0
    # Signal 9 + 16 + 1 + 1 = 27, noise 1 + 1 = 2.
    assert report.signal_to_noise_db == pytest.approx(10 * math.log10(27 / 2))
    assert (report.keras_accuracy, report.tflite_accuracy) == (0.75, 0.5)
    assert report.accuracy_drop_points == 25.0


def test_a_better_file_has_a_negative_drop():
    report = compare_predictions(TFLITE, KERAS, np.array([0, 1, 0, 1]))
    assert report.accuracy_drop_points == -25.0


def test_equal_logits_have_no_ratio_and_are_valid_json():
    report = compare_predictions(KERAS, KERAS, np.zeros(4, int))
    assert report.signal_to_noise_db is None
    assert report.top1_agreement == 1.0
    assert json.loads(json.dumps(report.to_json(), allow_nan=False))["num_images"] == 4


def test_logits_that_are_not_finite_name_their_side():
    broken = np.where(KERAS == 4, np.nan, KERAS)
    with pytest.raises(
        ValueError, match="predictions of tflite must be finite.*1 of 8"
    ):
        compare_predictions(KERAS, broken, np.zeros(4, int))
    with pytest.raises(ValueError, match="predictions of model must be finite.*1 of 8"):
        compare_predictions(broken, KERAS, np.zeros(4, int))


def test_float_file_agrees_fully_with_its_model(classifier, float_file, images):
    report = compare_outputs(classifier, float_file, images, np.zeros(16, int))
    assert report.top1_agreement == 1.0
    assert report.accuracy_drop_points == 0.0
    # float32 sums of 144 products: a few units of 2**-24 of logits below 10.
    assert report.max_difference < 1e-5


def test_probabilities_of_a_file_are_compared_with_probabilities(
    classifier, float_file, images
):
    content = append_probabilities(float_file)
    report = compare_outputs(classifier, content, images, np.zeros(16, int))
    assert report.top1_agreement == 1.0
    # Logits as close as above; the softmax's derivatives are at most 1/4.
    assert report.max_difference < 1e-5


def test_int8_file_is_read_from_a_path(classifier, int8_file, images, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(int8_file)
    report = compare_outputs(classifier, path, images, np.zeros(16, int))
    assert report.num_images == 16
    assert report.signal_to_noise_db is not None and report.signal_to_noise_db > 28


@pytest.mark.parametrize(("num_images", "num_labels"), [(0, 0), (4, 3)])
def test_labels_must_match_the_images(
    classifier, int8_file, images, num_images, num_labels
):
    with pytest.raises(ValueError, match=f"labels.*{num_labels}.*{num_images} images"):
        compare_outputs(
            classifier, int8_file, images[:num_images], np.zeros(num_labels, int)
        )
