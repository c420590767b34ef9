from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detection.coco_results import (
    batch_results,
    read_results,
    to_columns,
    write_results,
)

_RESULT = {"image_id": 7, "category_id": 3, "bbox": [1.5, 2, 3, 4], "score": 0.25}


def _batch(**changes: Any) -> list[dict[str, Any]]:
    """Two images of 100 x 200 and 50 x 40 px (height, width), two detections each."""
    arguments: dict[str, Any] = {
        "boxes_normalized": np.array(
            [
                [[0.1, 0.2, 0.5, 0.75], [0.0, 0.0, 1.0, 1.0]],
                [[-0.5, 0.5, 0.5, 1.25], [0.0, 0.0, 0.0, 0.0]],
            ],
            np.float32,
        ),
        "scores": np.array([[0.75, 0.5], [0.25, 0.0]], np.float32),
        "classes": np.array([[1, 0], [0, -1]], np.int32),
        "num_detections": np.array([2, 1], np.int32),
        "image_ids": [7, 139],
        "heights_px": [100, 50],
        "widths_px": [200, 40],
        "category_ids": [18, 90],
    }
    return batch_results(**{**arguments, **changes})


def test_boxes_come_back_in_pixels_of_the_original_image() -> None:
    first, second, third = _batch()
    # y 0.1..0.5 of 100 px, x 0.2..0.75 of 200 px.
    assert first == {
        "image_id": 7,
        "category_id": 90,
        "bbox": pytest.approx([40, 10, 110, 40], abs=1e-4),
        "score": 0.75,
    }
    assert second["bbox"] == [0, 0, 200, 100]
    # y 0..0.5 of 50 px, x 0.5..1 of 40 px: the rest lies outside.
    assert third == {
        "image_id": 139,
        "category_id": 18,
        "bbox": [20, 0, 20, 25],
        "score": 0.25,
    }


def test_results_are_plain_values(tmp_path: Path) -> None:
    results = _batch(image_ids=np.array([7, 139]), category_ids=np.array([18, 90]))
    assert json.loads(json.dumps(results)) == results


def test_batch_without_detections_or_images_has_no_results() -> None:
    assert _batch(num_detections=[0, 0]) == []
    empty = {name: [] for name in ("image_ids", "heights_px", "widths_px")}
    results = _batch(
        boxes_normalized=np.zeros((0, 2, 4)),
        scores=np.zeros((0, 2)),
        classes=np.zeros((0, 2)),
        num_detections=[],
        **empty,
    )
    assert results == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scores": np.zeros((2, 3))}, r"scores.shape must be \[2, 2\]. Received"),
        ({"classes": np.zeros(2)}, r"classes.shape must be \[2, 2\]. Received"),
        ({"boxes_normalized": np.zeros((2, 4))}, "boxes_normalized.shape must be"),
        ({"image_ids": [1]}, r"boxes_normalized.shape must be \[1, 2, 4\]"),
        ({"num_detections": [1]}, r"num_detections.shape must be \[2\]"),
        ({"widths_px": [1, 2, 3]}, r"widths_px.shape must be \[2\]"),
        ({"category_ids": [18]}, "classes must be indices into the 1 category_ids"),
        ({"num_detections": [2, 2]}, "category_ids. Received: -1"),
        ({"scores": np.full((2, 2), np.nan)}, "must be finite. .* in the image 7"),
        ({"boxes_normalized": np.full((2, 2, 4), np.inf)}, "must be finite. Received"),
        (
            {"boxes_normalized": np.full((2, 2, 4), [0.5, 0, 0.25, 1])},
            "y_min <= y_max, x_min <= x_max. Received: box .*0.5, 0.0, 0.25, 1.0",
        ),
    ],
)
def test_malformed_batch_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        _batch(**changes)


def test_file_holds_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.json"
    write_results(path, [_RESULT, {**_RESULT, "score": 1 / 3}])
    assert read_results(path) == [_RESULT, {**_RESULT, "score": 1 / 3}]
    write_results(path, [])
    assert read_results(path) == []
    assert os.listdir(path.parent) == ["results.json"]


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_results(path, [_RESULT])
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_results(path, [{**_RESULT, "score": float("nan")}])
    assert read_results(path) == [_RESULT]
    assert os.listdir(tmp_path) == ["results.json"]


def test_keys_of_other_tools_are_kept(tmp_path: Path) -> None:
    result = {**_RESULT, "segmentation": {"size": [4, 4], "counts": "x"}}
    write_results(tmp_path / "results.json", [result])
    assert read_results(tmp_path / "results.json") == [result]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[{", "results.json must be JSON. Received: "),
        ('[{"score": NaN}]', "must be JSON. Received: NaN, which is no JSON number"),
        ("3", "must be a JSON list of results. Received: a JSON value of type int"),
        ('{"annotations": []}', "of type dict, which is a file of annotations"),
        ("[3]", "results.json[0] must be an object with the keys image_id, category"),
        ('[{"image_id": 3}]', "bbox, score. Received: ['image_id']"),
    ],
)
def test_file_that_holds_no_results_is_named(
    tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(ValueError) as error:
        read_results(tmp_path / "results.json")
    assert words in str(error.value)
    assert str(error.value).startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_id": "7"}, "/image_id must be an integer of 64 bits. Received: '7'"),
        ({"image_id": 2**63}, "/image_id must be an integer of 64 bits."),
        ({"category_id": True}, "/category_id must be an integer of 64 bits."),
        ({"category_id": 3.0}, "/category_id must be an integer of 64 bits."),
        ({"bbox": [1, 2, 3]}, "/bbox must be four numbers: left, top, width and"),
        ({"bbox": [1, 2, 3, "4"]}, "/bbox must be four numbers"),
        ({"bbox": 5}, "/bbox must be four numbers"),
        ({"score": None}, "/score must be a number. Received: None"),
    ],
)
def test_result_with_a_wrong_value_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as error:
        to_columns([_RESULT, {**_RESULT, **change}], where="a.json")
    assert str(error.value).startswith(f"a.json[1]{words}")


def test_columns_keep_the_order() -> None:
    columns = to_columns([_RESULT, {**_RESULT, "image_id": np.int64(5), "score": 1}])
    assert columns.image_ids.tolist() == [7, 5]
    assert columns.category_ids.tolist() == [3, 3]
    assert columns.boxes_xywh.tolist() == [[1.5, 2, 3, 4]] * 2
    assert columns.scores.tolist() == [0.25, 1]
    assert columns.scores.dtype == columns.boxes_xywh.dtype == np.float64
