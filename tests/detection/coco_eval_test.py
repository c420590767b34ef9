from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detection.coco_eval import (
    METRICS,
    Backend,
    DetectionEvaluation,
    evaluate_detections,
)
from detection.coco_results import read_results, write_results
from tests.detection.made_up_scenes import (
    CATEGORY_IDS,
    NEVER_DETECTED,
    NEVER_THERE,
    make_scenes,
    run_reference,
)

BACKENDS: tuple[Backend, ...] = ("faster-coco-eval", "pycocotools")
both_backends = pytest.mark.parametrize("backend", BACKENDS)
# Three objects of 100 x 100 px in two images; class b is never there.
_TRUTH = {
    "images": [{"id": 10}, {"id": 20}],
    "annotations": [
        {"id": 1, "image_id": 10, "category_id": 5, "bbox": [0, 0, 100, 100]},
        {"id": 2, "image_id": 20, "category_id": 5, "bbox": [0, 0, 100, 100]},
        {"id": 3, "image_id": 20, "category_id": 5, "bbox": [300, 0, 100, 100]},
    ],
    "categories": [{"id": 5, "name": "a"}, {"id": 2, "name": "b"}],
}
# Right; nowhere; IoU 72 x 100 / 100 x 100 = 0.72 with the second object.
_DETECTIONS = np.array(
    [
        [10, 0, 0, 100, 100, 0.9, 5],
        [20, 100, 200, 100, 100, 0.8, 5],
        [20, 0, 0, 72, 100, 0.7, 5],
    ]
)


def _as_results(detections: np.ndarray) -> list[dict[str, Any]]:
    return [
        {
            "image_id": int(row[0]),
            "bbox": row[1:5].tolist(),
            "score": float(row[5]),
            "category_id": int(row[6]),
        }
        for row in detections
    ]


def _numbers(metrics: Any) -> list[float]:
    """Returns the twelve numbers as pycocotools writes them."""
    return [-1.0 if metrics[name] is None else metrics[name] for name in METRICS]


def test_names_are_in_cocos_order() -> None:
    assert METRICS == (
        *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
        *("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"),
    )


@both_backends
def test_numbers_of_a_case_counted_by_hand(backend: Backend) -> None:
    evaluation = evaluate_detections(_TRUTH, _DETECTIONS, backend=backend)
    # Up to IoU 0.70: right, wrong, right. Precision is 1 to recall 1/3 (34 of the 101
    # recalls), 2/3 to recall 2/3 (33 of them), and 0 beyond: (34 + 33 * 2/3) / 101.
    # From IoU 0.75: right, wrong, wrong, which is 34 / 101.
    expected = {
        "ap": (56 + 34) / 2 / 101,
        "ap50": 56 / 101,
        "ap75": 34 / 101,
        "ap_small": None,
        "ap_medium": None,
        "ap_large": (56 + 34) / 2 / 101,
        "ar1": 1 / 3,
        "ar10": (2 / 3 + 1 / 3) / 2,
        "ar100": (2 / 3 + 1 / 3) / 2,
        "ar_small": None,
        "ar_medium": None,
        "ar_large": (2 / 3 + 1 / 3) / 2,
    }
    assert evaluation.metrics == pytest.approx(expected, abs=1e-12)
    assert evaluation.metrics_by_class["a"] == pytest.approx(expected, abs=1e-12)
    assert evaluation.metrics_by_class["b"] == dict.fromkeys(METRICS)
    assert list(evaluation.curves_by_class) == ["a"]
    curve = evaluation.curves_by_class["a"]
    assert curve == evaluation.curve
    assert curve.iou50 == pytest.approx([1] * 34 + [2 / 3] * 33 + [0] * 34)
    assert curve.mean == pytest.approx([1] * 34 + [1 / 3] * 33 + [0] * 34)
    assert evaluation.num_objects_by_class == {"b": 0, "a": 3}
    assert (evaluation.num_images, evaluation.num_detections) == (2, 3)
    assert evaluation.backend == backend


@both_backends
@pytest.mark.parametrize("seed", range(4))
def test_numbers_are_pycocotools(backend: Backend, seed: int) -> None:
    truth, results = make_scenes(seed)
    evaluation = evaluate_detections(truth, results, backend=backend)
    reference = run_reference(truth, results)
    assert np.all(reference.stats > 0)
    assert _numbers(evaluation.metrics) == pytest.approx(reference.stats, abs=1e-9)


