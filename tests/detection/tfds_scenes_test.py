"""Prepared TensorFlow data sets with boxes, made here from a few images."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from detection.tfds_scenes import open_tfds_scenes

BOX = {"bbox": tfds.features.BBoxFeature()}


def make_features(fields, names, *, others=None):
    label = tfds.features.ClassLabel(names=names)
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(),
            "objects": tfds.features.Sequence({**BOX, "label": label, **fields}),
            **(others or {}),
        }
    )


def write_dataset(folder, name, config, features, examples_by_split):
    """Stores examples in shards of at most 3."""
    data_dir = folder / name / config / "1.0.0"
    data_dir.mkdir(parents=True)
    identity = tfds.core.dataset_info.DatasetIdentity(
        name=name,
        version="1.0.0",
        data_dir=str(data_dir),
        module_name="test",
        config_name=config,
    )
    info = tfds.core.DatasetInfo(builder=identity, features=features)
    writer = tfds.core.SequentialWriter(info, max_examples_per_shard=3)
    writer.initialize_splits(list(examples_by_split))
    for split, examples in examples_by_split.items():
        writer.add_examples({split: examples})
    writer.close_all()


def photo(value, *, height=10, width=20):
    return np.full((height, width, 3), value, np.uint8)


def box(y_min, x_min, y_max, x_max):
    return tfds.features.BBox(ymin=y_min, xmin=x_min, ymax=y_max, xmax=x_max)


def coco_object(label, corners, **others):
    fields = {"area": 7, "is_crowd": False, **others}
    return {"label": label, "bbox": box(*corners), **fields}


def coco_example(image_id, value, objects):
    return {"image": photo(value), "image/id": image_id, "objects": objects}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    coco = make_features(
        {"area": np.int64, "is_crowd": np.bool_},
        [f"class{index}" for index in range(80)],
        others={"image/id": np.int64},
    )
    train = [
        coco_example(100 + i, 10 * i, [coco_object(i, (0.1, 0.2, 0.5, 0.45))])
        for i in range(8)
    ]
    crowd = coco_object(79, (0.0, 0.0, 1.0, 1.0), is_crowd=True, area=150)
    small = coco_object(11, (0.25, 0.5, 0.5, 0.75))
    splits = {
        "train": train,
        "validation": [coco_example(55, 7, [crowd, small]), coco_example(54, 8, [])],
        "test": [coco_example(1, 9, [])],
    }
    write_dataset(folder, "coco", "2017", coco, splits)
    voc = make_features(
        {"is_difficult": np.bool_, "is_truncated": np.bool_}, ["aeroplane", "bicycle"]
    )
    objects = [
        {
            "label": index,
            "bbox": box(0.0, 0.5, 0.5, 1.0),
            "is_difficult": index == 1,
            "is_truncated": True,
        }
        for index in (1, 0)
    ]
    voc_example = {"image": photo(50, height=30), "objects": objects}
    voc_splits = {"train": [voc_example], "validation": [voc_example] * 2}
    write_dataset(folder, "voc", "2007", voc, {**voc_splits, "test": [voc_example]})
    line = {"label": "a", "bbox": box(0.5, 0.1, 0.5, 0.9)}
    plain = make_features({}, ["a"])
    bad = {"image": photo(1), "objects": [line]}
    write_dataset(folder, "toy_lines", "all", plain, {"train": [bad]})
    no_boxes = tfds.features.FeaturesDict({"image": tfds.features.Image()})
    write_dataset(
        folder, "toy_images", "all", no_boxes, {"train": [{"image": photo(1)}]}
    )
    return folder


def test_coco_keeps_its_ids(folder):
    source = open_tfds_scenes("coco/2017", str(folder))
    assert source.class_names[:2] == ("class0", "class1")
    # The 80 categories have ids from 1 to 90: the 11th is 11, the 12th is 13.
    assert len(set(source.category_ids)) == 80
    assert source.category_ids[:12] == (*range(1, 12), 13)
    assert source.category_ids[-1] == 90
    crowded, empty = source.scenes_by_split["validation"]
    assert (crowded.image_id, empty.image_id) == (55, 54)
    assert (crowded.height, crowded.width) == (10, 20)
    np.testing.assert_allclose(
        crowded.boxes, [[0, 0, 10, 20], [2.5, 10, 5, 15]], atol=1e-5
    )
    assert crowded.labels.tolist() == [79, 11]
    assert crowded.is_ignored.tolist() == [True, False]
    assert crowded.areas_px.tolist() == [150, 7]
    assert empty.boxes.shape == (0, 4)


def test_a_test_split_without_boxes_is_left_aside(folder):
    source = open_tfds_scenes("coco/2017", str(folder))
    assert set(source.scenes_by_split) == {"train", "validation"}


def test_pixels_belong_to_their_boxes_in_every_shard(folder):
    scenes = open_tfds_scenes("coco/2017", str(folder)).scenes_by_split["train"]
    assert len(list(folder.glob("coco/2017/1.0.0/*train*"))) == 3
    assert len(scenes) == 8
    for scene in scenes:
        index = scene.image_id - 100
        assert scene.labels.tolist() == [index]
        np.testing.assert_array_equal(scene.read_pixels(None), photo(10 * index))
        assert scene.read_pixels(4).shape == (4, 4, 3)
        np.testing.assert_allclose(scene.boxes, [[1, 4, 5, 9]], atol=1e-5)


def test_what_voc_calls_difficult_is_ignored(folder):
    source = open_tfds_scenes("voc/2007", str(folder))
    assert source.category_ids == (1, 2)
    assert {name: len(part) for name, part in source.scenes_by_split.items()} == {
        "train": 1,
        "validation": 2,
        "test": 1,
    }
    (scene,) = source.scenes_by_split["test"]
    assert scene.labels.tolist() == [1, 0]
    assert scene.is_ignored.tolist() == [True, False]
    assert (scene.height, scene.width, scene.image_id) == (30, 20, 1)
    assert scene.areas_px.tolist() == [150, 150]  # 15 * 10


def test_boxes_without_area_are_told(folder):
    source = open_tfds_scenes("toy_lines/all", str(folder))
    assert source.problems == (
        "train[0]: objects[0]/bbox has no area in the image: left out",
    )
    assert len(source.scenes_by_split["train"][0].labels) == 0


def test_a_data_set_without_boxes_is_an_error(folder):
    with pytest.raises(ValueError, match="objects.*toy_images/all.*features image$"):
        open_tfds_scenes("toy_images/all", str(folder))


def test_a_data_set_that_is_not_there_is_not_downloaded(tmp_path):
    with pytest.raises(ValueError, match="prepare it once with `tfds build voc"):
        open_tfds_scenes("voc/2007", str(tmp_path))


def test_a_file_that_ends_early_is_an_error(folder, tmp_path):
    write_dataset(
        tmp_path,
        "toy_cut",
        "all",
        make_features({}, ["a"]),
        {"train": [{"image": photo(1), "objects": []}]},
    )
    (path,) = tmp_path.glob("toy_cut/all/1.0.0/*train*")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match="must be a whole TFRecord file.*ends early"):
        open_tfds_scenes("toy_cut/all", str(tmp_path))
