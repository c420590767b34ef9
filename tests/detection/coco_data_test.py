"""Folders of photos with COCO's instance files, good ones and bad ones."""

import json

import numpy as np
import pytest
from PIL import Image

from detection.coco_data import open_coco
from tests.detection.coco_folder import box_row, image_row, write_photo, write_split


@pytest.mark.parametrize("names", [("train", "val"), ("train2017", "val2017")])
def test_boxes_labels_and_sizes_are_read(tmp_path, names):
    train = [
        box_row(3, [2, 1, 10, 5], category_id=90, area=33.5, iscrowd=0),
        box_row(3, [0, 0, 30, 20], category_id=1, area=600, iscrowd=1),
        box_row(5, [4.5, 3, 2, 1.25]),
    ]
    write_split(tmp_path, names[0], [image_row(5), image_row(3)], train)
    write_split(tmp_path, names[1], [image_row(9, height=7, width=11)], [])
    source = open_coco(str(tmp_path))
    assert source.class_names == ("person", "dog", "toothbrush")
    assert source.category_ids == (1, 18, 90)
    assert source.problems == ()
    fifth, third = source.scenes_by_split["train"]
    assert (third.image_id, third.height, third.width) == (3, 20, 30)
    np.testing.assert_array_equal(third.boxes, [[1, 2, 6, 12], [0, 0, 20, 30]])
    assert third.labels.tolist() == [2, 0] and third.labels.dtype == np.int32
    assert third.is_ignored.tolist() == [False, True]
    assert third.areas_px.tolist() == [33.5, 600]
    np.testing.assert_array_equal(fifth.boxes, [[3, 4.5, 4.25, 6.5]])
    assert fifth.areas_px.tolist() == [2.5]  # 2 * 1.25, as none is stored
    (empty,) = source.scenes_by_split["validation"]
    assert empty.boxes.shape == (0, 4) and (empty.height, empty.width) == (7, 11)
    assert empty.read_pixels(None).shape == (7, 11, 3)
    assert empty.read_pixels(4).shape == (4, 4, 3)


def test_photos_may_be_under_images(tmp_path):
    photos = tmp_path / "images" / "train2017"
    write_split(tmp_path, "train2017", [image_row(1)], [], photos=photos)
    (scene,) = open_coco(str(tmp_path)).scenes_by_split["train"]
    assert scene.read_pixels(None)[0, 0].tolist() == [100, 100, 100]


def test_bad_boxes_and_missing_photos_are_told(tmp_path):
    rows = [
        box_row(2, [1, 1, 5, 5]),
        box_row(1, [25, 1, 20, 5]),
        box_row(1, [1, 1, 0, 5]),
        box_row(1, [1, 1, float("nan"), 5]),
        box_row(1, [1, 1, 5, 5]),
    ]
    path = write_split(tmp_path, "train", [image_row(1), image_row(2)], rows)
    (tmp_path / "train" / "0002.png").unlink()
    source = open_coco(str(tmp_path))
    (scene,) = source.scenes_by_split["train"]
    np.testing.assert_array_equal(scene.boxes, [[1, 25, 6, 30], [1, 1, 6, 6]])
    assert source.problems == (
        f"{path}: annotations[1]/bbox sticks out of the image: clipped",
        f"{path}: annotations[2]/bbox has no area in the image: left out",
        f"{path}: annotations[3]/bbox is not finite: left out",
        f"{path}: images[1]: {tmp_path}/train/0002.png is missing: left out",
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"categories": 3}, "categories must be a list of objects. Received: 3"),
        ({"images": None}, "images must be a list of objects. Received: None"),
        ({"annotations": [3]}, r"annotations must be a list of objects.*\[3\]"),
        ({"categories": []}, "categories must have at least one entry"),
        (
            {"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]},
            r"categories\[1\]/id must occur once. Received: 1 again",
        ),
        (
            {"categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]},
            "categories must have different names",
        ),
        ({"categories": [{"id": 1}]}, r"categories\[0\]/name must be of type str"),
        (
            {"images": [image_row(1), image_row(1)]},
            r"images\[1\]/id must occur once. Received: 1 again",
        ),
        (
            {"images": [{**image_row(1), "id": "1"}]},
            r"images\[0\]/id must be an integer.*'1'",
        ),
        (
            {"images": [{**image_row(1), "width": 0}]},
            r"images\[0\]/width must be at least 1. Received: 0",
        ),
        (
            {"annotations": [box_row(99, [0, 0, 1, 1])]},
            r"annotations\[0\]/image_id must be the id of one of images. Received: 99",
        ),
        (
            {"annotations": [box_row(1, [0, 0, 1, 1], category_id=2)]},
            r"annotations\[0\]/category_id must be the id of one of categories.*: 2",
        ),
        (
            {"annotations": [box_row(1, [0, 0, 1])]},
            r"annotations\[0\]/bbox must be four numbers.*\[0, 0, 1\]",
        ),
        (
            {"annotations": [box_row(1, [0, 0, 1, 1], area="large")]},
            r"annotations\[0\]/area must be a number of 0 or more. Received: 'large'",
        ),
        (
            {"annotations": [{"image_id": 1, "bbox": [0, 0, 1, 1]}]},
            r"annotations\[0\]/category_id must be an integer.*None",
        ),
    ],
)
def test_a_wrong_value_is_an_error_naming_file_and_key(tmp_path, changes, words):
    path = write_split(tmp_path, "train", [image_row(1)], [])
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(ValueError, match="instances_train.json: " + words):
        open_coco(str(tmp_path))


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/etc/passwd", "a/../../b.png", "..", "", ".", "a\0.png"],
)
def test_a_photo_outside_of_its_folder_is_an_error(tmp_path, name):
    path = write_split(tmp_path / "data", "train", [image_row(1)], [])
    Image.new("RGB", (30, 20)).save(tmp_path / "data" / "b.png")
    document = json.loads(path.read_text())
    document["images"][0]["file_name"] = name
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError) as error:
        open_coco(str(tmp_path / "data"))
    assert str(error.value) == (
        f"{path}: images[0]/file_name must be a path inside the folder of photos. "
        f"Received: {name!r}"
    )