@both_backends
def test_numbers_of_a_class_are_pycocotools_without_the_others(
    backend: Backend,
) -> None:
    truth, results = make_scenes(7)
    evaluation = evaluate_detections(truth, results, backend=backend)
    assert list(evaluation.metrics_by_class) == [f"class {id_}" for id_ in CATEGORY_IDS]
    for category_id in CATEGORY_IDS:
        reference = run_reference(truth, results, catIds=[category_id])
        metrics = evaluation.metrics_by_class[f"class {category_id}"]
        assert _numbers(metrics) == pytest.approx(reference.stats, abs=1e-9)
    assert evaluation.metrics_by_class[f"class {NEVER_DETECTED}"]["ap"] == 0
    assert evaluation.metrics_by_class[f"class {NEVER_THERE}"]["ap"] is None


@both_backends
def test_curves_are_pycocotools(backend: Backend) -> None:
    truth, results = make_scenes(8)
    evaluation = evaluate_detections(truth, results, backend=backend)
    precision = run_reference(truth, results).eval["precision"][:, :, :, 0, 2]
    there = [id_ for id_ in CATEGORY_IDS if id_ != NEVER_THERE]
    assert list(evaluation.curves_by_class) == [f"class {id_}" for id_ in there]
    for index, category_id in enumerate(there):
        curve = evaluation.curves_by_class[f"class {category_id}"]
        assert curve.iou50 == pytest.approx(precision[0, :, index])
        assert curve.mean == pytest.approx(precision[:, :, index].mean(axis=0))
    assert evaluation.curve is not None
    assert evaluation.curve.iou50 == pytest.approx(precision[0, :, :4].mean(axis=1))
    assert np.mean(evaluation.curve.mean) == pytest.approx(evaluation.metrics["ap"])


@both_backends
def test_array_list_and_file_are_the_same(backend: Backend, tmp_path: Path) -> None:
    results = _as_results(_DETECTIONS)
    write_results(tmp_path / "results.json", results)
    of_array, of_list, of_file = (
        evaluate_detections(_TRUTH, detections, backend=backend)
        for detections in (
            _DETECTIONS,
            results,
            read_results(tmp_path / "results.json"),
        )
    )
    assert of_array == of_list == of_file


@both_backends
def test_nothing_is_printed_and_nothing_changed(
    backend: Backend, capfd: pytest.CaptureFixture[str]
) -> None:
    truth, results = make_scenes(0)
    before = copy.deepcopy((truth, results))
    evaluate_detections(truth, results, backend=backend)
    assert (truth, results) == before
    assert capfd.readouterr() == ("", "")


@both_backends
@pytest.mark.parametrize("detections", [[], np.zeros((0, 7))])
def test_no_detections_find_nothing(
    backend: Backend, detections: list[Any] | np.ndarray
) -> None:
    evaluation = evaluate_detections(_TRUTH, detections, backend=backend)
    absent = {name: None for name in METRICS if name.endswith(("small", "medium"))}
    assert evaluation.metrics == {**dict.fromkeys(METRICS, 0.0), **absent}
    assert evaluation.threshold is None


@both_backends
def test_no_objects_give_no_numbers(backend: Backend) -> None:
    crowd = {**_TRUTH["annotations"][0], "iscrowd": 1}
    for rows in ([], [crowd]):
        truth = {**_TRUTH, "annotations": rows}
        evaluation = evaluate_detections(truth, _DETECTIONS, backend=backend)
        assert evaluation.metrics == dict.fromkeys(METRICS)
        assert (evaluation.curve, evaluation.threshold) == (None, None)
        assert evaluation.curves_by_class == {}


@both_backends
def test_annotation_with_the_id_0_can_be_found(backend: Backend) -> None:
    annotations = [{**row, "id": row["id"] - 1} for row in _TRUTH["annotations"]]
    truth = {**_TRUTH, "annotations": annotations}
    numbered, usual = (
        evaluate_detections(document, _DETECTIONS, backend=backend)
        for document in (truth, _TRUTH)
    )
    assert numbered == usual


@both_backends
def test_area_is_that_of_the_annotation_where_it_has_one(backend: Backend) -> None:
    annotations = [{**row, "area": 500.0} for row in _TRUTH["annotations"]]
    truth = {**_TRUTH, "annotations": annotations}
    metrics = evaluate_detections(truth, _DETECTIONS, backend=backend).metrics
    # Unmatched detections of more than 32 x 32 px do not count against small objects.
    assert metrics["ap_small"] == pytest.approx((67 + 34) / 2 / 101)
    assert metrics["ap_large"] is None


