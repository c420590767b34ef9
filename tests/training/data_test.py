"""The embedded digits from end to end: splits, order, labels and weights."""

import dataclasses

import numpy as np
import pytest
from sklearn.datasets import load_digits

from mobilenas_tf.training.config import AugmentationConfig, DataConfig
from mobilenas_tf.training.data import (
    describe_balance,
    load_classification_data,
    load_divided_data,
    to_network_input,
)
from mobilenas_tf.training.image_split import hold_in_memory

PLAIN = AugmentationConfig(crop="none")


def load(augmentation=PLAIN, **options):
    config = DataConfig(**{"image_size_px": 8, "batch_size": 64, **options})
    return load_classification_data(config, augmentation)


@pytest.fixture(scope="module")
def digits():
    return load()


def test_digits_are_split_70_10_20(digits):
    # 1,797 images: round(0.2 n) = 359, round(0.1 n) = 180, the rest 1,258.
    assert (digits.num_train, digits.num_validation, digits.num_test) == (
        1258,
        180,
        359,
    )
    assert digits.class_names == tuple("0123456789")
    _, labels = load_digits(return_X_y=True)
    test_counts = np.bincount(digits.test_split.labels)
    np.testing.assert_allclose(test_counts, 0.2 * np.bincount(labels), atol=1)


def test_at_their_own_size_digits_keep_their_values(digits):
    originals, _ = load_digits(return_X_y=True)
    expected = {
        np.rint(row * (255 / 16)).astype(np.uint8).tobytes() for row in originals
    }
    for images, _ in digits.test():
        pixels = np.rint((images.numpy() + 1) * 127.5).astype(np.uint8)
        np.testing.assert_array_equal(pixels[..., 0], pixels[..., 2])
        assert all(image[..., 0].tobytes() in expected for image in pixels)


def test_digits_are_enlarged_bilinearly():
    # Doubling: the first row of pixels is the original's, the next 3/4 of the first
    # plus 1/4 of the second, and so on (pixel centres at half integers).
    small = next(iter(load(image_size_px=8).test()))[0].numpy()
    large = next(iter(load(image_size_px=16).test()))[0].numpy()
    np.testing.assert_allclose(large[:, 0, 0], small[:, 0, 0], atol=0.005)
    expected = 0.75 * small[:, 3, 0] + 0.25 * small[:, 4, 0]
    np.testing.assert_allclose(large[:, 7, 0], expected, atol=0.012)


def test_splits_are_disjoint_and_complete(digits):
    seen = []
    for dataset in (digits.validation(), digits.test()):
        seen += [image.tobytes() for images, _ in dataset for image in images.numpy()]
    train = digits.calibration_images(digits.num_train)
    originals, _ = load_digits(return_X_y=True)
    num_distinct = len({row.tobytes() for row in originals})
    assert len({*seen, *(image.tobytes() for image in train)}) == num_distinct
    assert len(seen) + len(train) == 1797


def test_an_epoch_has_whole_batches_of_static_shape(digits):
    dataset = digits.train_epoch(0)
    shapes = [spec.shape.as_list() for spec in dataset.element_spec]
    assert shapes == [[64, 8, 8, 3], [64, 10], [64]]
    batches = list(dataset)
    assert len(batches) == digits.steps_per_epoch == 1258 // 64
    for images, labels, weights in batches:
        assert images.dtype == labels.dtype == weights.dtype == np.float32
        assert np.all(np.abs(images) <= 1)
        np.testing.assert_array_equal(np.sum(labels, axis=1), 1)
        np.testing.assert_array_equal(weights, 1)


def epoch_contents(data, epoch):
    batches = [images.numpy() for images, _, _ in data.train_epoch(epoch)]
    return np.concatenate(batches)


@pytest.mark.parametrize(
    "augmentation",
    [
        AugmentationConfig(crop="pad", horizontal_flip="on"),
        AugmentationConfig(crop="random_resized"),
        AugmentationConfig(mixup_alpha=0.2, cutmix_alpha=1.0),
    ],
)
def test_epochs_follow_from_seed_and_number(augmentation):
    data, again = load(augmentation), load(augmentation)
    other_seed = load(augmentation, seed=1)
    later = epoch_contents(data, 1)
    np.testing.assert_array_equal(later, epoch_contents(again, 1))
    assert np.any(later != epoch_contents(data, 0))
    assert np.any(later != epoch_contents(other_seed, 1))


def test_the_rest_of_an_epoch_is_that_of_the_whole_one():
    # What is drawn for a batch hangs on the batches before it, with mixing.
    for augmentation in (PLAIN, AugmentationConfig(mixup_alpha=0.2, cutmix_alpha=1.0)):
        data = load(augmentation)
        whole = [images.numpy() for images, *_ in data.train_epoch(1)]
        rest = [images.numpy() for images, *_ in data.train_epoch(1).skip(3)]
        np.testing.assert_array_equal(whole[3:], rest)


def test_an_epoch_shows_each_image_once(digits):
    images = epoch_contents(digits, 0)
    train = digits.calibration_images(digits.num_train)
    originals = [image.tobytes() for image in train]
    shown = [image.tobytes() for image in images]
    assert set(shown) <= set(originals)
    assert len(set(shown)) >= len(shown) - (len(originals) - len(set(originals)))


def test_evaluation_keeps_its_order_and_its_last_batch(digits):
    labels = [batch.numpy() for _, batch in digits.test()]
    assert [len(batch) for batch in labels] == [64] * 5 + [359 - 320]
    np.testing.assert_array_equal(np.concatenate(labels), digits.test_split.labels)
    other_seed = load(seed=9)
    np.testing.assert_array_equal(
        other_seed.test_split.labels, digits.test_split.labels
    )


