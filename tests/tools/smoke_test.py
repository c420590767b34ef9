"""The binaries one after the other, as a user calls them, on the embedded digits.

Each runs in a process of its own with tiny settings; the tests look at what it printed
and left. What a network learns is the matter of the evidence scripts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.tools.run_binary import Answer, run_binary

pytestmark = pytest.mark.slow

MAX_MACS = 300_000
NUM_TEST_IMAGES = 359
DATA = ("--dataset=digits", "--batch_size=64", "--json")
TRAINING = ("--epochs=1", "--learning_rate=0.8", "--batch_norm_momentum=0.9")
RUN_FILES = {
    "architecture.json",
    "checkpoints",
    "config.json",
    "metrics.jsonl",
    "provenance.json",
    "report.html",
    "tensorboard",
}


def _search(root: Path) -> Answer:
    space = ("--space=figs_quantized_16", f"--max_macs={MAX_MACS}")
    return run_binary(root, "search_figs", *DATA, *TRAINING, *space, "--workdir=search")


def _train(root: Path, name: str, *arguments: str) -> Answer:
    run = ("--architecture=search", f"--workdir={name}")
    return run_binary(root, "train_classifier", *DATA, *TRAINING, *run, *arguments)


def _export(root: Path, quantization: str) -> Any:
    arguments = ("--run=train", f"--quantization={quantization}")
    return run_binary(root, "export_tflite", *DATA, *arguments).result


def _evaluate(root: Path, model: str) -> Any:
    return run_binary(root, "evaluate_classifier", *DATA, f"--model={model}").result


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which all binaries are started."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def search(root: Path) -> Answer:
    return _search(root)


@pytest.fixture(scope="module")
def train(root: Path, search: Answer) -> Answer:
    return _train(root, "train")


@pytest.fixture(scope="module")
def int8_export(root: Path, train: Answer) -> Any:
    return _export(root, "int8")


@pytest.fixture(scope="module")
def float_export(root: Path, train: Answer) -> Any:
    return _export(root, "float32")


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _last_metrics(run: Path) -> dict[str, Any]:
    return json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])


def test_the_search_keeps_to_its_budget(root: Path, search: Answer) -> None:
    result = search.result
    names = ["name", "macs", "params", "architecture", "snapshots"]
    assert list(result) == names
    assert result["snapshots"] == []
    assert 0.97 * MAX_MACS <= result["macs"] <= MAX_MACS
    assert result["architecture"] == "search/architecture.json"
    assert _names(root / "search") == RUN_FILES | {
        "inherited.npz",
        "search.json",
    }


def test_the_same_search_again_does_not_search_again(
    root: Path, search: Answer
) -> None:
    files = [root / "search" / name for name in ("metrics.jsonl", "architecture.json")]
    before = [path.read_bytes() for path in files]
    again = _search(root)
    assert again.result == search.result
    assert "Going on in search after epoch 1" in again.stdout
    assert [path.read_bytes() for path in files] == before


def test_describe_counts_what_the_search_counted(root: Path, search: Answer) -> None:
    described = run_binary(root, "describe", "--architecture=search", "--json").result
    assert described == {
        "name": search.result["name"],
        "image_size_px": 16,
        "num_classes": 10,
        "params": search.result["params"],
        "macs": search.result["macs"],
    }


def test_training_leaves_a_run_folder(
    root: Path, train: Answer, search: Answer
) -> None:
    result = train.result
    assert list(result) == ["name", "macs", "params", "float_accuracy", "run"]
    for cost in ("macs", "params"):
        assert result[cost] == search.result[cost]
    assert result["run"] == "train"
    assert _names(root / "train") >= RUN_FILES | {
        "confusion.json",
        "summary.json",
        "trained.npz",
    }


def test_the_same_training_again_does_not_train_again(
    root: Path, train: Answer
) -> None:
    metrics = (root / "train" / "metrics.jsonl").read_bytes()
    again = _train(root, "train")
    assert again.result == train.result
    assert "Going on in train after epoch 1" in again.stdout
    assert (root / "train" / "metrics.jsonl").read_bytes() == metrics


def test_another_config_in_the_same_folder_is_refused(
    root: Path, train: Answer
) -> None:
    before = {path: path.read_bytes() for path in (root / "train").glob("*.json*")}
    mistake = _train(root, "train", "--label_smoothing=0.2").mistake
    assert mistake.startswith(
        "training/label_smoothing must be as in train/config.json, where a run began"
    )
    assert mistake.endswith("Received: training/label_smoothing=0.2 instead of 0.1")
    assert {path: path.read_bytes() for path in before} == before


def test_fine_tuning_starts_from_the_weights_of_the_search(
    root: Path, train: Answer
) -> None:
    fine = _train(root, "fine", "--init_weights=search")
    assert fine.result.keys() == train.result.keys()
    assert _last_metrics(root / "fine")["loss"] < _last_metrics(root / "train")["loss"]


def test_evaluation_repeats_the_trainings_accuracy(root: Path, train: Answer) -> None:
    result = _evaluate(root, "train")
    assert list(result) == ["model", "accuracy", "num_images", "confusion"]
    assert result["model"] == "train"
    assert result["accuracy"] == train.result["float_accuracy"]
    assert result["num_images"] == NUM_TEST_IMAGES
    assert sum(map(sum, result["confusion"])) == NUM_TEST_IMAGES


def test_the_int8_file_takes_pixels_and_is_the_smaller_one(
    root: Path, int8_export: Any, float_export: Any
) -> None:
    assert list(int8_export) == [
        "model",
        "file_bytes",
        "num_images",
        "top1_agreement",
        "max_difference",
        "signal_to_noise_db",
        "keras_accuracy",
        "tflite_accuracy",
        "accuracy_drop_points",
    ]
    assert int8_export["model"] == "train/int8_uint8/model.tflite"
    size = (root / int8_export["model"]).stat().st_size
    assert size == int8_export["file_bytes"] < float_export["file_bytes"]
    assert int8_export["num_images"] == NUM_TEST_IMAGES
    folder = (root / int8_export["model"]).parent
    assert {path.name for path in folder.iterdir()} >= {
        *("labels.txt", "model_card.md", "ANDROID.md", "parity.json", "export.json")
    }


def test_the_float_file_answers_as_the_run(train: Answer, float_export: Any) -> None:
    assert float_export["model"] == "train/float32/model.tflite"
    assert float_export["top1_agreement"] == 1.0
    for accuracy in ("keras_accuracy", "tflite_accuracy"):
        assert float_export[accuracy] == train.result["float_accuracy"]


def test_a_tflite_file_is_evaluated_like_a_run(root: Path, int8_export: Any) -> None:
    result = _evaluate(root, int8_export["model"])
    assert list(result) == ["model", "accuracy", "num_images", "confusion"]
    assert result["accuracy"] == int8_export["tflite_accuracy"]


def test_the_benchmark_times_both_files(
    root: Path, int8_export: Any, float_export: Any
) -> None:
    models = [int8_export["model"], float_export["model"]]
    results = run_binary(
        root,
        "benchmark_tflite",
        f"--model={','.join(models)}",
        "--runs=3",
        "--repeats=2",
        "--output=timings/both.json",
        "--json",
    ).result["results"]
    assert [result["model"] for result in results] == models
    for result in results:
        assert 0 < result["min_ms"] <= result["median_ms"] <= result["p90_ms"]
    document = json.loads((root / "timings" / "both.json").read_text())
    assert document["results"] == results
    assert (root / "timings" / "both.png").read_bytes()[:4] == b"\x89PNG"


def test_a_file_that_is_no_tflite_stops_the_benchmark(
    root: Path, int8_export: Any
) -> None:
    (root / "none.tflite").write_text("no model")
    models = f"--model={int8_export['model']},none.tflite"
    answer = run_binary(root, "benchmark_tflite", models, "--output=none/timings.json")
    assert answer.mistake.startswith("none.tflite must be a .tflite file")
    assert not (root / "none").exists()


def test_the_report_is_written_anew(root: Path, int8_export: Any) -> None:
    report = root / "train" / "report.html"
    report.unlink()
    answer = run_binary(root, "report", "--run=train", "--json")
    assert answer.result == {"report": "train/report.html"}
    assert report.read_text().rstrip().endswith("</html>")


def _save_photos(folder: Path) -> None:
    """Makes blue and red photos of many sizes and kinds, and one that is broken."""
    turned = Image.Exif()
    turned[0x0112] = 6  # EXIF orientation: a quarter to the right
    for name, colour in (("blue", (20, 30, 220)), ("red", (220, 30, 20))):
        (folder / name).mkdir(parents=True)
        for index, suffix in enumerate(("jpg", "png", "webp", "tif") * 4):
            photo = Image.new("RGB", (40 + 7 * index, 90 - 3 * index), colour)
            photo.save(folder / name / f"{index:02d}.{suffix}", exif=turned)
    (folder / "red" / "broken.jpg").write_bytes(b"no photo")


def test_a_folder_of_photos_is_trained_on(root: Path, search: Answer) -> None:
    _save_photos(root / "photos")
    answer = _train(
        root,
        "of_photos",
        "--dataset=folder:photos",
        "--batch_size=8",
        "--class_weights=balanced",
        "--replace_head",
    )
    assert answer.result["run"] == "of_photos"
    balance = [line.split() for line in answer.stdout.splitlines()]
    assert ["blue", "red", "all"] == [row[0] for row in balance[1:4]]
    assert "Skipped 1 photos" in answer.stderr
    assert "photos/red/broken.jpg" in answer.stderr
    confusion = json.loads((root / "of_photos" / "confusion.json").read_text())
    assert confusion["class_names"] == ["blue", "red"]


def test_no_half_written_file_stays(
    root: Path, train: Answer, int8_export: Any
) -> None:
    assert [path for path in root.rglob(".*") if path.is_file()] == []
