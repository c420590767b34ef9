from __future__ import annotations

from pathlib import Path

import pytest

from export.classifier_export import ExportedClassifier, export_classifier
from export.config import ExportConfig
from export.interpreter import load_interpreter, output_names
from mobilenas_tf.json_io import read_json
from mobilenas_tf.training.data import ClassificationData
from tests.export.small_run import digits, make_run

FLOAT32 = ExportConfig(quantization="float32")
INT8 = ExportConfig(calibration_images=32)


@pytest.fixture(scope="module")
def data() -> ClassificationData:
    return digits()


@pytest.fixture(scope="module")
def run_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("export") / "run")


@pytest.fixture(scope="module")
def float_export(run_path: Path, data: ClassificationData) -> ExportedClassifier:
    return export_classifier(run_path, data, FLOAT32, command=[])


def test_the_float_file_gives_the_networks_probabilities(
    float_export: ExportedClassifier,
) -> None:
    assert output_names(load_interpreter(float_export.file.path)) == ["probabilities"]
    parity = float_export.parity
    assert (parity.num_images, parity.top1_agreement) == (359, 1.0)
    assert parity.keras_accuracy == parity.tflite_accuracy
    # float32 sums of some hundred products: units of 2**-24 of logits below 10.
    assert parity.max_difference < 1e-5


@pytest.mark.slow
def test_the_int8_file_is_smaller_and_compared_on_as_many_images_as_asked_for(
    run_path: Path, data: ClassificationData, float_export: ExportedClassifier
) -> None:
    exported = export_classifier(run_path, data, INT8, command=[], max_parity_images=40)
    assert exported.file.num_bytes < float_export.file.num_bytes
    assert exported.parity.num_images == 40
    assert read_json(run_path / "parity.json")["int8_uint8"] == (
        exported.parity.to_json()
    )


@pytest.mark.slow
def test_an_int8_input_gives_int8_logits(
    run_path: Path, data: ClassificationData
) -> None:
    config = ExportConfig(io="int8", calibration_images=32)
    exported = export_classifier(
        run_path, data, config, command=[], max_parity_images=4
    )
    interpreter = load_interpreter(exported.file.path)
    assert output_names(interpreter) == ["logits"]
    assert interpreter.get_output_details()[0]["dtype"].__name__ == "int8"


def test_a_file_that_loses_too_much_is_not_written(
    tmp_path: Path, data: ClassificationData
) -> None:
    run_path = make_run(tmp_path / "run")
    before = sorted(run_path.iterdir())
    # No file can be better by all points that there are.
    config = ExportConfig(quantization="float32", max_accuracy_drop=-100.0)
    with pytest.raises(ValueError, match="at most max_accuracy_drop=-100 points"):
        export_classifier(run_path, data, config, command=[])
    assert sorted(run_path.iterdir()) == before


def test_data_of_another_size_are_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    run_path = make_run(tmp_path / "run")
    before = sorted(run_path.iterdir())
    with pytest.raises(ValueError, match="10 classes of .* at 16 px. Received: 10 cla"):
        export_classifier(run_path, digits(image_size_px=8), FLOAT32, command=[])
    assert sorted(run_path.iterdir()) == before


def test_a_classifier_has_no_boxes_to_finish(
    run_path: Path, data: ClassificationData
) -> None:
    with pytest.raises(ValueError, match="postprocess must be off for a classifier"):
        export_classifier(run_path, data, ExportConfig(postprocess=True), command=[])


def test_a_folder_without_trained_weights_is_named(
    tmp_path: Path, data: ClassificationData
) -> None:
    with pytest.raises(FileNotFoundError, match="architecture.json is missing"):
        export_classifier(tmp_path, data, FLOAT32, command=[])
    run_path = make_run(tmp_path / "run")
    (run_path / "trained.npz").unlink()
    with pytest.raises(FileNotFoundError, match="run, with trained.npz in it"):
        export_classifier(run_path, data, FLOAT32, command=[])
