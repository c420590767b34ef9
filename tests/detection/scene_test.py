"""What becomes of boxes as people store them, and scenes as COCO dictionaries."""

import dataclasses
import json

import numpy as np
import pytest

from detection.evaluation_truth import check_ground_truth
from detection.scene import (
    Scene,
    build_coco_dictionary,
    clean_scene,
    find_largest_boxes,
)


def make_scene(boxes, *, areas_px=None, height=30, width=40):
    boxes = np.array(boxes, np.float64).reshape(-1, 4)
    count = len(boxes)
    return Scene(
        image_id=7,
        name="photo.jpg",
        height=height,
        width=width,
        boxes=boxes,
        labels=np.arange(count, dtype=np.int32),
        is_ignored=np.arange(count) % 2 == 1,
        areas_px=np.full(count, np.nan) if areas_px is None else np.array(areas_px),
        read_pixels=lambda size_px: np.zeros((30, 40, 3), np.uint8),
    )


def test_good_boxes_stay_as_they_are():
    boxes = [[0, 0, 30, 40], [1.25, 2.5, 3.75, 4]]
    scene, problems = clean_scene(make_scene(boxes, areas_px=[1000.0, 3.5]))
    assert problems == {}
    np.testing.assert_array_equal(scene.boxes, boxes)
    assert scene.boxes.dtype == scene.areas_px.dtype == np.float32
    np.testing.assert_array_equal(scene.areas_px, [1000, 3.5])


def test_what_sticks_out_is_clipped():
    scene, problems = clean_scene(make_scene([[-5, 2, 31.5, 45]]))
    assert problems == {0: "sticks out of the image: clipped"}
    np.testing.assert_array_equal(scene.boxes, [[0, 2, 30, 40]])


def test_a_pixel_outside_is_rounding():
    scene, problems = clean_scene(make_scene([[-1, 0, 31, 41]]))
    assert problems == {}
    np.testing.assert_array_equal(scene.boxes, [[0, 0, 30, 40]])


def test_boxes_without_area_or_numbers_are_left_out():
    nan = float("nan")
    boxes = [
        [5, 5, 5, 9],  # a line
        [1, 2, 3, 4],
        [9, 9, 8, 12],  # upside down
        [40, 1, 50, 2],  # outside
        [nan, 1, 2, 3],
        [0, 0, float("inf"), 9],
    ]
    scene, problems = clean_scene(make_scene(boxes))
    assert [problems[index].split(":")[0] for index in sorted(problems)] == [
        "has no area in the image",
        "has no area in the image",
        "has no area in the image",
        "is not finite",
        "is not finite",
    ]
    assert sorted(problems) == [0, 2, 3, 4, 5]
    np.testing.assert_array_equal(scene.boxes, [[1, 2, 3, 4]])
    assert scene.labels.tolist() == [1] and scene.is_ignored.tolist() == [True]


def test_an_unknown_area_is_the_box_s():
    scene, _ = clean_scene(make_scene([[1, 2, 4, 7]]))
    assert scene.areas_px.tolist() == [15.0]  # 3 * 5


def test_a_scene_without_boxes_stays():
    scene, problems = clean_scene(make_scene([]))
    assert problems == {} and scene.boxes.shape == (0, 4)


def test_normalized_boxes_are_shares_of_height_and_width():
    scene = make_scene([[3, 4, 15, 40]])
    np.testing.assert_allclose(scene.boxes_normalized, [[0.1, 0.1, 0.5, 1]], rtol=1e-6)


def test_the_largest_boxes_are_found_in_order():
    # Areas 1, 9, 4, 9: the first of the equal ones comes first.
    scene = make_scene([[0, 0, 1, 1], [0, 0, 3, 3], [0, 0, 2, 2], [5, 5, 8, 8]])
    assert find_largest_boxes(scene, 1).tolist() == [1]
    assert find_largest_boxes(scene, 3).tolist() == [1, 2, 3]
    assert find_largest_boxes(scene, 9).tolist() == [0, 1, 2, 3]


def test_arrays_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"boxes.shape must be \[2, 4\].*\(1, 4\)"):
        dataclasses.replace(make_scene([[0, 0, 1, 1]]), labels=np.zeros(2, np.int32))


def test_the_coco_dictionary_holds_everything_in_coco_s_terms():
    scene, _ = clean_scene(make_scene([[1, 2, 4, 7], [0, 0, 2, 2]], areas_px=[9, 4]))
    empty = dataclasses.replace(clean_scene(make_scene([]))[0], image_id=3)
    document = build_coco_dictionary(
        [scene, empty], class_names=["cat", "dog"], category_ids=[17, 90]
    )
    assert (
        json.loads(json.dumps(document))
        == document
        == {
            "images": [
                {"id": 7, "file_name": "photo.jpg", "height": 30, "width": 40},
                {"id": 3, "file_name": "photo.jpg", "height": 30, "width": 40},
            ],
            "annotations": [
                {
                    "id": 1,
                    "image_id": 7,
                    "category_id": 17,
                    "bbox": [2, 1, 5, 3],
                    "area": 9,
                    "iscrowd": 0,
                },
                {
                    "id": 2,
                    "image_id": 7,
                    "category_id": 90,
                    "bbox": [0, 0, 2, 2],
                    "area": 4,
                    "iscrowd": 1,
                },
            ],
            "categories": [{"id": 17, "name": "cat"}, {"id": 90, "name": "dog"}],
        }
    )
    truth = check_ground_truth(document)
    assert truth.image_ids == (3, 7) and truth.count_objects() == {"cat": 1, "dog": 0}
