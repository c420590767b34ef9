"""Detection data from end to end: splits, order, targets and ground truth."""

import types

import numpy as np
import pytest
from absl import logging

from detection import digit_scenes
from detection.config import DetectionDataConfig, SceneAugmentationConfig
from detection.data import load_detection_data
from tests.detection.coco_folder import box_row, image_row, write_photo, write_split

PLAIN = SceneAugmentationConfig(
    random_crop=False, horizontal_flip="off", color_jitter=0.0
)
VARIED = SceneAugmentationConfig(
    zoom_out_probability=0.5, color_jitter=1.0, mosaic_probability=0.5
)
NUM_TRAIN, NUM_VAL = 40, 5


def level(image_id):
    """The grey level of an image's photo."""
    return 5 * image_id


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """40 training photos, each with one box that tells which it is, and 5 others."""
    root = tmp_path_factory.mktemp("coco")
    train = [image_row(image_id) for image_id in range(1, NUM_TRAIN + 1)]
    train_boxes = [
        box_row(row["id"], [0.5 * row["id"], 5, 10, 10], category_id=90)
        for row in train
    ]
    write_split(root, "train", train, train_boxes)
    val = [image_row(image_id, width=24) for image_id in (50, 45, 41, 49, 42)]
    val_boxes = [
        box_row(50, [2.25, 4, 6, 10], category_id=1, area=33.0),
        box_row(50, [0, 0, 24, 20], category_id=18, area=400.0, iscrowd=1),
        box_row(50, [1, 1, 2, 2], category_id=18),
        box_row(42, [12, 10, 12, 10], category_id=90),
    ]
    write_split(root, "val", val, val_boxes)
    for row in train:
        write_photo(root / "train" / row["file_name"], row, value=level(row["id"]))
    for row in val:
        write_photo(root / "val" / row["file_name"], row, value=level(row["id"]))
    return root


def load(folder, augmentation=PLAIN, **options):
    defaults = {"image_size_px": 16, "batch_size": 4, "validation_fraction": 0.2}
    config = DetectionDataConfig(
        **{"dataset": f"coco:{folder}", "max_boxes": 6, **defaults, **options}
    )
    return load_detection_data(config, augmentation)


def levels_of(images):
    """The grey levels of plain photos."""
    return np.rint((images.numpy()[:, 0, 0, 0] + 1) * 127.5)


def test_the_stored_validation_split_is_the_test_split(folder):
    data = load(folder)
    # round(0.2 * 40) = 8 of the training photos are set aside.
    assert (data.num_train, data.num_validation, data.num_test) == (32, 8, 5)
    assert data.class_names == ("person", "dog", "toothbrush")
    assert data.category_ids == (1, 18, 90) and data.num_classes == 3
    assert data.steps_per_epoch == 8
    train_ids = {scene.image_id for scene in data.train_split.scenes}
    validation_ids = set(data.image_ids("validation").tolist())
    assert train_ids | validation_ids == set(range(1, NUM_TRAIN + 1))
    other_seed = load(folder, seed=3)
    assert other_seed.image_ids("validation").tolist() == sorted(validation_ids)


@pytest.mark.parametrize("in_memory_limit_mib", [0, 100])
def test_images_and_targets_stay_together(folder, in_memory_limit_mib):
    data = load(folder, in_memory_limit_mib=in_memory_limit_mib)
    seen = []
    for images, targets in data.train_epoch(0):
        assert images.shape == (4, 16, 16, 3)
        image_ids = levels_of(images) / 5
        boxes = targets["boxes_normalized"].numpy()
        expected = np.stack(
            [
                np.full(4, 5 / 20),
                image_ids / 60,
                np.full(4, 15 / 20),
                (image_ids + 20) / 60,
            ],
            axis=1,
        )
        np.testing.assert_allclose(boxes[:, 0], expected, atol=1e-6)
        np.testing.assert_array_equal(targets["labels"], [[2] + [-1] * 5] * 4)
        assert not np.any(boxes[:, 1:]) and not np.any(targets["is_ignored"])
        seen += image_ids.tolist()
    train_ids = [scene.image_id for scene in data.train_split.scenes]
    assert sorted(seen) == train_ids


