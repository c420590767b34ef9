import numpy as np
import pytest
import tensorflow as tf

from detection import data as detection_data
from mobilenas_tf.training import data as classification_data
from mobilenas_tf.training.batch_share import WHOLE, Share
from mobilenas_tf.training.config import AugmentationConfig
from tests.detection import data_test as scenes
from tests.training import data_test as digits
from tests.training import image_folder_test as photos
from tests.training import tfds_images_test as tfds_images

HALVES = Share(0, 2), Share(1, 2)
VARIED = AugmentationConfig(crop="pad", horizontal_flip="on")


def test_shares_of_a_batch_are_its_parts_in_order():
    values = tf.range(6)
    assert Share(1, 3).of(values).numpy().tolist() == [2, 3]
    assert Share(2, 3).size(6) == 2
    assert WHOLE.of(values).numpy().tolist() == values.numpy().tolist()


def test_an_epoch_is_shared_out_batch_by_batch():
    examples = np.arange(10)  # two batches of 4, and 2 examples that fill none
    first, second = (share.pick(examples, 4).tolist() for share in HALVES)
    assert (first, second) == ([0, 1, 4, 5, 8, 9], [2, 3, 6, 7])
    dataset = tf.data.Dataset.from_tensor_slices(examples)
    for share in (*HALVES, WHOLE):
        streamed = share.filter(dataset, 4).as_numpy_iterator()
        assert list(streamed) == share.pick(examples, 4).tolist()


@pytest.fixture
def folders(tmp_path):
    photos.write_photos(tmp_path / "photos", {"car": 20, "bus": 10})
    tfds_images.write_dataset(tmp_path, "toy_colours", {"train": 60, "test": 12})
    return tmp_path


@pytest.mark.parametrize(
    "load",
    [
        lambda _: digits.load(VARIED),
        lambda _: digits.load(AugmentationConfig(crop="random_resized")),
        lambda root: photos.load(root / "photos", in_memory_limit_mib=0),
        lambda root: tfds_images.load(root, "tfds:toy_colours", in_memory_limit_mib=0),
    ],
    ids=["shifted", "cropped", "folder", "tfds"],
)
def test_workers_read_the_batches_of_one_between_them(load, folders, monkeypatch):
    whole = load(folders)
    epochs = [list(whole.train_epoch(1))]
    for share in HALVES:
        monkeypatch.setattr(classification_data, "worker_share", lambda s=share: s)
        epochs.append(list(load(folders).train_epoch(1)))
    assert {len(epoch) for epoch in epochs} == {whole.steps_per_epoch}
    for batch, *halves in zip(*epochs, strict=True):
        for values, *parts in zip(batch, *halves, strict=True):
            np.testing.assert_array_equal(values, np.concatenate(parts))


def test_workers_read_the_scenes_of_one_between_them(tmp_path_factory, monkeypatch):
    root = scenes.folder.__wrapped__(tmp_path_factory)
    varied = scenes.SceneAugmentationConfig(color_jitter=1.0)
    epochs = [list(scenes.load(root, varied).train_epoch(1))]
    for share in HALVES:
        monkeypatch.setattr(detection_data, "worker_share", lambda s=share: s)
        epochs.append(list(scenes.load(root, varied).train_epoch(1)))
    for batch, *halves in zip(*epochs, strict=True):
        flat = [tf.nest.flatten(part) for part in (batch, *halves)]
        for values, *parts in zip(*flat, strict=True):
            np.testing.assert_array_equal(values, np.concatenate(parts))
