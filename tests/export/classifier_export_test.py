from __future__ import annotations

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest

from export.classifier_export import ExportedClassifier, export_classifier
from export.config import ExportConfig
from export.interpreter import count_operators, load_interpreter, output_names
from export.parity import compare_outputs
from mobilenas_tf.json_io import read_json
from mobilenas_tf.models.compact import build_network
from mobilenas_tf.models.network_io import load_network, save_network
from mobilenas_tf.spec import BitWidths, Stage
from mobilenas_tf.training.data import ClassificationData
from tests.export.small_run import digits, make_run, small_architecture

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


@pytest.mark.slow
def test_blocks_of_8_bits_are_exported_as_int8_like_any_other(
    tmp_path: Path, data: ClassificationData
) -> None:
    run_path = _rounded_run(tmp_path / "run", data, BitWidths(8, 8))
    exported = export_classifier(run_path, data, INT8, command=[])
    operators = count_operators(exported.file.path.read_bytes())
    # Integers between the input and the tail of probabilities, and no QUANTIZE inside.
    assert operators["CONV_2D"] == 4 and operators["DEPTHWISE_CONV_2D"] == 1
    float_types = {
        tensor["name"]
        for tensor in load_interpreter(exported.file.path).get_tensor_details()
        if tensor["dtype"] == np.float32 and tensor["name"]
    }
    assert len(float_types) <= 2  # logits and probabilities of the tail
    # The trained network itself, which rounds by its own steps.
    _, network = load_network(run_path)
    images, labels = next(iter(data.test()))
    parity = compare_outputs(
        network, exported.file.path, np.array(images), np.array(labels)
    )
    assert parity.signal_to_noise_db is not None and parity.signal_to_noise_db > 25


def test_fewer_bits_are_refused_by_the_path_of_the_block(
    tmp_path: Path, data: ClassificationData
) -> None:
    run_path = _rounded_run(tmp_path / "run", data, BitWidths(4, 8))
    before = sorted(run_path.iterdir())
    for config in (FLOAT32, INT8):
        with pytest.raises(
            ValueError, match="stage1/block0 must be w8a8, .*exported.* Received: w4a8"
        ):
            export_classifier(run_path, data, config, command=[])
    assert sorted(run_path.iterdir()) == before


def _rounded_run(path: Path, data: ClassificationData, widths: BitWidths) -> Path:
    """Writes the network of `small_run` with rounded blocks after a few batches."""
    keras.utils.set_random_seed(0)
    architecture = small_architecture()
    (block,) = architecture.stages[0].blocks
    block = dataclasses.replace(block, bit_widths=widths)
    architecture = dataclasses.replace(architecture, stages=(Stage((block,)),))
    network = build_network(architecture, batch_norm_momentum=0.5)
    for images, *_ in data.train_epoch(0).take(5):
        network(images, training=True)
    path.mkdir(parents=True)
    save_network(path, architecture, network)
    return path