@pytest.mark.parametrize("augmentation", [PLAIN, VARIED])
def test_an_epoch_has_batches_of_static_shape(folder, augmentation):
    dataset = load(folder, augmentation).train_epoch(0)
    images, targets = dataset.element_spec
    assert images.shape == (4, 16, 16, 3) and images.dtype == np.float32
    shapes = {name: (spec.shape, spec.dtype) for name, spec in targets.items()}
    assert shapes == {
        "boxes_normalized": ((4, 6, 4), np.float32),
        "labels": ((4, 6), np.int32),
        "is_ignored": ((4, 6), bool),
    }
    for images, _ in dataset:
        assert np.all(np.abs(images) <= 1)


def epoch_contents(data, epoch):
    batches = [
        np.concatenate(
            [np.reshape(part, (4, -1)) for part in (images, *targets.values())], axis=1
        )
        for images, targets in data.train_epoch(epoch)
    ]
    return np.concatenate(batches)


@pytest.mark.parametrize(
    ("augmentation", "in_memory_limit_mib"),
    [(VARIED, 100), (SceneAugmentationConfig(), 0)],
)
def test_epochs_follow_from_seed_and_number(folder, augmentation, in_memory_limit_mib):
    options = {"augmentation": augmentation, "in_memory_limit_mib": in_memory_limit_mib}
    data, again, other_seed = (load(folder, seed=seed, **options) for seed in (0, 0, 1))
    later = epoch_contents(data, 1)
    np.testing.assert_array_equal(later, epoch_contents(again, 1))
    assert np.any(later != epoch_contents(data, 0))
    assert np.any(later != epoch_contents(other_seed, 1))


def test_evaluation_keeps_its_order_and_its_last_batch(folder):
    data = load(folder)
    batches = list(data.test())
    assert [len(images) for images, _ in batches] == [4, 1]
    levels = np.concatenate([levels_of(images) for images, _ in batches])
    assert data.image_ids("test").tolist() == [50, 45, 41, 49, 42]
    np.testing.assert_array_equal(levels, level(data.image_ids("test")))
    np.testing.assert_array_equal(data.image_sizes("test"), [[20, 24]] * 5)
    _, first = batches[0]
    np.testing.assert_array_equal(first["labels"][0], [0, 1, 1, -1, -1, -1])
    np.testing.assert_array_equal(
        first["is_ignored"][0], [False, True, False, False, False, False]
    )
    # [2.25, 4, 6, 10] as left, top, width, height, of 20 rows of 24 pixels.
    np.testing.assert_allclose(
        first["boxes_normalized"][0, 0], [4 / 20, 2.25 / 24, 14 / 20, 8.25 / 24]
    )
    np.testing.assert_array_equal(first["labels"][1], [-1] * 6)


def test_the_ground_truth_is_in_the_data_set_s_own_terms(folder):
    truth = load(folder, max_boxes=1).ground_truth("test")
    assert [row["id"] for row in truth["images"]] == [50, 45, 41, 49, 42]
    assert truth["images"][0]["height"] == 20 and truth["images"][0]["width"] == 24
    assert [row["id"] for row in truth["categories"]] == [1, 18, 90]
    found = [
        (row["image_id"], row["category_id"], row["bbox"], row["area"], row["iscrowd"])
        for row in truth["annotations"]
    ]
    assert found == [
        (50, 1, [2.25, 4, 6, 10], 33, 0),
        (50, 18, [0, 0, 24, 20], 400, 1),
        (50, 18, [1, 1, 2, 2], 4, 0),
        (42, 90, [12, 10, 12, 10], 120, 0),
    ]


