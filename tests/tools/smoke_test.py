"""The binaries one after the other, as a user calls them, on the embedded digits.

Each runs once, in a process of its own and with tiny settings; the tests look at what
it left. What a network learns is the matter of the evidence scripts.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.tools.run_binary import Answer, run_binary

pytestmark = pytest.mark.slow

MAX_MACS = 300_000
NUM_TEST_IMAGES = 359
DATA = ("--dataset=digits", "--batch_size=64")
TRAINING = ("--epochs=1", "--learning_rate=0.8", "--batch_norm_momentum=0.9", "--json")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def _search(root: Path) -> Answer:
    return run_binary(
        root,
        "search_figs",
        *DATA,
        *TRAINING,
        "--space=figs_quantized_16",
        f"--max_macs={MAX_MACS}",
        "--workdir=search",
    )


def _train(root: Path, name: str, *arguments: str) -> Answer:
    return run_binary(
        root,
        "train_classifier",
        *DATA,
        *TRAINING,
        "--architecture=search",
        f"--workdir={name}",
        *arguments,
    )


def _export(root: Path, quantization: str) -> Answer:
    return run_binary(
        root,
        "export_tflite",
        *DATA,
        "--run=train",
        f"--quantization={quantization}",
        "--json",
    )


def _evaluate(root: Path, model: str) -> Answer:
    return run_binary(root, "evaluate_classifier", *DATA, f"--model={model}", "--json")


@pytest.fixture(scope="module")
def search(root: Path) -> Answer:
    return _search(root)


@pytest.fixture(scope="module")
def train(root: Path, search: Answer) -> Answer:
    return _train(root, "train")


@pytest.fixture(scope="module")
def int8_export(root: Path, train: Answer) -> Answer:
    return _export(root, "int8")


@pytest.fixture(scope="module")
def float_export(root: Path, train: Answer) -> Answer:
    return _export(root, "float32")


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _last_loss(run: Path) -> float:
    return json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["loss"]


RUN_FILES = {
    "architecture.json",
    "checkpoints",
    "config.json",
    "metrics.jsonl",
    "provenance.json",
    "report.html",
    "tensorboard",
}


def test_the_search_keeps_to_its_budget(root: Path, search: Answer) -> None:
    result = search.result
    assert list(result) == ["name", "macs", "params", "architecture"]
    assert 0.97 * MAX_MACS <= result["macs"] <= MAX_MACS
    assert result["architecture"] == str(root / "search" / "architecture.json")
    assert _names(root / "search") == RUN_FILES | {
        "inherited.weights.h5",
        "search.json",
    }


def test_the_same_search_again_does_not_search_again(
    root: Path, search: Answer
) -> None:
    metrics = (root / "search" / "metrics.jsonl").read_bytes()
    architecture = (root / "search" / "architecture.json").read_bytes()
    again = _search(root)
    assert again.result == search.result
    assert "Going on after epoch 1" in again.stdout
    assert (root / "search" / "metrics.jsonl").read_bytes() == metrics
    assert (root / "search" / "architecture.json").read_bytes() == architecture


def test_describe_counts_what_the_search_counted(root: Path, search: Answer) -> None:
    described = run_binary(
        "describe", "--architecture=search", "--json"
    ).result
    assert list(described) == [
        "name",
        "image_size_px",
        "num_classes",
        "params",
        "macs",
    ]
    assert (described["image_size_px"], described["num_classes"]) == (16, 10)
    for key in ("name", "params", "macs"):
        assert described[key] == search.result[key]


def test_training_leaves_a_run_folder(
    root: Path, train: Answer, search: Answer
) -> None:
    result = train.result
    assert list(result) == ["name", "macs", "params", "float_accuracy", "run"]
    assert (result["macs"], result["params"]) == (
        search.result["macs"],
        search.result["params"],
    )
    assert 0 <= result["float_accuracy"] <= 1
    assert result["run"] == str(root / "train")
    assert _names(root / "train") >= RUN_FILES | {
        "confusion.json",
        "summary.json",
        "trained.weights.h5",
    }
    assert "share of train" in train.stdout  # the balance of the classes


def test_the_same_training_again_does_not_train_again(
    root: Path, train: Answer
) -> None:
    metrics = (root / "train" / "metrics.jsonl").read_bytes()
    again = _train(root, "train")
    assert again.result == train.result
    assert "Going on after epoch 1" in again.stdout
    assert (root / "train" / "metrics.jsonl").read_bytes() == metrics


def test_another_config_in_the_same_folder_is_refused(
    root: Path, train: Answer
) -> None:
    before = {path: path.read_bytes() for path in (root / "train").glob("*.json*")}
    other = _train(root, "train", "--label_smoothing=0.2")
    assert other.mistake == (
        f"training/label_smoothing must be as in {root / 'train' / 'config.json'}, "
        "where a run began, or path a new folder. "
        "Received: training/label_smoothing=0.2 instead of 0.1"
    )
    assert {path: path.read_bytes() for path in before} == before


def test_fine_tuning_starts_from_the_weights_of_the_search(
    root: Path, train: Answer
) -> None:
    fine = _train(root, "fine", f"--init_weights={root / 'search'}")
    assert list(fine.result) == list(train.result)
    assert _last_loss(root / "fine") < _last_loss(root / "train")


def test_evaluation_repeats_the_trainings_accuracy(root: Path, train: Answer) -> None:
    result = _evaluate(root / "train").result
    assert list(result) == ["model", "accuracy", "num_images", "confusion"]
    assert result["model"] == str(root / "train")
    assert result["accuracy"] == train.result["float_accuracy"]
    assert result["num_images"] == NUM_TEST_IMAGES
    assert sum(map(sum, result["confusion"])) == NUM_TEST_IMAGES


def test_the_int8_file_takes_pixels_and_is_the_smaller_one(
    int8_export: Answer, float_export: Answer
) -> None:
    result = int8_export.result
    assert list(result) == [
        "model",
        "file_bytes",
        "num_images",
        "top1_agreement",
        "max_logit_difference",
        "signal_to_noise_db",
        "keras_accuracy",
        "tflite_accuracy",
        "accuracy_drop_points",
    ]
    model = Path(result["model"])
    assert model.name == "model_int8_uint8.tflite"
    assert model.stat().st_size == result["file_bytes"]
    assert result["file_bytes"] < float_export.result["file_bytes"]
    assert result["num_images"] == NUM_TEST_IMAGES
    assert model.with_suffix(".json").exists()


def test_the_float_file_answers_as_the_run(
    root: Path, train: Answer, float_export: Answer
) -> None:
    result = float_export.result
    assert Path(result["model"]) == root / "train" / "model_float32.tflite"
    assert (result["top1_agreement"], result["accuracy_drop_points"]) == (1.0, 0.0)
    assert result["keras_accuracy"] == train.result["float_accuracy"]


def test_a_tflite_file_is_evaluated_like_a_run(int8_export: Answer) -> None:
    model = int8_export.result["model"]
    result = _evaluate(Path(model)).result
    assert result["model"] == model
    assert result["accuracy"] == int8_export.result["tflite_accuracy"]


def test_the_benchmark_times_both_files(
    root: Path, int8_export: Answer, float_export: Answer
) -> None:
    models = [answer.result["model"] for answer in (int8_export, float_export)]
    output = root / "timings" / "both.json"
    answer = run_binary(
        "benchmark_tflite",
        f"--model={','.join(models)}",
        "--runs=3",
        "--repeats=2",
        f"--output={output}",
        "--json",
    )
    results = answer.result["results"]
    assert [result["model"] for result in results] == models
    for result in results:
        assert 0 < result["min_ms"] <= result["median_ms"] <= result["p90_ms"]
    assert json.loads(output.read_text()) == results


def test_a_file_that_is_no_tflite_stops_the_benchmark(
    root: Path, int8_export: Answer
) -> None:
    none, output = root / "none.tflite", root / "none" / "timings.json"
    none.write_text("no model")
    answer = run_binary(
        "benchmark_tflite",
        f"--model={int8_export.result['model']},{none}",
        f"--output={output}",
    )
    assert answer.mistake.startswith(f"{none} must be a .tflite file")
    assert not output.parent.exists()


def test_the_report_is_written_anew(root: Path, int8_export: Answer) -> None:
    report = root / "train" / "report.html"
    report.unlink()
    answer = run_binary("report", "--run=train", "--json")
    assert answer.result == {"report": str(report)}
    assert report.read_text().rstrip().endswith("</html>")


def _save_photos(folder: Path) -> None:
    """Makes red and blue photos of all kinds, one turned by EXIF, one broken."""
    turned = Image.Exif()
    turned[0x0112] = 6  # orientation: turn a quarter to the right
    for name, colour in (("blue", (20, 30, 220)), ("red", (220, 30, 20))):
        (folder / name).mkdir(parents=True)
        for index, suffix in enumerate(("jpg", "png", "webp", "bmp") * 4):
            photo = Image.new("RGB", (40 + 7 * index, 90 - 3 * index), colour)
            photo.save(folder / name / f"{index:02d}.{suffix}", exif=turned)
    (folder / "red" / "broken.jpg").write_bytes(b"no photo")


def test_a_folder_of_photos_is_trained_on(root: Path, search: Answer) -> None:
    folder = root / "photos"
    _save_photos(folder)
    answer = _train(
        root,
        "photos_run",
        f"--dataset=folder:{folder}",
        "--batch_size=8",
        "--class_weights=balanced",
        "--replace_head",
    )
    assert answer.result["run"] == str(root / "photos_run")
    assert {"blue", "red", "all"} <= {
        line.split()[0] for line in answer.stdout.splitlines() if line
    }
    assert "Skipped 1 photos" in answer.stderr
    assert str(folder / "red" / "broken.jpg") in answer.stderr
    confusion = json.loads((root / "photos_run" / "confusion.json").read_text())
    assert confusion["class_names"] == ["blue", "red"]


def test_no_half_written_file_stays(
    root: Path, train: Answer, int8_export: Answer
) -> None:
    assert [path for path in root.rglob(".*") if path.is_file()] == []
