from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from detection.coco_results import to_columns
from detection.evaluation_truth import check_ground_truth
from detection.score_threshold import (
    ScoreThreshold,
    match_detections,
    suggest_threshold,
)
from tests.detection.made_up_scenes import make_scenes, run_reference


def _truth(*boxes: list[float], crowds: tuple[int, ...] = ()) -> dict[str, Any]:
    return {
        "images": [{"id": 1}],
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
        "annotations": [
            {
                "id": index + 1,
                "image_id": 1,
                "category_id": 1,
                "bbox": box,
                "iscrowd": int(index in crowds),
            }
            for index, box in enumerate(boxes)
        ],
    }


def _suggest(truth: dict[str, Any], *detections: list[float]) -> ScoreThreshold | None:
    columns = to_columns(np.array(detections, float).reshape(-1, 7))
    return suggest_threshold(check_ground_truth(truth), columns)


def _match(truth: dict[str, Any], *detections: list[float]) -> list[int]:
    columns = to_columns(np.array(detections, float).reshape(-1, 7))
    return match_detections(check_ground_truth(truth), columns).tolist()


_A, _B, _C = [0, 0, 10, 10], [20, 0, 10, 10], [40, 0, 10, 10]


def test_threshold_is_the_one_of_the_best_f1() -> None:
    threshold = _suggest(
        _truth(_A, _B, _C),
        [1, *_A, 0.9, 1],
        [1, 0, 50, 10, 10, 0.8, 1],
        [1, *_B, 0.7, 1],
        [1, 0, 70, 10, 10, 0.6, 1],
    )
    # F1 = 2 right / (kept + 3 objects): 2/4, 2/5, 4/6, 4/7.
    assert threshold == ScoreThreshold(0.7, 2 / 3, 2 / 3, 4 / 6)


def test_detections_of_one_score_are_kept_together() -> None:
    threshold = _suggest(_truth(_A, _B), [1, *_A, 0.5, 1], [1, 0, 50, 10, 10, 0.5, 1])
    assert threshold == ScoreThreshold(0.5, 1 / 2, 1 / 2, 2 / 4)


def test_of_equal_f1_the_highest_score_is_taken() -> None:
    # One of two objects by one detection: 2/3; both by four: 4/6.
    wrong = [[1, 0, 50, 10, 10, 0.8, 1], [1, 0, 70, 10, 10, 0.7, 1]]
    threshold = _suggest(_truth(_A, _B), [1, *_A, 0.9, 1], *wrong, [1, *_B, 0.6, 1])
    assert threshold == ScoreThreshold(0.9, 1.0, 1 / 2, 2 / 3)


def test_class_that_is_never_there_counts_against_precision() -> None:
    threshold = _suggest(_truth(_A, _B), [1, *_A, 0.5, 2], [1, *_A, 0.4, 1])
    assert threshold == ScoreThreshold(0.4, 1 / 2, 1 / 2, 2 / 4)


def test_nothing_found_suggests_nothing() -> None:
    assert _suggest(_truth(_A)) is None
    assert _suggest(_truth(_A), [1, *_B, 0.9, 1]) is None
    assert _suggest(_truth(_A, crowds=(0,)), [1, *_A, 0.9, 1]) is None


def test_object_is_found_once_by_the_highest_score() -> None:
    assert _match(_truth(_A), [1, *_A, 0.5, 1], [1, *_A, 0.9, 1]) == [0, 1]


def test_iou_of_one_half_is_enough() -> None:
    assert _match(_truth(_A), [1, 0, 0, 10, 5, 0.5, 1]) == [1]
    assert _match(_truth(_A), [1, 0, 0, 10, 4.99, 0.5, 1]) == [0]


def test_crowd_takes_any_number_and_objects_come_first() -> None:
    crowd = [0, 0, 40, 40]
    inside = [1, 5, 5, 4, 4, 0.9, 1]
    truth = _truth(crowd, [5, 5, 4, 4], crowds=(0,))
    assert _match(truth, inside, inside, inside) == [1, 2, 2]


def test_only_100_detections_of_a_class_in_an_image_count() -> None:
    others = [[1, 0, 50, 10, 10, 0.9, 1]] * 100
    assert _match(_truth(_A), *others, [1, *_A, 0.1, 1]) == [0] * 100 + [2]
    assert _match(_truth(_A), *others, [1, *_A, 1.0, 1]) == [0] * 99 + [2, 1]


@pytest.mark.parametrize("seed", range(3))
def test_matches_are_pycocotools(seed: int) -> None:
    document, results = make_scenes(seed)
    outcomes = match_detections(check_ground_truth(document), to_columns(results))
    expected = np.full(len(results), 2)
    num_images = len(document["images"])
    everything = run_reference(document, results).evalImgs
    # By class, then by area (all of them first), then by image.
    for start in range(0, len(everything), 4 * num_images):
        for image in filter(None, everything[start : start + num_images]):
            is_right, is_ignored = image["dtMatches"][0] > 0, image["dtIgnore"][0]
            indices = np.array(image["dtIds"], int) - 1
            expected[indices] = np.where(is_ignored, 2, is_right)
    assert {0, 1, 2} == set(expected.tolist())
    assert outcomes.tolist() == expected.tolist()


def test_threshold_is_the_best_of_all_scores_tried_one_by_one() -> None:
    document, results = make_scenes(5)
    truth, columns = check_ground_truth(document), to_columns(results)
    best = (0.0, 0.0)
    num_objects = sum(not row["iscrowd"] for row in document["annotations"])
    for score in {row["score"] for row in results}:
        kept = [row for row in results if row["score"] >= score]
        outcomes = match_detections(truth, to_columns(kept))
        num_right, num_wrong = np.sum(outcomes == 1), np.sum(outcomes == 0)
        f1 = 2 * num_right / (num_right + num_wrong + num_objects)
        best = max(best, (float(f1), score))
    threshold = suggest_threshold(truth, columns)
    assert threshold is not None
    assert (threshold.f1, threshold.score) == best
    share = 2 / (1 / threshold.precision + 1 / threshold.recall)
    assert threshold.f1 == pytest.approx(share)