def test_only_evaluation_splits_have_a_ground_truth(folder):
    with pytest.raises(ValueError, match="split must be one of validation, test.*'tra"):
        load(folder).ground_truth("train")


def test_of_too_many_boxes_the_largest_stay(folder):
    data = load(folder, max_boxes=2)
    assert data.test_split.num_truncated == 1 and data.train_split.num_truncated == 0
    _, targets = next(iter(data.test()))
    np.testing.assert_array_equal(targets["labels"][0], [0, 1])  # not the 2 x 2 one


def test_max_train_images_leaves_the_other_splits_alone(folder):
    few, all_of_them = load(folder, max_train_images=10), load(folder)
    assert few.num_train == 10
    for split in ("validation", "test"):
        np.testing.assert_array_equal(
            few.image_ids(split), all_of_them.image_ids(split)
        )


def test_calibration_images_repeat_and_are_not_augmented(folder):
    data = load(folder, VARIED)
    images = data.calibration_images(6)
    assert images.shape == (6, 16, 16, 3) and images.dtype == np.float32
    np.testing.assert_array_equal(images, data.calibration_images(6))
    expected = {level(scene.image_id) for scene in data.train_split.scenes}
    found = np.rint((images + 1) * 127.5)
    assert np.all(found == found[:, :1, :1, :1])
    assert set(found[:, 0, 0, 0]) <= expected and len(set(found[:, 0, 0, 0])) == 6
    with pytest.raises(ValueError, match="count must be from 1 to 32.*count=33"):
        data.calibration_images(33)


@pytest.mark.parametrize(("image_size_px", "stored_px"), [(16, 24), (24, 30), (40, 40)])
def test_crops_come_from_larger_images_up_to_the_photos_own(
    folder, image_size_px, stored_px
):
    # 1.5 times S, but no more than the longest side, 30, and no less than S.
    augmentation = SceneAugmentationConfig()
    data = load(folder, augmentation, image_size_px=image_size_px)
    image, _ = data.train_split.read(0)
    assert image.shape == (stored_px, stored_px, 3)
    image, _ = data.test_split.read(0)
    assert image.shape == (image_size_px, image_size_px, 3)


def copy_with_bad_photo(folder, root):
    rows = [image_row(image_id) for image_id in range(1, 9)]
    boxes = [box_row(row["id"], [1, 1, 5, 5]) for row in rows]
    write_split(root, "train", rows, boxes)
    (root / "train" / "0003.png").write_bytes(b"this is no photo")
    write_split(root, "val", [image_row(9)], [])
    return root


@pytest.mark.parametrize("in_memory_limit_mib", [0, 100])
def test_corrupt_photos_are_skipped_up_to_a_limit(
    folder, tmp_path, in_memory_limit_mib
):
    root = copy_with_bad_photo(folder, tmp_path)
    options = {"batch_size": 2, "in_memory_limit_mib": in_memory_limit_mib}
    data = load(root, **options)
    # 8 photos, round(0.2 * 8) = 2 for validation, one of all is gone.
    assert data.num_train + data.num_validation == 7
    assert len(data.skipped_images) == 1 and "0003.png" in data.skipped_images[0]
    assert sum(len(images) for images, _ in data.validation()) == data.num_validation
    with pytest.raises(ValueError, match="At most max_corrupt_images.*1 photos.*0003"):
        load(root, max_corrupt_images=0, **options)


@pytest.mark.parametrize("empty", ["train", "validation", "test"])
def test_a_split_without_a_photo_is_an_error_that_says_which(tmp_path, empty):
    stored = {"train": "train2017", "validation": "val2017", "test": "test2017"}
    for split, name in stored.items():
        rows = [image_row(image_id) for image_id in range(1, 5)]
        write_split(tmp_path, name, rows, [box_row(1, [1, 1, 5, 5])])
        if split == empty:
            for row in rows:
                photo = tmp_path / name / row["file_name"]
                photo.rename(tmp_path / row["file_name"])
    words = f"The {empty} split must.*a file_name .* is relative.*0001.png is missing"
    with pytest.raises(ValueError, match=words):
        load(tmp_path, batch_size=2)


