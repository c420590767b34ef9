import dataclasses
import os
import stat
from pathlib import Path

import pytest

from export.bundle import ExportedFile, benchmark_path, check_drop, write_bundle
from export.bundle_facts import BundleFacts, bundle_name
from export.config import ExportConfig
from mobilenas_tf.json_io import read_architecture, read_json, to_plain
from mobilenas_tf.training.config import DataConfig
from tests.export.small_run import small_architecture

CLASSES = tuple(f"class {index}" for index in range(5))
FACTS = BundleFacts(
    "classifier",
    ExportConfig(quantization="float32"),
    small_architecture(),
    CLASSES,
    data_config=DataConfig(),
    parity={"num_images": 3, "tflite_accuracy": 2 / 3},
)


@pytest.fixture(scope="module")
def run_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def bundle(run_path: Path, float_file: bytes) -> ExportedFile:
    return write_bundle(run_path, float_file, FACTS, command=["export", "--x=1"])


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (ExportConfig(), "int8_uint8"),
        (ExportConfig(io="int8"), "int8_int8"),
        (ExportConfig(io="float32"), "int8"),
        (ExportConfig(quantization="int8_qat"), "int8_qat_uint8"),
        (ExportConfig(quantizer="litert"), "int8_uint8_litert"),
        (ExportConfig(weight_scales="tensor"), "int8_uint8_per_tensor"),
        (ExportConfig(postprocess=True), "int8_uint8_postprocess"),
        (ExportConfig(quantization="float32"), "float32"),
        (ExportConfig(quantization="float16"), "float16"),
        (ExportConfig(quantization="dynamic"), "dynamic"),
    ],
)
def test_what_tells_exports_apart_is_in_the_name(
    config: ExportConfig, name: str
) -> None:
    assert bundle_name(config) == name


def test_a_bundle_is_a_folder_of_its_own(
    bundle: ExportedFile, run_path: Path, float_file: bytes
) -> None:
    assert bundle.path == run_path / "float32" / "model.tflite"
    assert bundle.path.read_bytes() == float_file
    assert bundle.num_bytes == len(float_file)
    assert sorted(os.listdir(bundle.path.parent)) == [
        "ANDROID.md",
        "architecture.json",
        "export.json",
        "labels.txt",
        "model.tflite",
        "model_card.md",
        "parity.json",
    ]
    assert sorted(os.listdir(run_path)) == ["float32", "parity.json"]


@pytest.mark.parametrize(
    ("files", "model", "expected"),
    [
        (("run/config.json", "run/int8/export.json"), "run/int8/m.tflite", "run"),
        (("config.json", "int8/export.json"), "int8/m.tflite", "."),
        # A bundle that was copied elsewhere, other files of a run, no bundle at all.
        (("int8/export.json",), "int8/m.tflite", "int8"),
        (("run/config.json",), "run/int8/m.tflite", "run/int8"),
        (("run/config.json",), "run/m.tflite", "run"),
        ((), "m.tflite", "."),
    ],
)
def test_the_latency_of_a_runs_bundle_is_noted_in_the_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: tuple[str, ...],
    model: str,
    expected: str,
) -> None:
    for name in (*files, model):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert benchmark_path(Path(model)) == Path(expected) / "benchmark.json"
    absolute = tmp_path / model
    assert benchmark_path(absolute) == tmp_path / expected / "benchmark.json"


def test_a_model_of_the_folder_that_one_stands_in_is_found_in_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "int8").mkdir()
    for name in ("config.json", "int8/export.json", "int8/m.tflite"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path / "int8")
    assert benchmark_path(Path("m.tflite")) == Path("../benchmark.json")


def test_the_files_of_a_bundle_say_what_it_is(bundle: ExportedFile) -> None:
    folder = bundle.path.parent
    assert (folder / "labels.txt").read_text().splitlines() == list(CLASSES)
    assert read_architecture(folder / "architecture.json") == FACTS.architecture
    made_by = read_json(folder / "export.json")
    assert made_by["export"] == to_plain(FACTS.config)
    assert made_by["data"] == to_plain(FACTS.data_config)
    assert made_by["command"] == ["export", "--x=1"]
    assert {"versions", "git_revision", "cpu_model"} <= set(made_by)
    assert read_json(folder / "parity.json") == FACTS.parity


def test_the_card_has_costs_accuracy_and_latency(bundle: ExportedFile) -> None:
    card = (bundle.path.parent / "model_card.md").read_text()
    # 16 px, stem of stride 2: 8*8*(3*9*8 + 8*16 + 16*9 + 16*8 + 8*32) + 32*10
    assert "| multiply-adds | 0.056 M |" in card
    assert "| tflite_accuracy | 0.6667 |" in card
    assert "ms median" in card and "`export --x=1`" in card


def test_the_guide_is_of_this_file(bundle: ExportedFile) -> None:
    guide = (bundle.path.parent / "ANDROID.md").read_text()
    assert 'setModelAssetPath("model.tflite")' in guide
    assert "ImageClassifier" in guide and "ObjectDetector" not in guide
    assert "- `logits`, 1 x 5" in guide
    assert "ByteBuffer.allocateDirect(16 * 16 * 3 * 4)" in guide
    assert "Nothing on this page was tried on a phone" in guide


def test_another_export_replaces_its_own_bundle_only(
    bundle: ExportedFile, tmp_path: Path, float_file: bytes, int8_file: bytes
) -> None:
    write_bundle(tmp_path, float_file, FACTS, command=[])
    (tmp_path / "float32" / "old").touch()
    better = dataclasses.replace(FACTS, parity={"num_images": 4})
    write_bundle(tmp_path, float_file, better, command=[])
    assert not (tmp_path / "float32" / "old").exists()
    int8 = dataclasses.replace(FACTS, config=ExportConfig())
    write_bundle(tmp_path, int8_file, int8, command=[])
    assert read_json(tmp_path / "parity.json") == {
        "float32": {"num_images": 4},
        "int8_uint8": FACTS.parity,
    }


def test_others_may_open_a_bundle(tmp_path: Path, float_file: bytes) -> None:
    umask = os.umask(0o022)
    try:
        folder = write_bundle(tmp_path, float_file, FACTS, command=[]).path.parent
    finally:
        os.umask(umask)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_a_damaged_file_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be a .tflite file"):
        write_bundle(tmp_path, b"no model", FACTS, command=[])
    assert os.listdir(tmp_path) == []


def test_a_file_may_lose_what_it_was_allowed_to_and_no_more() -> None:
    config = ExportConfig(max_accuracy_drop=0.5)
    check_drop(config, 0.5)
    check_drop(ExportConfig(), 99.0)
    words = "max_accuracy_drop=0.5 points.*int8_qat.*int8_uint8 loses 0.75 points"
    with pytest.raises(ValueError, match=words):
        check_drop(config, 0.75)
    fine_tuned = ExportConfig(quantization="int8_qat", max_accuracy_drop=0.5)
    with pytest.raises(ValueError, match="nothing was written. Received"):
        check_drop(fine_tuned, 0.75)
