from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from export.bundle import ExportedFile, export_run, tflite_name
from export.config import ExportConfig
from mobilenas_tf.json_io import read_json, to_plain
from mobilenas_tf.training.data import ClassificationData
from tests.export.small_run import digits, make_run

FLOAT32 = ExportConfig(quantization="float32")
INT8 = ExportConfig(calibration_images=32)


@pytest.fixture(scope="module")
def data() -> ClassificationData:
    return digits()


@pytest.fixture(scope="module")
def run_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("bundle") / "run")


@pytest.fixture(scope="module")
def float_export(run_path: Path, data: ClassificationData) -> ExportedFile:
    return export_run(run_path, data, FLOAT32, command=["export", "--x=1"])


@pytest.fixture(scope="module")
def int8_export(
    run_path: Path, data: ClassificationData, float_export: ExportedFile
) -> ExportedFile:
    """The second export into the folder, compared on 40 images."""
    return export_run(run_path, data, INT8, command=["export"], max_parity_images=40)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (ExportConfig(), "model_int8_uint8.tflite"),
        (ExportConfig(io="int8"), "model_int8_int8.tflite"),
        (ExportConfig(io="float32"), "model_int8.tflite"),
        (ExportConfig(quantization="float32"), "model_float32.tflite"),
        (ExportConfig(quantization="float16"), "model_float16.tflite"),
        (ExportConfig(quantization="dynamic"), "model_dynamic.tflite"),
    ],
)
def test_the_file_is_named_by_quantization_and_input(
    config: ExportConfig, name: str
) -> None:
    assert tflite_name(config) == name


def test_the_float_file_agrees_with_its_network(float_export: ExportedFile) -> None:
    assert float_export.path.read_bytes()[4:8] == b"TFL3"
    assert float_export.num_bytes == float_export.path.stat().st_size
    parity = float_export.parity
    assert (parity.num_images, parity.top1_agreement) == (359, 1.0)
    assert parity.keras_accuracy == parity.tflite_accuracy
    # float32 sums of some hundred products: units of 2**-24 of logits below 10.
    assert parity.max_logit_difference < 1e-5


def test_beside_the_file_stands_what_made_it(
    float_export: ExportedFile, data: ClassificationData
) -> None:
    made_by = read_json(float_export.path.with_suffix(".json"))
    assert made_by["export"] == to_plain(FLOAT32)
    assert made_by["data"] == to_plain(data.config)
    assert made_by["parity"] == to_plain(float_export.parity)
    assert made_by["command"] == ["export", "--x=1"]
    assert {"versions", "git_revision", "cpu_model"} <= set(made_by)


@pytest.mark.slow
def test_a_second_export_stands_beside_the_first(
    int8_export: ExportedFile, float_export: ExportedFile, run_path: Path
) -> None:
    assert sorted(path.name for path in run_path.iterdir()) == [
        "architecture.json",
        "model_float32.json",
        "model_float32.tflite",
        "model_int8_uint8.json",
        "model_int8_uint8.tflite",
        "parity.json",
        "trained.npz",
    ]
    assert int8_export.path.stat().st_size < float_export.path.stat().st_size
    assert int8_export.parity.num_images == 40
    assert read_json(run_path / "parity.json") == {
        "model": "model_int8_uint8.tflite",
        **dataclasses.asdict(int8_export.parity),
    }


def test_data_of_another_size_are_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    run_path = make_run(tmp_path / "run")
    before = sorted(run_path.iterdir())
    with pytest.raises(ValueError, match="10 classes of .* at 16 px. Received: 10 cla"):
        export_run(run_path, digits(image_size_px=8), FLOAT32, command=[])
    assert sorted(run_path.iterdir()) == before


def test_a_folder_without_trained_weights_is_named(
    tmp_path: Path, data: ClassificationData
) -> None:
    with pytest.raises(FileNotFoundError, match="architecture.json is missing"):
        export_run(tmp_path, data, FLOAT32, command=[])
    run_path = make_run(tmp_path / "run")
    (run_path / "trained.npz").unlink()
    with pytest.raises(FileNotFoundError, match="run, with trained.npz in it"):
        export_run(run_path, data, FLOAT32, command=[])