def test_class_weights_weigh_images_by_their_class():
    data = load(class_weights="balanced", max_train_images=320)
    expected = 320 / (10 * data.class_counts)
    np.testing.assert_allclose(data.class_weights, expected, rtol=1e-6)
    for _, labels, weights in data.train_epoch(0):
        np.testing.assert_allclose(weights, expected[np.argmax(labels, 1)], rtol=1e-6)


def test_a_mixed_image_has_a_mixed_weight():
    data = load(AugmentationConfig(mixup_alpha=1.0), class_weights="balanced")
    _, labels, weights = next(iter(data.train_epoch(0)))
    expected = labels.numpy() @ data.class_weights
    np.testing.assert_allclose(weights, expected, rtol=1e-5)


def test_max_train_images_leaves_the_other_splits_alone(digits):
    data = load(max_train_images=200)
    assert data.num_train == 200
    np.testing.assert_array_equal(data.test_split.labels, digits.test_split.labels)
    assert data.class_counts.min() >= 19


def test_calibration_images_repeat_and_are_not_augmented():
    data = load(AugmentationConfig(crop="random_resized"))
    images = data.calibration_images(100)
    assert images.shape == (100, 8, 8, 3) and images.dtype == np.float32
    np.testing.assert_array_equal(images, data.calibration_images(100))
    np.testing.assert_array_equal(images[:5], data.calibration_images(5))


def test_calibration_images_show_as_much_as_evaluation_does():
    # The inner half of a photo is white.
    photo = np.zeros((24, 24, 3), np.uint8)
    photo[6:18, 6:18] = 255
    data = load(AugmentationConfig(crop="random_resized"), central_crop_fraction=0.5)
    split = hold_in_memory(np.stack([photo] * 4), np.zeros(4, np.int32))
    images = dataclasses.replace(data, train_split=split).calibration_images(2)
    assert images.shape == (2, 8, 8, 3)
    assert images.min() > 0.9


def test_images_that_score_are_of_all_classes_whatever_their_order(digits):
    by_class = np.sort(digits.validation_split.labels)
    ordered = hold_in_memory(np.zeros((len(by_class), 8, 8, 3), np.uint8), by_class)
    data = dataclasses.replace(digits, validation_split=ordered)
    images, labels = data.scoring_images(60)
    assert images.shape == (60, 8, 8, 3) and images.dtype == np.float32
    assert set(labels) == set(range(10))
    again, _ = data.scoring_images(60)
    np.testing.assert_array_equal(images, again)
    every, labels = data.scoring_images(1000)
    assert len(every) == data.num_validation
    np.testing.assert_array_equal(np.bincount(labels), np.bincount(by_class))


@pytest.mark.parametrize("count", [0, 1259])
def test_an_impossible_number_of_calibration_images_is_an_error(digits, count):
    with pytest.raises(ValueError, match=f"count must be from 1 to 1258.*={count}"):
        digits.calibration_images(count)


def test_a_batch_larger_than_the_training_split_is_an_error():
    with pytest.raises(ValueError, match="batch_size must be at most 100.*=128"):
        load(batch_size=128, max_train_images=100)


def test_network_input_runs_from_minus_one_to_one():
    values = to_network_input(np.array([0, 127.5, 255], np.float32))
    np.testing.assert_allclose(values, [-1, 0, 1], atol=1e-6)


def test_the_balance_table_counts_every_split():
    data = load(class_weights="balanced")
    table = describe_balance(data)
    lines = table.splitlines()
    assert lines[0].split() == [
        *("class", "train", "validation", "test", "share", "of", "train", "weight")
    ]
    assert len(lines) == 12
    assert lines[-1].split() == ["all", "10", "1,258", "180", "359", "100.0%"]
    zeros = lines[1].split()
    assert int(zeros[1]) == data.class_counts[0]
    assert zeros[-1] == f"{data.class_weights[0]:.3f}"


def test_the_balance_table_of_many_classes_shows_both_ends(digits):
    counts = np.arange(1, 31)
    split = dataclasses.replace(digits.train_split, labels=np.repeat(range(30), counts))
    data = dataclasses.replace(
        digits,
        class_names=tuple(f"class_{index}" for index in range(30)),
        train_split=split,
        validation_split=split,
        test_split=split,
    )
    names = [line.split()[0] for line in describe_balance(data).splitlines()]
    assert len(names) == 22
    assert names[1] == "class_29" and names[-2] == "class_0"


def test_divided_data_have_disjoint_training_images_and_steps_in_common():
    config = DataConfig(dataset="digits", image_size_px=8, batch_size=32)
    first, second = load_divided_data(config, AugmentationConfig(), share=0.25)
    whole = load_classification_data(config, AugmentationConfig())
    assert first.num_train + second.num_train == whole.num_train
    assert second.num_train == round(0.25 * whole.num_train)
    assert second.steps_per_epoch >= first.steps_per_epoch
    assert second.config.batch_size == second.num_train // first.steps_per_epoch
    images = [
        {image.tobytes() for image in data.calibration_images(data.num_train)}
        for data in (first, second)
    ]
    assert not images[0] & images[1]
    assert first.num_validation == second.num_validation == whole.num_validation
    with pytest.raises(ValueError, match="batch_size must be larger, so that a share"):
        load_divided_data(
            dataclasses.replace(config, batch_size=2), AugmentationConfig(), share=0.01
        )