@pytest.mark.parametrize("name", ["train", "val"])
def test_a_split_of_corrupt_photos_is_an_error_that_says_which(tmp_path, name):
    for stored in ("train", "val", "test"):
        rows = [image_row(image_id) for image_id in range(1, 5)]
        write_split(tmp_path, stored, rows, [box_row(1, [1, 1, 5, 5])])
    for photo in (tmp_path / name).iterdir():
        photo.write_bytes(b"this is no photo")
    split = {"val": "validation"}.get(name, name)
    words = f"The {split} split must.*mend its photos.*0001.png: .*cannot be decoded"
    with pytest.raises(ValueError, match=words):
        load(tmp_path, batch_size=2)


def test_annotations_without_an_image_are_an_error(tmp_path):
    write_split(tmp_path, "train", [], [])
    (tmp_path / "train").mkdir()
    with pytest.raises(ValueError, match="The train split must.*Received: no image"):
        load(tmp_path, batch_size=2)


def test_bad_annotations_are_one_warning_up_to_a_limit(tmp_path, monkeypatch):
    rows = [image_row(image_id) for image_id in range(1, 9)]
    boxes = [box_row(row["id"], [1, 1, 5, 5]) for row in rows]
    boxes += [box_row(row["id"], [28, 1, 9, 5]) for row in rows[:7]]
    write_split(tmp_path, "train", rows, boxes)
    write_split(tmp_path, "val", [image_row(9)], [])
    warnings = []
    monkeypatch.setattr(
        logging, "warning", lambda text, *values: warnings.append(text % values)
    )
    load(tmp_path, batch_size=2, max_bad_annotations=7)
    (warning,) = warnings
    assert "7 annotations are bad" in warning and "annotations[8]/bbox" in warning
    assert warning.count("sticks out") == 5  # the first ones are shown
    with pytest.raises(ValueError, match="At most max_bad_annotations.*7 bad ones"):
        load(tmp_path, batch_size=2, max_bad_annotations=6)


def test_a_batch_larger_than_the_training_split_is_an_error(folder):
    with pytest.raises(ValueError, match="batch_size must be at most 32.*=33"):
        load(folder, batch_size=33)


def test_training_images_without_an_object_are_an_error(tmp_path):
    rows = [image_row(image_id) for image_id in range(1, 9)]
    write_split(tmp_path, "train", rows, [box_row(1, [0, 0, 9, 9], iscrowd=1)])
    write_split(tmp_path, "val", [image_row(9)], [])
    with pytest.raises(ValueError, match="must have an object that is not ignored"):
        load(tmp_path, batch_size=2)


def test_digit_scenes_are_the_default_data(monkeypatch):
    few = types.MappingProxyType({"train": 9, "validation": 3, "test": 4})
    monkeypatch.setattr(digit_scenes, "NUM_SCENES", few)
    data = load_detection_data(
        DetectionDataConfig(batch_size=4), SceneAugmentationConfig()
    )
    assert (data.num_train, data.num_validation, data.num_test) == (9, 3, 4)
    assert data.augmentation.horizontal_flip == "off"
    assert data.class_names == tuple("0123456789")
    (images, targets), _ = data.train_epoch(0)
    assert images.shape == (4, 160, 160, 3)
    assert targets["labels"].shape == (4, 100)
    assert np.all(np.max(targets["labels"], axis=1) >= 0)
    images, _ = next(iter(data.test()))
    expected = data.test_split.scenes[0].read_pixels(None)
    np.testing.assert_allclose((images[0] + 1) * 127.5, expected, atol=1e-3)
