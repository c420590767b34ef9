"""Prepared TensorFlow data sets, made here from a few images."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from mobilenas_tf.training import tfds_images
from mobilenas_tf.training.config import AugmentationConfig, DataConfig
from mobilenas_tf.training.data import load_classification_data

SIZE_PX = 6
NUM_CLASSES = 3


def write_dataset(folder, name, counts, *, label_feature=None, channels=3):
    """Stores images whose every pixel is 10 * label + 100, in shards of 20."""
    shape = (SIZE_PX, SIZE_PX, channels)
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=shape),
            "label": label_feature or tfds.features.ClassLabel(names=["a", "b", "c"]),
        }
    )
    data_dir = folder / name / "1.0.0"
    data_dir.mkdir(parents=True)
    identity = tfds.core.dataset_info.DatasetIdentity(
        name=name, version="1.0.0", data_dir=str(data_dir), module_name="test"
    )
    info = tfds.core.DatasetInfo(builder=identity, features=features)
    writer = tfds.core.SequentialWriter(info, max_examples_per_shard=20)
    writer.initialize_splits(list(counts))
    for split, count in counts.items():
        examples = [
            {"image": np.full(shape, 10 * label + 100, np.uint8), "label": label}
            for label in np.arange(count) % NUM_CLASSES
        ]
        writer.add_examples({split: examples})
    writer.close_all()


def load(folder, dataset, **options):
    config = DataConfig(
        dataset=dataset,
        data_dir=str(folder),
        image_size_px=SIZE_PX,
        batch_size=6,
        **options,
    )
    return load_classification_data(config, AugmentationConfig(crop="none"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    write_dataset(folder, "toy_colours", {"train": 60, "test": 12})
    write_dataset(folder, "toy_grey", {"train": 60}, channels=1)
    write_dataset(
        folder,
        "toy_scores",
        {"train": 3},
        label_feature=tfds.features.Scalar(dtype=np.int64),
    )
    write_dataset(folder, "toy_only_test", {"test": 3})
    return folder


@pytest.mark.parametrize(
    ("in_memory_limit_mib", "held_bytes"), [(2048, 2**20), (2048, 0), (0, 2**20)]
)
def test_images_and_labels_stay_together(
    folder, monkeypatch, in_memory_limit_mib, held_bytes
):
    monkeypatch.setattr(tfds_images, "_HELD_BYTES", held_bytes)
    data = load(folder, "tfds:toy_colours", in_memory_limit_mib=in_memory_limit_mib)
    assert data.class_names == ("a", "b", "c")
    assert (data.num_train, data.num_validation, data.num_test) == (54, 6, 12)
    found = []
    for images, labels in data.test():
        pixels = np.rint((images[:, 0, 0, 0] + 1) * 127.5)
        np.testing.assert_array_equal(pixels, 10 * labels + 100)
        found.extend(labels.numpy())
    assert np.bincount(found).tolist() == [4, 4, 4]
    for images, labels, _ in data.train_epoch(0):
        pixels = np.rint((images[:, 0, 0, 0] + 1) * 127.5)
        np.testing.assert_array_equal(pixels, 10 * np.argmax(labels, -1) + 100)


def test_streamed_epochs_follow_the_seed(folder):
    data = load(folder, "tfds:toy_colours", in_memory_limit_mib=0)

    def labels(epoch):
        return [labels.numpy().tolist() for _, labels, _ in data.train_epoch(epoch)]

    assert labels(0) == labels(0) != labels(1)


def test_one_channel_becomes_three(folder):
    data = load(folder, "tfds:toy_grey")
    assert (data.num_train, data.num_validation, data.num_test) == (42, 6, 12)
    images, _ = next(iter(data.test()))
    assert images.shape == (6, SIZE_PX, SIZE_PX, 3)
    np.testing.assert_array_equal(images[..., 0], images[..., 2])


def test_a_misspelt_name_is_answered_with_the_nearest(folder):
    with pytest.raises(ValueError, match="nearest.*toy_colours.*tfds:toy_colors"):
        load(folder, "tfds:toy_colors")


def test_a_known_data_set_that_is_not_there_is_not_downloaded(folder):
    with pytest.raises(ValueError, match="prepare it once with `tfds build mnist"):
        load(folder, "tfds:mnist")


def test_a_missing_data_dir_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="which holds none.*nowhere"):
        load(tmp_path / "nowhere", "tfds:toy_colours")


def test_a_data_set_without_class_labels_is_an_error(folder):
    with pytest.raises(ValueError, match=r"label \(a ClassLabel\).*toy_scores"):
        load(folder, "tfds:toy_scores")


def test_a_data_set_without_training_images_is_an_error(folder):
    with pytest.raises(ValueError, match="must have the split train.*toy_only_test"):
        load(folder, "tfds:toy_only_test")
