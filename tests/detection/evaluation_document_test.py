from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from detection.coco_eval import METRICS, evaluate_detections
from detection.evaluation_document import evaluation_document
from mobilenas_tf.json_io import read_json, write_json
from tests.detection.made_up_scenes import NEVER_THERE, make_scenes


def test_document_survives_its_file_and_holds_every_number(tmp_path: Path) -> None:
    truth, results = make_scenes(0)
    evaluation = evaluate_detections(truth, results)
    write_json(tmp_path / "a.json", evaluation_document(evaluation))
    document = read_json(tmp_path / "a.json")
    assert document == evaluation_document(evaluation)
    assert document["metrics"] == evaluation.metrics
    assert document["num_images"] == 12
    assert document["num_detections"] == len(results)
    assert document["backend"] == "faster-coco-eval"
    assert evaluation.threshold is not None
    assert document["threshold"]["score"] == evaluation.threshold.score
    rows = {row["class"]: row for row in document["classes"]}
    assert {name: rows["class 3"][name] for name in METRICS} == dict(
        evaluation.metrics_by_class["class 3"]
    )
    is_there = [
        row["category_id"] == 3 and not row["iscrowd"] for row in truth["annotations"]
    ]
    assert rows["class 3"]["num_objects"] == sum(is_there)
    curves = document["curves"]
    assert len(document["recalls"]) == len(curves["all"]["iou50"]) == 101
    assert (document["recalls"][0], document["recalls"][-1]) == (0, 1)
    # COCO's AP is the mean of the curve; six decimals are kept.
    mean_ap = np.mean(curves["all"]["mean"])
    assert mean_ap == pytest.approx(document["metrics"]["ap"], abs=1e-6)
    assert f"class {NEVER_THERE}" not in curves["by_class"]


def test_document_without_anything_to_find_has_no_curves() -> None:
    truth, _ = make_scenes(0)
    evaluation = evaluate_detections({**truth, "annotations": []}, [])
    document = evaluation_document(evaluation)
    assert document["metrics"] == dict.fromkeys(METRICS)
    assert document["threshold"] is None
    assert document["curves"] == {"all": None, "by_class": {}}