def test_backends_agree_on_everything() -> None:
    truth, results = make_scenes(9)
    quick, slow = (
        evaluate_detections(truth, results, backend=backend) for backend in BACKENDS
    )

    def flatten(evaluation: DetectionEvaluation) -> list[float]:
        values = [*_numbers(evaluation.metrics)]
        for name, curve in evaluation.curves_by_class.items():
            values += _numbers(evaluation.metrics_by_class[name])
            values += [*curve.iou50, *curve.mean]
        return values

    assert flatten(quick) == pytest.approx(flatten(slow), abs=1e-12)
    assert quick.threshold == slow.threshold


def _error(truth: Any, detections: Any) -> str:
    with pytest.raises(ValueError) as error:
        evaluate_detections(truth, detections)
    return str(error.value)


def test_detections_of_other_images_are_refused() -> None:
    moved = _DETECTIONS.copy()
    moved[1:, 0] = 77
    assert _error(_TRUTH, moved) == (
        "detections must have image ids of the ground truth only. Received: 2 of 3 "
        "detections with others, such as image_id=77"
    )


def test_detections_of_unknown_categories_are_refused() -> None:
    renamed = _DETECTIONS.copy()
    renamed[2, 6] = 0
    assert _error(_TRUTH, renamed) == (
        "detections must have category ids of the ground truth only. Received: 1 of 3 "
        "detections with others, such as category_id=0"
    )


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        (1, math.nan, "detections must have boxes of finite numbers. Received: [nan,"),
        (3, math.inf, "detections must have boxes of finite numbers."),
        (4, -1, "detections must have boxes with sizes of 0 or more."),
        (5, math.nan, "detections must have finite scores. Received: nan at index 1"),
        (0, math.nan, "detections must have whole numbers as image and category ids."),
        (6, 4.5, "detections must have whole numbers as image and category ids."),
    ],
)
def test_values_that_are_no_detection_are_refused(
    column: int, value: float, words: str
) -> None:
    damaged = _DETECTIONS.copy()
    damaged[1, column] = value
    message = _error(_TRUTH, damaged)
    assert message.startswith(words)
    if column in (1, 3, 4, 5):
        assert message.endswith("at index 1, in the image 20")
        assert _error(_TRUTH, _as_results(damaged)) == message


@pytest.mark.parametrize("shape", [(7,), (3, 6), (1, 3, 7)])
def test_array_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    message = _error(_TRUTH, np.zeros(shape))
    assert "must be an array of numbers of shape [N, 7]" in message
    assert message.endswith(f"float64 and shape {shape}")


def test_unknown_backend_is_refused() -> None:
    with pytest.raises(ValueError, match="backend must be one of faster-coco-eval, "):
        evaluate_detections(_TRUTH, _DETECTIONS, backend="numpy")  # type: ignore


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": []}, "images of ground_truth must have at least one entry"),
        ({"categories": []}, "categories of ground_truth must have at least one"),
        ({"annotations": None}, "under images, annotations and categories. Received: "),
        ({"annotations": [3]}, "Received: annotations=[3]"),
        ({"images": [{"id": "10"}]}, "ground_truth/images/id must be an integer"),
        (
            {"categories": [{"id": 5, "name": "a"}, {"id": 2, "name": "a"}]},
            "categories of ground_truth must have an id and a name of their own each",
        ),
        (
            {"images": [{"id": 10}]},
            "annotations[1]/image_id must be an id under images.",
        ),
        (
            {"categories": [{"id": 2, "name": "b"}]},
            "annotations[0]/category_id must be an id under categories. Received: 5",
        ),
    ],
)
def test_malformed_ground_truth_is_refused(change: dict[str, Any], words: str) -> None:
    assert words in _error({**_TRUTH, **change}, _DETECTIONS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bbox": [0, 0, 5]}, "annotations[0]/bbox must be four numbers"),
        ({"bbox": None}, "annotations[0]/bbox must be four numbers"),
        ({"bbox": [0, 0, -5, 5]}, "annotations[0] must have a finite box, and sizes"),
        ({"bbox": [math.nan, 0, 5, 5]}, "annotations[0] must have a finite box"),
        ({"area": math.nan}, "annotations[0] must have a finite box"),
    ],
)
def test_malformed_annotation_is_refused(change: dict[str, Any], words: str) -> None:
    annotations = [{**_TRUTH["annotations"][0], **change}]
    assert words in _error({**_TRUTH, "annotations": annotations}, _DETECTIONS)


def test_ground_truth_that_is_no_object_is_refused() -> None:
    assert "ground_truth must be a COCO document" in _error([1], _DETECTIONS)
