"""A detector that was found keeps its head, and what the flags say goes with it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from detection.config import DetectionDataConfig, SceneAugmentationConfig
from mobilenas_tf.json_io import write_architecture
from mobilenas_tf.training.config import TrainingConfig
from tests.small_detectors import SSDLITE, small_detector
from tests.tools.run_binary import Answer, run_binaries
from tools.detection_flags import DetectionSettings

# The data come after the flags and the architecture.
TRAIN = ("train_detector", "--dataset=coco:nowhere", "--workdir=run")
FOUND, SOFTMAX = "--architecture=found.json", "--architecture=softmax.json"
MINING = "--class_loss=hard_negative_mining"
CALLS = {
    "a head": (*TRAIN, FOUND, "--head=fpnlite", "--tower_depth=2"),
    "the head that it has": (*TRAIN, FOUND, "--head=ssdlite"),
    "a number taken back": (*TRAIN, FOUND, "--min_scale="),
    "a head for a classifier": (
        *(*TRAIN, "--architecture=mobilenet_v2", "--head=fpnlite"),
    ),
    "focal loss for softmax": (*TRAIN, SOFTMAX),
    "hard negatives for softmax": (*TRAIN, SOFTMAX, MINING),
    "the recipe": (*TRAIN, FOUND, "--flagfile=recipe.flags"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("found")
    softmax = dataclasses.replace(SSDLITE, score_activation="softmax")
    write_architecture(root / "found.json", small_detector(SSDLITE))
    write_architecture(root / "softmax.json", small_detector(softmax))
    recipes = Path(__file__).resolve().parents[2] / "tools" / "recipes"
    recipe = (recipes / "coco_ssdlite_320.flags").read_text()
    (root / "recipe.flags").write_text(recipe)
    return root


@pytest.fixture(scope="module")
def answers(folder: Path) -> dict[str, Answer]:
    return run_binaries(folder, CALLS)


@pytest.mark.slow
def test_flags_of_a_head_are_refused_for_a_detector(answers: dict[str, Answer]) -> None:
    assert answers["a head"].mistake == (
        "architecture must be a classifier for flags of a head; the detector "
        "small_detector keeps the head that it has. Received: --head=fpnlite, "
        "--tower_depth=2"
    )
    assert "Received: --head=ssdlite" in answers["the head that it has"].mistake


@pytest.mark.slow
def test_the_loss_is_checked_against_the_head_that_is_trained(
    answers: dict[str, Answer], folder: Path
) -> None:
    assert answers["focal loss for softmax"].mistake == (
        "score_activation must be sigmoid for class_loss=focal (hard_negative_mining "
        "takes softmax too). Received: score_activation='softmax'"
    )
    assert not (folder / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "allowed",
    [
        "a number taken back",
        "a head for a classifier",
        "hard negatives for softmax",
        "the recipe",
    ],
)
def test_what_goes_together_gets_as_far_as_the_data(
    answers: dict[str, Answer], allowed: str
) -> None:
    assert answers[allowed].mistake.startswith("dataset must name a folder that exists")


def test_only_a_head_that_is_made_is_on_record() -> None:
    settings = DetectionSettings(training=TrainingConfig())
    data, augmentation = DetectionDataConfig(), SceneAugmentationConfig()
    made = settings.run_config(data, augmentation)
    kept = settings.run_config(data, augmentation, makes_head=False)
    assert made.keys() - kept.keys() == {"head"}
    assert kept["loss"] == settings.loss
