"""Crops, flips and mixtures against what each image must still contain."""

import math

import numpy as np
import pytest
import tensorflow as tf

from mobilenas_tf.training.augmentation import (
    build_image_transform,
    build_mixer,
    random_resized_crop,
    resolve_augmentation,
    shift_and_flip,
)
from mobilenas_tf.training.config import AugmentationConfig

SEED = tf.constant([5, 0], tf.int64)


def numbered_pixels(batch_size, size_px):
    """Images in which pixel (y, x) is 1 + y * size_px + x."""
    image = 1 + np.arange(size_px * size_px).reshape(size_px, size_px, 1)
    return np.tile(image, (batch_size, 1, 1, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("dataset", "size_px", "crop", "padding_px", "flip"),
    [
        ("digits", 32, "pad", 2, "off"),
        ("digits", 96, "pad", 6, "off"),
        ("tfds:x", 32, "pad", 4, "on"),
        ("folder:x", 64, "pad", 8, "on"),
        ("folder:x", 65, "random_resized", 8, "on"),
    ],
)
def test_auto_depends_on_data_set_and_size(dataset, size_px, crop, padding_px, flip):
    resolved = resolve_augmentation(
        AugmentationConfig(), dataset=dataset, image_size_px=size_px
    )
    assert (resolved.crop, resolved.crop_padding_px) == (crop, padding_px)
    assert resolved.horizontal_flip == flip


def test_what_the_user_asks_for_is_kept():
    asked = AugmentationConfig(crop="none", crop_padding_px=3, horizontal_flip="on")
    assert resolve_augmentation(asked, dataset="digits", image_size_px=32) == asked


@pytest.mark.parametrize("flip", [False, True])
def test_a_shifted_image_is_a_window_of_the_padded_one(flip):
    size_px, padding_px = 5, 2
    images = numbered_pixels(64, size_px)
    shifted = shift_and_flip(
        tf.constant(images), padding_px=padding_px, flip=flip, seed=SEED
    ).numpy()
    pad = (padding_px, padding_px)
    padded = np.pad(images[0], (pad, pad, (0, 0)))
    windows = {}
    for top in range(2 * padding_px + 1):
        for left in range(2 * padding_px + 1):
            window = padded[top : top + size_px, left : left + size_px]
            windows[window.tobytes()] = (top, left, False)
            if flip:
                windows[window[:, ::-1].tobytes()] = (top, left, True)
    found = [windows[image.tobytes()] for image in shifted]
    assert len({(top, left) for top, left, _ in found}) > 10
    assert {mirrored for _, _, mirrored in found} == (
        {False, True} if flip else {False}
    )


def test_flips_alone_mirror_about_half_of_the_images():
    count = 400
    images = numbered_pixels(count, 4)
    flipped = shift_and_flip(tf.constant(images), padding_px=0, flip=True, seed=SEED)
    is_mirrored = flipped.numpy()[:, 0, 0, 0] == images[0, 0, 3, 0]
    mirrored = np.where(is_mirrored[:, None, None, None], images[:, :, ::-1], images)
    np.testing.assert_array_equal(flipped, mirrored)
    assert abs(is_mirrored.mean() - 0.5) < 4 * math.sqrt(0.25 / count)


def test_without_padding_and_flip_images_are_unchanged():
    images = numbered_pixels(3, 4)
    same = shift_and_flip(tf.constant(images), padding_px=0, flip=False, seed=SEED)
    np.testing.assert_array_equal(same, images)


def test_a_full_area_crop_is_the_image_with_a_side_cut():
    # Of area 1 one side is 1 and the other at least sqrt(3/4): so a horizontal ramp
    # keeps at least that share of its range.
    ramp = np.tile(np.linspace(0, 200, 33)[None, None, :, None], (32, 33, 1, 3))
    crops = random_resized_crop(
        tf.constant(ramp, tf.float32), 9, min_area=1.0, flip=False, seed=SEED
    ).numpy()
    assert crops.shape == (32, 9, 9, 3)
    spread = crops[:, 0, -1, 0] - crops[:, 0, 0, 0]
    assert spread.min() >= 200 * math.sqrt(3 / 4) - 1e-3
    assert spread.max() == pytest.approx(200)


def test_crops_keep_at_least_the_smallest_area_up_to_a_cut_side():
    # Two ramps, one per axis; a crop's area is the product of what it spans of them.
    axis = np.linspace(0, 1, 65)
    ramps = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    images = tf.constant(np.tile(ramps, (256, 1, 1, 1)), tf.float32)
    crops = random_resized_crop(images, 8, min_area=0.25, flip=False, seed=SEED).numpy()
    height = crops[:, -1, 0, 0] - crops[:, 0, 0, 0]
    width = crops[:, 0, -1, 1] - crops[:, 0, 0, 1]
    assert np.all(height * width > 0.25 - 1e-5)
    assert np.all(width / height < 4 / 3 + 1e-5)
    assert np.all(width / height > 3 / 4 - 1e-5)
    assert np.all((crops > -1e-6) & (crops < 1 + 1e-6))
    assert (height * width).min() < 0.35 and (height * width).max() > 0.9


def test_flipped_crops_run_from_right_to_left():
    ramp = np.tile(np.linspace(0, 1, 33)[None, None, :, None], (200, 33, 1, 3))
    crops = random_resized_crop(
        tf.constant(ramp, tf.float32), 8, min_area=0.5, flip=True, seed=SEED
    ).numpy()
    falls = crops[:, 0, 0, 0] > crops[:, 0, -1, 0]
    assert abs(falls.mean() - 0.5) < 4 * math.sqrt(0.25 / 200)


@pytest.mark.parametrize("crop", ["none", "pad", "random_resized"])
def test_transforms_repeat_with_the_seed(crop):
    config = AugmentationConfig(crop=crop, crop_padding_px=2, horizontal_flip="on")
    transform = build_image_transform(config, 6)
    images = tf.constant(numbered_pixels(16, 6))
    first, again = transform(images, SEED), transform(images, SEED)
    other = transform(images, SEED + 1)
    assert first.shape == (16, 6, 6, 3) and first.dtype == tf.float32
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


def test_rand_augment_changes_images_each_on_its_own_and_stays_in_range():
    config = AugmentationConfig(
        crop="none", horizontal_flip="off", rand_augment_magnitude=0.5
    )
    transform = build_image_transform(config, 12)
    images = tf.constant(numbered_pixels(16, 12))
    varied = transform(images, SEED).numpy()
    assert varied.shape == (16, 12, 12, 3)
    assert varied.min() >= 0 and varied.max() <= 255
    assert len({image.tobytes() for image in varied}) > 8


def one_hot_batch(batch_size, num_classes):
    """Images whose every pixel is the label, so that mixtures can be read off."""
    labels = np.arange(batch_size) % num_classes
    images = np.tile(np.eye(num_classes)[labels][:, None, None, :], (1, 16, 16, 1))
    return tf.constant(images, tf.float32), tf.one_hot(labels, num_classes)


def test_mixup_mixes_labels_exactly_like_pixels():
    images, labels = one_hot_batch(32, 3)
    mixed, mixed_labels = build_mixer(mixup_alpha=0.4, cutmix_alpha=0, seed=1)(
        images, labels
    )
    np.testing.assert_allclose(mixed_labels.numpy().sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(mixed[:, 3, 5], mixed_labels, atol=1e-6)
    assert np.any(mixed_labels.numpy().max(axis=1) < 0.9)


def test_cutmix_labels_sum_to_one_and_follow_the_area_inside_the_image():
    images, labels = one_hot_batch(64, 3)
    mixed, mixed_labels = build_mixer(mixup_alpha=0, cutmix_alpha=1.0, seed=1)(
        images, labels
    )
    mixed_labels = mixed_labels.numpy()
    np.testing.assert_allclose(mixed_labels.sum(axis=1), 1, atol=1e-6)
    assert set(np.unique(mixed)) == {0.0, 1.0}
    # The box's area inside the image is at most the area that the label states.
    own_area = np.sum(mixed.numpy().mean(axis=(1, 2)) * labels.numpy(), axis=1)
    own_label = np.sum(mixed_labels * labels.numpy(), axis=1)
    assert np.all(own_area >= own_label - 1e-6)
    assert own_area.min() < 0.9


def test_with_both_kinds_a_batch_takes_one_of_them():
    images, labels = one_hot_batch(16, 3)
    mix = build_mixer(mixup_alpha=1.0, cutmix_alpha=1.0, seed=3)
    whole = 0
    for _ in range(40):
        mixed, mixed_labels = mix(images, labels)
        np.testing.assert_allclose(mixed_labels.numpy().sum(axis=1), 1, atol=1e-6)
        whole += set(np.unique(mixed)) == {0.0, 1.0}
    assert abs(whole / 40 - 0.5) < 4 * math.sqrt(0.25 / 40)


def test_mixing_repeats_with_its_seed_and_leaves_the_global_seed_alone():
    images, labels = one_hot_batch(16, 3)
    batches = tf.data.Dataset.from_tensors((images, labels)).repeat(3)

    def epoch(seed):
        mix = build_mixer(mixup_alpha=0.4, cutmix_alpha=1.0, seed=seed)
        return np.stack([labels for _, labels in batches.map(mix)])

    tf.random.set_seed(0)
    untouched = tf.random.uniform([4]).numpy()
    tf.random.set_seed(0)
    first = epoch(1)
    np.testing.assert_array_equal(tf.random.uniform([4]), untouched)
    np.testing.assert_array_equal(first, epoch(1))
    assert np.any(first != epoch(2))
    assert np.any(first[0] != first[1])
