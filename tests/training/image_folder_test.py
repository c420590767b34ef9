"""Folders of photos: layouts, what is skipped, and errors in a user's words."""

import logging
import os

import numpy as np
import pytest
from PIL import Image

from mobilenas_tf.training.config import AugmentationConfig, DataConfig
from mobilenas_tf.training.data import load_classification_data
from mobilenas_tf.training.image_folder import open_image_folder

COLOURS = {"bus": (250, 0, 0), "car": (0, 0, 250)}


def write_photos(folder, counts, size=(12, 12)):
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            image = Image.new("RGB", size, COLOURS[name])
            image.putpixel((0, 0), (number, 0, 0))
            image.save(folder / name / f"{number:03}.png")


def load(folder, **options):
    config = DataConfig(
        dataset=f"folder:{folder}", image_size_px=12, batch_size=4, **options
    )
    return load_classification_data(config, AugmentationConfig())


def test_a_single_level_is_split_with_the_class_shares(tmp_path):
    write_photos(tmp_path, {"car": 20, "bus": 10})
    data = load(tmp_path)
    assert data.class_names == ("bus", "car")
    assert (data.num_train, data.num_validation, data.num_test) == (21, 3, 6)
    assert data.class_counts.tolist() == [7, 14]


@pytest.mark.parametrize("validation_name", ["val", "validation"])
def test_stored_splits_are_used(tmp_path, validation_name):
    write_photos(tmp_path / "train", {"bus": 5, "car": 5})
    write_photos(tmp_path / validation_name, {"bus": 2, "car": 1})
    write_photos(tmp_path / "test", {"car": 3})
    data = load(tmp_path)
    assert (data.num_train, data.num_validation, data.num_test) == (10, 3, 3)
    labels = np.concatenate([labels for _, labels in data.test()])
    assert labels.tolist() == [1, 1, 1]


def test_a_class_may_be_called_train(tmp_path):
    for name in ("train", "tram"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / name / "photo.jpg")
    source = open_image_folder(str(tmp_path))
    assert source.class_names == ("train", "tram")


@pytest.mark.parametrize("in_memory_limit_mib", [2048, 0])
def test_photos_and_labels_stay_together(tmp_path, in_memory_limit_mib):
    write_photos(tmp_path, {"bus": 15, "car": 15})
    data = load(tmp_path, in_memory_limit_mib=in_memory_limit_mib)
    for dataset in (data.validation(), data.test()):
        for images, labels in dataset:
            is_red = images[:, 6, 6, 0] > images[:, 6, 6, 2]
            np.testing.assert_array_equal(is_red, labels == 0)
    for images, labels, _ in data.train_epoch(0):
        is_red = images[:, 6, 6, 0] > images[:, 6, 6, 2]
        np.testing.assert_array_equal(is_red, labels[:, 0] == 1)


def test_streamed_and_in_memory_images_are_equal(tmp_path):
    write_photos(tmp_path, {"bus": 12, "car": 12}, size=(31, 20))
    held, streamed = load(tmp_path), load(tmp_path, in_memory_limit_mib=0)
    for one, other in (
        (held.test(), streamed.test()),
        (held.train_epoch(3), streamed.train_epoch(3)),
    ):
        for batch, other_batch in zip(one, other, strict=True):
            for tensor, other_tensor in zip(batch, other_batch, strict=True):
                np.testing.assert_array_equal(tensor, other_tensor)


@pytest.mark.parametrize("in_memory_limit_mib", [2048, 0])
def test_broken_photos_are_skipped_counted_and_named(
    tmp_path, caplog, in_memory_limit_mib
):
    write_photos(tmp_path, {"bus": 20, "car": 20})
    for number in (3, 4):
        (tmp_path / "bus" / f"{number:03}.png").write_bytes(b"no photo")
    (tmp_path / "bus" / "notes.txt").write_text("not looked at")
    with caplog.at_level(logging.WARNING, logger="absl"):
        data = load(tmp_path, in_memory_limit_mib=in_memory_limit_mib)
    assert data.num_train + data.num_validation + data.num_test == 38
    assert len(data.skipped_images) == 2
    assert caplog.text.count("003.png") == caplog.text.count("004.png") == 1
    assert len(list(data.train_epoch(0))) == data.num_train // 4


def test_too_many_broken_photos_are_an_error(tmp_path):
    write_photos(tmp_path, {"bus": 20, "car": 20})
    for number in range(3):
        (tmp_path / "bus" / f"{number:03}.png").write_bytes(b"no photo")
    with pytest.raises(ValueError, match="3 photos that fail, max_corrupt_images=2"):
        load(tmp_path, max_corrupt_images=2)