@pytest.mark.parametrize("name", ["a b;'\"$x.png", "sub folder/1\n2.png", "-rf.png"])
def test_a_photo_may_have_any_name(tmp_path, name):
    write_split(tmp_path, "train", [{**image_row(1), "file_name": name}], [])
    (scene,) = open_coco(str(tmp_path)).scenes_by_split["train"]
    assert scene.read_pixels(None).shape == (20, 30, 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"iscrowd": 2}, "iscrowd must be 0 or 1. Received: 2"),
        ({"iscrowd": "0"}, "iscrowd must be 0 or 1. Received: '0'"),
        ({"area": -1}, "area must be a number of 0 or more. Received: -1"),
        ({"area": True}, "area must be a number of 0 or more. Received: True"),
    ],
)
def test_an_annotation_that_cannot_be_judged_later_is_an_error(
    tmp_path, changes, words
):
    rows = [box_row(1, [0, 0, 5, 5], **changes)]
    write_split(tmp_path, "train", [image_row(1)], rows)
    with pytest.raises(ValueError, match=rf"train.json: annotations\[0\]/{words}"):
        open_coco(str(tmp_path))


def test_boxes_and_areas_too_large_for_a_float32_are_left_out(tmp_path):
    rows = [box_row(1, [0, 0, 1e90, 5]), box_row(1, [0, 0, 5, 5], area=1e90)]
    write_split(tmp_path, "train", [image_row(1)], rows)
    source = open_coco(str(tmp_path))
    (scene,) = source.scenes_by_split["train"]
    assert scene.areas_px.tolist() == [25]
    (problem,) = source.problems
    assert problem.endswith("annotations[0]/bbox is not finite: left out")


def test_a_category_that_is_no_line_of_labels_is_an_error(tmp_path):
    write_split(tmp_path, "train", [], [], categories=((1, "cat\ndog"), (2, "b")))
    with pytest.raises(ValueError, match=r"categories\[0\]/name must be a name on one"):
        open_coco(str(tmp_path))


def test_broken_json_is_an_error_naming_the_file(tmp_path):
    path = write_split(tmp_path, "train", [image_row(1)], [])
    path.write_text(path.read_text()[:-9])
    with pytest.raises(ValueError, match="instances_train.json must be JSON"):
        open_coco(str(tmp_path))


def test_splits_must_have_the_same_categories(tmp_path):
    write_split(tmp_path, "train", [image_row(1)], [])
    categories = ((1, "person"), (18, "cat"), (90, "toothbrush"))
    write_split(tmp_path, "val", [image_row(2)], [], categories=categories)
    with pytest.raises(ValueError, match="val.json: .*same.*18: 'cat' instead of 'dog"):
        open_coco(str(tmp_path))


def test_the_order_of_categories_does_not_matter(tmp_path):
    write_split(tmp_path, "train", [image_row(1)], [])
    categories = ((90, "toothbrush"), (18, "dog"), (1, "person"))
    rows = [box_row(2, [0, 0, 5, 5], category_id=90)]
    write_split(tmp_path, "val", [image_row(2)], rows, categories=categories)
    source = open_coco(str(tmp_path))
    assert source.scenes_by_split["validation"][0].labels.tolist() == [2]


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="folder that exists.*coco:.*nowhere"):
        open_coco(str(tmp_path / "nowhere"))


def test_missing_annotations_are_an_error(tmp_path):
    write_split(tmp_path, "val", [image_row(1)], [])
    with pytest.raises(ValueError, match=r"annotations/instances_train\*.json"):
        open_coco(str(tmp_path))


def test_two_files_of_one_split_are_an_error(tmp_path):
    write_split(tmp_path, "train2014", [image_row(1)], [])
    write_split(tmp_path, "train2017", [image_row(1)], [])
    with pytest.raises(ValueError, match="one file.*train2014.json, instances_train2"):
        open_coco(str(tmp_path))


def test_a_missing_folder_of_photos_is_an_error(tmp_path):
    write_split(tmp_path, "train", [], [])
    with pytest.raises(ValueError, match="photos of .*train.json must be in .*/train"):
        open_coco(str(tmp_path))


def test_a_photo_of_another_size_is_an_error_when_it_is_read(tmp_path):
    write_split(tmp_path, "train", [image_row(1)], [])
    write_photo(tmp_path / "train" / "0001.png", image_row(1, height=21))
    (scene,) = open_coco(str(tmp_path)).scenes_by_split["train"]
    with pytest.raises(ValueError, match="has 21 x 30 pixels.*speak of 20 x 30"):
        scene.read_pixels(8)


def test_other_parts_and_files_do_not_matter(tmp_path):
    path = write_split(tmp_path, "train", [image_row(1)], [])
    more = {"licenses": [{"id": 1}], "info": {"year": 2017}}
    path.write_text(json.dumps({**json.loads(path.read_text()), **more}))
    (path.parent / "captions_train.json").write_text("{}")
    assert len(open_coco(str(tmp_path)).scenes_by_split["train"]) == 1
