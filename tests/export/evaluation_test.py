from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from export.config import ExportConfig
from export.evaluation import OpenClassifier, open_classifier
from export.tflite import convert_to_tflite
from mobilenas_tf.training.classifier import evaluate_predictions
from tests.export.small_run import digits, make_run


def _brightest_channel(shape: tuple[int, int, int]) -> keras.Model:
    """Returns a network whose logits are the means of the image's channels."""
    inputs = keras.Input(shape)
    means = keras.layers.GlobalAveragePooling2D()(inputs)
    dense = keras.layers.Dense(shape[-1], kernel_initializer="identity")
    return keras.Model(inputs, dense(means))


def test_a_run_folder_gives_its_size_classes_and_answers(tmp_path: Path) -> None:
    run_path = make_run(tmp_path / "run")
    classifier = open_classifier(run_path)
    assert classifier.name == str(run_path)
    assert (classifier.image_size_px, classifier.num_classes) == (16, 10)
    data = digits()
    evaluation = evaluate_predictions(classifier.predict, data)
    assert evaluation.confusion.shape == (10, 10)
    assert evaluation.accuracy == pytest.approx(np.trace(evaluation.confusion) / 359)
    images_by_class = np.bincount(data.test_split.labels, minlength=10)
    np.testing.assert_array_equal(evaluation.confusion.sum(axis=1), images_by_class)


@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_a_tflite_file_gives_its_size_classes_and_answers(
    quantization: str, tmp_path: Path
) -> None:
    colours = np.random.default_rng(0).integers(0, 3, 12)
    images = np.full((12, 8, 8, 3), -0.5, np.float32)
    images[np.arange(12), :, :, colours] = 0.5
    config = ExportConfig(quantization=quantization, calibration_images=12)
    content = convert_to_tflite(_brightest_channel((8, 8, 3)), config, images)
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    classifier = open_classifier(path, num_threads=2)
    assert classifier.name == str(path)
    assert (classifier.image_size_px, classifier.num_classes) == (8, 3)
    np.testing.assert_array_equal(classifier.predict(images), colours)


def test_other_classes_than_the_datas_are_refused() -> None:
    classifier = OpenClassifier("runs/train", 16, 5, np.ravel)
    classifier.check_classes(5)
    with pytest.raises(
        ValueError,
        match="classes of runs/train must be the data set's 2. Received: 5 classes",
    ):
        classifier.check_classes(2)


@pytest.mark.parametrize(
    ("make_model", "shapes"),
    [
        (lambda: _brightest_channel((4, 8, 3)), r"\W1, 4, 8, 3\W to \W1, 3\W"),
        (lambda: _brightest_channel((8, 8, 1)), r"\W1, 8, 8, 1\W to \W1, 1\W"),
        (
            lambda: keras.Sequential([keras.Input((8, 8, 3)), keras.layers.ReLU()]),
            r"\W1, 8, 8, 3\W to \W1, 8, 8, 3\W",
        ),
    ],
)
def test_a_file_that_is_no_classifier_of_square_images_is_refused(
    make_model: Callable[[], keras.Model], shapes: str, tmp_path: Path
) -> None:
    path = tmp_path / "other.tflite"
    config = ExportConfig(quantization="float32")
    path.write_bytes(convert_to_tflite(make_model(), config))
    with pytest.raises(ValueError, match=f"other.tflite must be .*{shapes}"):
        open_classifier(path)


def test_a_path_with_nothing_to_open_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="architecture.json is missing"):
        open_classifier(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_classifier(tmp_path / "absent.tflite")
    text = tmp_path / "text.tflite"
    text.write_text("no model")
    with pytest.raises(ValueError, match="text.tflite must be a .tflite file"):
        open_classifier(text)