def test_a_class_of_broken_photos_is_an_error(tmp_path):
    write_photos(tmp_path, {"bus": 5, "car": 40})
    for path in (tmp_path / "bus").iterdir():
        path.write_bytes(b"no photo")
    with pytest.raises(ValueError, match="training photo that decodes.*class='bus'"):
        load(tmp_path)


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="must name a folder that exists.*nowhere"):
        load(tmp_path / "nowhere")


def test_an_empty_class_folder_is_an_error(tmp_path):
    write_photos(tmp_path, {"bus": 5, "car": 5})
    (tmp_path / "bicycle").mkdir()
    with pytest.raises(ValueError, match=r"must hold photos \(.bmp.*empty.*bicycle"):
        load(tmp_path)


def test_an_empty_test_folder_is_an_error(tmp_path):
    write_photos(tmp_path / "train", {"bus": 5, "car": 5})
    (tmp_path / "test" / "bus").mkdir(parents=True)
    with pytest.raises(ValueError, match="for validation or testing must hold photos"):
        load(tmp_path)


def test_class_names_may_have_spaces_quotes_and_semicolons(tmp_path):
    names = ["a cat; rm -rf *", "the 'dog' \"$(true)`"]
    for name in names:
        (tmp_path / name).mkdir()
        for number in range(8):
            Image.new("RGB", (12, 12)).save(tmp_path / name / f"{number}; &.png")
    assert load(tmp_path).class_names == tuple(names)


@pytest.mark.parametrize("name", ["cat\ndog", "cat\x1b[2J", b"cat\xff", " "])
def test_class_names_that_are_no_line_are_an_error(tmp_path, name):
    write_photos(tmp_path, {"bus": 1, "car": 1})
    (tmp_path / os.fsdecode(name)).mkdir()
    with pytest.raises(
        ValueError, match="a class folder in .* must be a name on one l"
    ):
        open_image_folder(str(tmp_path))


def test_folders_links_and_pipes_are_no_photos(tmp_path):
    write_photos(tmp_path, {"bus": 8, "car": 8})
    (tmp_path / "bus" / "folder.png").mkdir()
    (tmp_path / "bus" / "dangling.png").symlink_to("nowhere.png")
    os.mkfifo(tmp_path / "bus" / "pipe.png")
    data = load(tmp_path)
    assert data.num_train + data.num_validation + data.num_test == 16
    assert data.skipped_images == ()


def test_one_class_is_an_error(tmp_path):
    write_photos(tmp_path, {"bus": 5})
    with pytest.raises(ValueError, match=r"at least two sub-folders.*\['bus'\]"):
        load(tmp_path)


def test_a_class_that_is_not_trained_is_an_error(tmp_path):
    write_photos(tmp_path / "train", {"bus": 5, "car": 5})
    (tmp_path / "test" / "boat").mkdir(parents=True)
    with pytest.raises(ValueError, match="classes that train has.*class='boat'"):
        load(tmp_path)


def test_two_validation_folders_are_an_error(tmp_path):
    write_photos(tmp_path / "train", {"bus": 5, "car": 5})
    for name in ("val", "validation"):
        (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match="one of the folders validation and val"):
        load(tmp_path)


def test_too_few_photos_to_split_are_an_error(tmp_path):
    write_photos(tmp_path, {"bus": 1, "car": 1})
    with pytest.raises(ValueError, match="use more images or fewer classes"):
        load(tmp_path)


def test_central_crop_applies_to_evaluation_alone(tmp_path):
    # A blue frame around red: a crop of one half leaves no blue.
    for name in COLOURS:
        (tmp_path / name).mkdir()
        for number in range(10):
            image = Image.new("RGB", (48, 48), (0, 0, 250))
            image.paste((250, 0, 0), (12, 12, 36, 36))
            image.save(tmp_path / name / f"{number}.png")
    config = DataConfig(
        dataset=f"folder:{tmp_path}",
        image_size_px=12,
        batch_size=4,
        central_crop_fraction=0.5,
    )
    augmentation = AugmentationConfig(crop="random_resized", min_crop_area=1.0)
    data = load_classification_data(config, augmentation)
    images, _ = next(iter(data.test()))
    assert np.all(images[:, 1:-1, 1:-1, 2] == -1)
    images, _, _ = next(iter(data.train_epoch(0)))
    assert images.shape == (4, 12, 12, 3)
    assert np.all(images[:, 0, 0, 2] > 0.9)
