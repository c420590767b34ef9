"""The binaries of detection one after the other, as a user calls them, on tiny photos.

What a detector learns is the matter of the evidence scripts.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detection.coco_eval import METRICS
from mobilenas_tf.json_io import read_architecture, read_json
from tests.detection.coco_folder import box_row, image_row, write_split
from tests.tools.run_binary import Answer, run_binary

pytestmark = pytest.mark.slow

DATA = ("--dataset=coco:photos", "--json")
SIZES = ("--image_size_px=64", "--batch_size=4", "--validation_fraction=0.25")
TRAINING = ("--epochs=1", "--batch_norm_momentum=0.9")
MAX_MACS = 4_000_000
MAX_DETECTIONS = 40


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which all binaries are started, with 16 photos."""
    root = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    for name, count, first in (("train", 12, 1), ("val", 4, 100)):
        images = [
            image_row(first + index, height=40, width=60) for index in range(count)
        ]
        boxes = [
            box_row(image["id"], [*rng.uniform(0, 15, 2), 24.0, 18.0])
            for image in images
        ]
        write_split(root / "photos", name, images, boxes)
    return root


@pytest.fixture(scope="module")
def search(root: Path) -> Answer:
    budget = ("--space=figs_widths", f"--max_macs={MAX_MACS}")
    return run_binary(
        root, "search_detector", *DATA, *SIZES, *TRAINING, *budget, "--workdir=search"
    )


@pytest.fixture(scope="module")
def train(root: Path, search: Answer) -> Answer:
    source = ("--architecture=search", "--init_weights=search", "--workdir=train")
    source += (f"--max_detections={MAX_DETECTIONS}",)
    return run_binary(root, "train_detector", *DATA, *SIZES, *TRAINING, *source)


@pytest.fixture(scope="module")
def export(root: Path, train: Answer) -> Any:
    return run_binary(root, "export_tflite", "--run=train", "--json").result


def _evaluate(root: Path, model: str, *others: str) -> Any:
    # Equal scores, which an untrained network has, fall as the threads share them out.
    arguments = (f"--model={model}", "--num_threads=1", "--batch_size=4")
    arguments += ("--validation_fraction=0.25",)
    return run_binary(root, "evaluate_detector", *DATA, *arguments, *others).result


def test_the_search_keeps_the_whole_detector_to_its_budget(search: Answer, root: Path):
    assert 0.9 * MAX_MACS <= search.result["macs"] <= MAX_MACS
    architecture = read_architecture(root / "search" / "architecture.json")
    described = run_binary(root, "describe", "--architecture=search", "--json").result
    assert described["macs"] == search.result["macs"]
    assert architecture.head.num_classes == described["num_classes"] == 3


def test_training_leaves_weights_numbers_and_pictures(train: Answer, root: Path):
    assert train.result["macs"] <= MAX_MACS
    files = {path.name for path in (root / "train").iterdir()}
    assert files >= {
        "architecture.json",
        "coco_results.json",
        "config.json",
        "contact_sheet.jpg",
        "detection_evaluation.json",
        "report.html",
        "summary.json",
        "trained.npz",
    }
    document = read_json(root / "train" / "detection_evaluation.json")
    assert document["num_images"] == 4
    assert document["metrics"]["ap"] == train.result["float_ap"]
    assert "Detection" in (root / "train" / "report.html").read_text()


def test_the_same_command_evaluates_the_run_and_its_exported_file(
    export: Any, train: Answer, root: Path
):
    of_run = _evaluate(root, "train")
    assert list(of_run) == [
        *("model", "num_images", *METRICS, "score_threshold", "ap_by_class")
    ]
    assert of_run["ap"] == pytest.approx(train.result["float_ap"])
    assert export["keras_ap"] == pytest.approx(train.result["float_ap"])
    of_file = _evaluate(root, export["model"])
    assert of_file["ap"] == pytest.approx(export["tflite_ap"])
    assert export["model"] == "train/int8_uint8/model.tflite"


def test_a_file_that_finishes_its_boxes_finds_as_much(export: Any, root: Path):
    arguments = ("--run=train", "--postprocess", "--json")
    finished = run_binary(root, "export_tflite", *arguments).result
    name = "int8_uint8_postprocess"
    assert finished["model"] == f"train/{name}/model.tflite"
    assert not (root / "train" / name / "decoding.json").exists()
    assert (root / "train" / "int8_uint8" / "decoding.json").exists()
    assert finished["tflite_ap"] == pytest.approx(export["tflite_ap"], abs=0.01)
    assert _evaluate(root, finished["model"])["ap"] == pytest.approx(
        finished["tflite_ap"]
    )


def _detections_of_an_image(root: Path, model: str, *flags: str) -> int:
    """Returns the most detections that evaluating a model finds in an image."""
    _evaluate(root, model, "--output=out", *flags)
    results = read_json(root / "out" / "coco_results.json")
    return max(Counter(result["image_id"] for result in results).values())


def test_what_counts_as_a_detection_is_as_in_the_run_unless_flags_say_otherwise(
    export: Any, root: Path
):
    # A network that has hardly learnt finds something everywhere.
    for model in ("train", export["model"]):
        assert _detections_of_an_image(root, model) == MAX_DETECTIONS
        assert _detections_of_an_image(root, model, "--max_detections=3") == 3


def test_flags_choose_the_detections_that_a_finished_file_gives(
    export: Any, root: Path
):
    before = read_json(root / "train" / "summary.json")
    arguments = ("--run=train", "--postprocess", "--max_detections=5", "--json")
    finished = run_binary(root, "export_tflite", *arguments).result
    folder = root / Path(finished["model"]).parent
    made_by = read_json(folder / "export.json")
    chosen = {"score_threshold": 0.001, "nms_iou_threshold": 0.6, "max_detections": 5}
    assert made_by["detections"] == chosen
    assert "max detections 5" in (folder / "model_card.md").read_text()
    assert _detections_of_an_image(root, finished["model"]) == 5
    assert read_json(root / "train" / "summary.json") == before
