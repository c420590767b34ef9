"""What counts as a detection: what is recorded, changed by flags, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from absl import flags

from detection.config import PostprocessConfig
from export.float_tail import append_postprocess
from mobilenas_tf.json_io import write_architecture, write_json
from tests.export.flat_heads import NUM_CLASSES, anchors, raw_file
from tests.export.small_run import small_architecture
from tests.small_detectors import SSDLITE, small_detector
from tests.tools.run_binary import Answer, run_binaries
from tools import flag_config
from tools.postprocess_flags import postprocess_of_file, postprocess_of_run

RECORDED = PostprocessConfig(0.25, 0.5, 7)
# The data come after the flags and the model.
EVALUATE = ("evaluate_detector", "--dataset=coco:nowhere", "--architecture=found")
EXPORT = ("export_tflite", "--run=found", "--dataset=coco:nowhere")
CALLS = {
    "raw file": (*EXPORT, "--score_threshold=0.3"),
    "chosen": (*EXPORT, "--postprocess", "--score_threshold=0.3"),
    "out of range": (*EXPORT, "--postprocess", "--score_threshold=1"),
    "parity": (*EXPORT, "--max_parity_images=5"),
    "classifier": ("export_tflite", "--run=classifier", "--max_detections=5"),
    "finished": (*EVALUATE, "--model=finished.tflite", "--max_detections=5"),
    "finished as it is": (*EVALUATE, "--model=finished.tflite"),
    "heads": (*EVALUATE, "--model=heads.tflite", "--max_detections=5"),
}


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The values of the flags that are given; none unless a test adds some."""
    values: dict[str, Any] = {}
    monkeypatch.setattr(flag_config, "given_values", lambda _: values)
    return values


def test_what_flags_change_is_what_was_given() -> None:
    flag_values = flags.FlagValues()
    flag_config.define_changes(PostprocessConfig, flag_values=flag_values)
    assert flag_values["max_detections"].default is None
    assert "By default what is recorded" in flag_values["max_detections"].help
    assert flag_config.given_values(PostprocessConfig, flag_values) == {}
    flag_values(["binary", "--score_threshold=0.001", "--max_detections="])
    # That is the dataclass's own default, and given all the same.
    given = flag_config.given_values(PostprocessConfig, flag_values)
    assert given == {"score_threshold": 0.001}


def test_a_run_is_judged_by_what_it_records_but_for_the_flags(
    tmp_path: Path, given: dict[str, Any]
) -> None:
    assert postprocess_of_run(tmp_path) == PostprocessConfig()
    write_json(tmp_path / "config.json", {"postprocess": RECORDED})
    assert postprocess_of_run(tmp_path) == RECORDED
    given["max_detections"] = 3
    assert postprocess_of_run(tmp_path) == PostprocessConfig(0.25, 0.5, 3)


def test_a_file_is_judged_by_what_stands_beside_it_but_for_the_flags(
    tmp_path: Path, given: dict[str, Any]
) -> None:
    model = tmp_path / "model.tflite"
    assert postprocess_of_file(model) == PostprocessConfig()
    decoding = {"score_threshold": 0.25, "nms_iou_threshold": 0.5, "max_detections": 7}
    write_json(tmp_path / "decoding.json", {"anchors": [], **decoding})
    assert postprocess_of_file(model) == RECORDED
    given["nms_iou_threshold"] = 0.75
    assert postprocess_of_file(model) == PostprocessConfig(0.25, 0.75, 7)
    del decoding["max_detections"]
    write_json(tmp_path / "decoding.json", decoding)
    with pytest.raises(ValueError, match="decoding.json must have .*max_detections"):
        postprocess_of_file(model)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    folder = tmp_path_factory.mktemp("postprocess")
    for name, architecture in (
        ("found", small_detector(SSDLITE)),
        ("classifier", small_architecture()),
    ):
        (folder / name).mkdir()
        write_architecture(folder / name / "architecture.json", architecture)
    raw = raw_file(NUM_CLASSES)
    finished = append_postprocess(
        raw,
        anchors=np.asarray(anchors()),
        score_activation="sigmoid",
        score_threshold=0.1,
        nms_iou_threshold=0.5,
        max_detections=10,
    )
    (folder / "heads.tflite").write_bytes(raw)
    (folder / "finished.tflite").write_bytes(finished)
    return run_binaries(folder, CALLS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            "raw file",
            "score_threshold must be left out without --postprocess: only finished "
            "detections are chosen by the file. Received: score_threshold=0.3",
        ),
        (
            "parity",
            "max_parity_images must be left out for a detector, which all test images "
            "judge. Received: max_parity_images=5",
        ),
        (
            "classifier",
            "max_detections must be left out for a classifier. "
            "Received: max_detections=5",
        ),
        (
            "finished",
            "max_detections must be left out for a file with finished detections. "
            "Received: max_detections=5",
        ),
        (
            "out of range",
            "score_threshold must be in [0, 1). Received: score_threshold=1.0",
        ),
    ],
)
def test_flags_without_a_use_are_refused(
    answers: dict[str, Answer], call: str, sentence: str
) -> None:
    assert answers[call].mistake == sentence


@pytest.mark.slow
@pytest.mark.parametrize("call", ["chosen", "finished as it is", "heads"])
def test_flags_with_a_use_get_as_far_as_the_data(
    answers: dict[str, Answer], call: str
) -> None:
    assert answers[call].mistake.startswith("dataset must name a folder that exists")
