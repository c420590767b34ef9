"""Augmentation of images with their boxes: what is seen and what is annotated agree."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from detection.config import SceneAugmentationConfig
from detection.scene_augmentation import (
    CROP_TRIALS,
    build_mosaic,
    build_scene_transform,
    cut_window,
    draw_canvas,
    draw_crop,
    flip_scene,
    jitter_colors,
    mix_mosaics,
    move_boxes,
    resolve_scene_augmentation,
)
from tests.reference import scenes as slow
from tests.reference.detection import iou

WHOLE = [0.0, 0.0, 1.0, 1.0]
NO_CHANGE = SceneAugmentationConfig(
    random_crop=False, horizontal_flip="off", color_jitter=0.0
)


def make_targets(boxes, *, labels=None, is_ignored=None, num_boxes=5):
    """Returns targets padded to `num_boxes`."""
    count = len(boxes)
    padding = num_boxes - count
    labels = range(count) if labels is None else labels
    is_ignored = [False] * count if is_ignored is None else is_ignored
    padded = np.zeros((num_boxes, 4), np.float32)
    padded[:count] = np.reshape(boxes, (-1, 4))
    return {
        "boxes_normalized": tf.constant(padded),
        "labels": tf.constant([*labels] + [-1] * padding, tf.int32),
        "is_ignored": tf.constant([*is_ignored] + [False] * padding),
    }


def random_boxes(rng, count):
    corners = rng.uniform(0, 1, (count, 2, 2))
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def boxes_of(targets):
    """Returns the boxes and labels that are no padding, and checks the padding."""
    labels = targets["labels"].numpy()
    count = np.count_nonzero(labels >= 0)
    assert np.all(labels[:count] >= 0) and np.all(labels[count:] == -1)
    assert not np.any(targets["boxes_normalized"][count:])
    assert not np.any(targets["is_ignored"][count:])
    return targets["boxes_normalized"][:count].numpy(), labels[:count].tolist()


def draw_many(function, count):
    """Returns what `function(seed)` gives for seeds [0, 0] to [0, count - 1]."""
    seeds = tf.stack([tf.zeros([count], tf.int32), tf.range(count)], axis=1)
    draw = tf.function(
        lambda: tf.map_fn(function, seeds, fn_output_signature=tf.float32)
    )
    return draw().numpy()


def test_boxes_move_like_in_the_slow_version():
    rng = np.random.default_rng(0)
    for _ in range(30):
        boxes = random_boxes(rng, 5).astype(np.float32)
        window = rng.uniform(-0.3, 0.4, 4) + [0, 0, 0.8, 0.8]
        labels = rng.integers(0, 9, 5)
        targets = make_targets(boxes, labels=labels, num_boxes=8)
        moved = move_boxes(targets, tf.constant(window, tf.float32))
        expected_boxes, expected_labels = slow.move_boxes(boxes, labels, window)
        found_boxes, found_labels = boxes_of(moved)
        assert found_labels == expected_labels
        np.testing.assert_allclose(found_boxes, expected_boxes, atol=1e-5)


def test_a_box_whose_center_is_outside_is_dropped():
    targets = make_targets(
        [[0.0, 0.0, 0.4, 0.4], [0.0, 0.5, 0.6, 0.7], [0.6, 0.6, 1.0, 1.0]],
        is_ignored=[False, False, True],
    )
    # Centres at 0.2, 0.3 and 0.8; the window starts at 0.25.
    moved = move_boxes(targets, tf.constant([0.25, 0.25, 1.0, 1.0]))
    boxes, labels = boxes_of(moved)
    assert labels == [1, 2]
    # (0.6 - 0.25) / 0.75 = 0.4667, (0.5 - 0.25) / 0.75 = 0.3333 and so on.
    np.testing.assert_allclose(
        boxes, [[0, 1 / 3, 0.46667, 0.6], [0.46667, 0.46667, 1, 1]], atol=1e-5
    )
    assert moved["is_ignored"].numpy().tolist() == [False, True, False, False, False]


def test_without_boxes_all_stays_padding():
    targets = make_targets([])
    moved = move_boxes(targets, tf.constant([0.2, 0.2, 0.9, 0.9]))
    assert boxes_of(moved)[1] == []


@pytest.mark.parametrize(
    "window",
    [WHOLE, [0.1, 0.2, 0.55, 0.9], [0.0, 0.5, 0.31, 1.0], [0.3, 0.3, 0.4, 0.4]],
)
def test_a_cut_shows_what_its_window_says(window):
    # Each pixel's value is its own place, so a sample tells where it was taken:
    # output pixel j has its centre at (j + 0.5) / S of the window.
    places = np.arange(100, dtype=np.uint8)
    image = np.zeros((100, 100, 3), np.uint8)
    image[..., 0], image[..., 1] = places[:, np.newaxis], places
    found, exact = cut_window(tf.constant(image), tf.constant(window), 64)
    np.testing.assert_allclose(exact, window, atol=0.5 / 100)
    y_min, x_min, y_max, x_max = exact.numpy()
    centers = (np.arange(64) + 0.5) / 64
    rows = (y_min + centers * (y_max - y_min)) * 100 - 0.5
    columns = (x_min + centers * (x_max - x_min)) * 100 - 0.5
    # Beyond the outermost pixel centres there is nothing to interpolate. Averages over
    # whole pixels are off by up to a tenth of one.
    inner = slice(3, -3)
    np.testing.assert_allclose(
        found[inner, inner, 0], np.tile(rows[inner, np.newaxis], (1, 58)), atol=0.1
    )
    np.testing.assert_allclose(
        found[inner, inner, 1], np.tile(columns[inner], (58, 1)), atol=0.1
    )


def test_the_whole_image_at_its_own_size_keeps_its_pixels():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    found, exact = cut_window(tf.constant(image), tf.constant(WHOLE), 32)
    np.testing.assert_array_equal(found, image)
    np.testing.assert_array_equal(exact, WHOLE)


def test_outside_the_image_it_is_grey():
    image = tf.fill([20, 20, 3], tf.constant(200, tf.uint8))
    # Twice the sides, with the image in the upper right quarter.
    found, exact = cut_window(image, tf.constant([0.0, -1.0, 2.0, 1.0]), 40)
    np.testing.assert_allclose(exact, [0, -1, 2, 1], atol=1e-6)
    expected = np.full((40, 40, 3), 127.5)
    expected[:20, 20:] = 200
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_strong_reduction_averages_instead_of_picking_pixels():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    found, _ = cut_window(tf.constant(stripes), tf.constant(WHOLE), 8)
    np.testing.assert_allclose(found[2:6, 2:6], 100, atol=2)


def test_a_window_of_less_than_a_pixel_shows_one():
    image = tf.cast(tf.reshape(tf.range(12), [2, 2, 3]), tf.uint8)
    found, _ = cut_window(image, tf.constant([0.6, 0.6, 0.61, 0.61]), 3)
    assert np.all(found == [9, 10, 11])


def test_a_crop_keeps_ssd_s_rules():
    rng = np.random.default_rng(1)
    for case in range(4):
        boxes = random_boxes(rng, 3)
        targets = make_targets(boxes, is_ignored=[False, False, True])
        windows = draw_many(
            functools.partial(
                lambda t, seed: draw_crop(t, min_area=0.1, seed=seed), targets
            ),
            100,
        )
        is_whole = np.all(windows == WHOLE, axis=1)
        assert np.any(~is_whole), case
        for y_min, x_min, y_max, x_max in windows[~is_whole].astype(np.float64):
            assert min(y_min, x_min) >= 0 and max(y_max, x_max) <= 1 + 1e-6
            height, width = y_max - y_min, x_max - x_min
            assert 0.1 - 1e-5 <= height * width <= 1
            assert 0.5 - 1e-4 <= width / height <= 2 + 1e-4
            _, seen = slow.move_boxes(boxes, [0, 1, 2], (y_min, x_min, y_max, x_max))
            assert 0 in seen or 1 in seen  # the third is ignored


def test_the_kinds_of_crop_are_equally_likely():
    # The object covers all, so a part's IoU with it is the part's area a = side^2, with
    # the side uniform in [0.5, 1]; parts without its centre are out. Each kind is
    # possible unless its 50 parts all fail. The seventh kind is the whole image.
    count = 1500
    targets = make_targets([WHOLE])
    windows = draw_many(
        lambda seed: draw_crop(targets, min_area=0.25, seed=seed), count
    )
    is_whole = np.all(windows == WHOLE, axis=1)
    # A part of side 0.95 or more holds the centre, so 0.9 is missed with at most
    # (1 - (1 - sqrt(0.9)) / 0.5)^50 = 0.0045; then the others have 1/6 each.
    share = 1 / 7
    assert (
        abs(is_whole.mean() - share) < 4 * np.sqrt(share * (1 - share) / count) + 0.001
    )
    areas = (windows[:, 2] - windows[:, 0]) * (windows[:, 3] - windows[:, 1])
    # Only the kinds 0 and 0.1, and in part 0.3, give areas below 0.5; 0.9, the whole
    # image and parts of the others give those of 0.9 or more: at least two of seven.
    assert (areas >= 0.9).mean() > 2 / 7 - 4 * np.sqrt(2 / 7 * 5 / 7 / count)


def test_a_crop_overlaps_an_object_by_one_of_the_thresholds():
    # The object's centre is in the corner: hardly a part has much IoU with it.
    targets = make_targets([[0.0, 0.0, 0.1, 0.1]])
    windows = draw_many(lambda seed: draw_crop(targets, min_area=0.1, seed=seed), 200)
    overlaps = [iou(window, [0, 0, 0.1, 0.1]) for window in windows.astype(np.float64)]
    # At most 0.01 / 0.1; so all but the kind 0 and the whole image are impossible.
    assert max(overlaps) <= 0.1 + 1e-6
    is_whole = np.all(windows == WHOLE, axis=1)
    # The kind 0 is as likely as the whole image, where one of 50 parts has the centre.
    assert 0.5 - 4 * np.sqrt(0.25 / 200) < is_whole.mean() < 1
    assert CROP_TRIALS == 50


@pytest.mark.parametrize(
    "targets",
    [
        make_targets([]),
        make_targets([[0.1, 0.1, 0.9, 0.9]], is_ignored=[True]),
    ],
)
def test_without_an_object_the_crop_is_the_whole_image(targets):
    windows = draw_many(lambda seed: draw_crop(targets, min_area=0.1, seed=seed), 20)
    np.testing.assert_array_equal(windows, [WHOLE] * 20)


def test_a_canvas_holds_the_image_and_is_square():
    count = 400
    windows = draw_many(
        lambda seed: draw_canvas(probability=0.5, max_side=4.0, seed=seed), count
    )
    assert windows[:, :2].max() <= 0 and windows[:, 2:].min() >= 1 - 1e-6
    heights, widths = (windows[:, 2:] - windows[:, :2]).T
    np.testing.assert_allclose(heights, widths, atol=1e-5)
    assert heights.max() <= 4 + 1e-5
    is_larger = heights > 1 + 1e-6
    assert abs(is_larger.mean() - 0.5) < 4 * np.sqrt(0.25 / count)
    # Uniform in [1, 4] where larger: mean 2.5, variance 9 / 12.
    found = heights[is_larger]
    assert abs(found.mean() - 2.5) < 4 * np.sqrt(0.75 / len(found))


def test_a_flip_mirrors_image_and_boxes():
    image = tf.reshape(tf.range(24.0), [2, 4, 3])
    targets = make_targets([[0.1, 0.2, 0.5, 0.6]], is_ignored=[True])
    flipped, moved = flip_scene(image, targets)
    np.testing.assert_array_equal(flipped, image.numpy()[:, ::-1])
    np.testing.assert_allclose(boxes_of(moved)[0], [[0.1, 0.4, 0.5, 0.8]], atol=1e-6)
    assert bool(moved["is_ignored"][0])
    again = flip_scene(flipped, moved)
    np.testing.assert_array_equal(again[0], image)
    np.testing.assert_allclose(
        again[1]["boxes_normalized"], targets["boxes_normalized"], atol=1e-6
    )


@pytest.mark.parametrize("seed", range(5))
def test_colors_change_like_in_the_slow_version(seed):
    image = np.random.default_rng(seed).uniform(0, 255, (4, 5, 3)).astype(np.float32)
    strength, seeds = 0.8, [seed, 3]
    found = jitter_colors(tf.constant(image), strength, seed=tf.constant(seeds))
    # SSD's ranges: 32 levels, 1 +- 0.5 twice, and 18 degrees, each times the strength.
    draws = tf.random.stateless_uniform([4], seeds, -strength, strength).numpy()
    expected = slow.jitter_colors(
        image, 32 * draws[0], 1 + 0.5 * draws[1], 1 + 0.5 * draws[2], 18 * draws[3]
    )
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_grey_stays_grey():
    # The rows of YIQ's second and third axis sum to 0, so hue and saturation leave grey
    # alone; brightness and contrast change all channels alike.
    image = tf.reshape(tf.repeat(tf.linspace(0.0, 255.0, 10), 3), [1, 10, 3])
    found = jitter_colors(image, 1.0, seed=tf.constant([0, 1])).numpy()
    np.testing.assert_allclose(found.max(axis=2), found.min(axis=2), atol=1e-3)
    assert found.min() >= 0 and found.max() <= 255


def scene_with_a_rectangle(rng, size_px, *, level=255):
    """Returns a black image with a rectangle of one level, and its normalised box."""
    sides = rng.integers(size_px // 4, size_px // 2, 2)
    corner = rng.integers(0, size_px - sides)
    end = corner + sides
    image = np.zeros((size_px, size_px, 3), np.uint8)
    image[corner[0] : end[0], corner[1] : end[1]] = level
    return image, np.concatenate([corner, end]) / size_px


def find_rectangle(image, level):
    """Returns the normalised box of the pixels near a level."""
    is_inside = np.abs(image[..., 0] - level) < 10
    rows, columns = (np.flatnonzero(is_inside.any(axis=axis)) for axis in (1, 0))
    box = np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1])
    return box / len(image)


ALL_ON = SceneAugmentationConfig(
    zoom_out_probability=0.5, horizontal_flip="on", color_jitter=0.0
)


def test_boxes_stay_around_what_they_annotate():
    transform = tf.function(build_scene_transform(ALL_ON, 64))
    rng = np.random.default_rng(0)
    num_kept = 0
    for seed in range(60):
        image, box = scene_with_a_rectangle(rng, 96)
        found, targets = transform(
            tf.constant(image), make_targets([box], labels=[4]), tf.constant([seed, 0])
        )
        assert found.shape == (64, 64, 3) and found.dtype == tf.float32
        boxes, labels = boxes_of(targets)
        assert labels == [4]  # a crop always holds the only object
        # A pixel at each border may be half covered.
        expected = find_rectangle(found.numpy(), 255)
        np.testing.assert_allclose(boxes[0], expected, atol=1.5 / 64)
        num_kept += np.any(np.abs(boxes[0] - box) > 0.05)
    assert num_kept > 30


def test_augmented_boxes_are_valid():
    transform = tf.function(build_scene_transform(ALL_ON, 32))
    rng = np.random.default_rng(3)
    image = tf.zeros([48, 48, 3], tf.uint8)
    for seed in range(40):
        count = int(rng.integers(0, 6))
        boxes = random_boxes(rng, count)
        targets = make_targets(boxes, is_ignored=rng.random(count) < 0.3)
        _, moved = transform(image, targets, tf.constant([seed, 1]))
        found, labels = boxes_of(moved)
        assert np.all((found >= 0) & (found <= 1))
        assert np.all(found[:, 2:] > found[:, :2])
        assert len(labels) <= count and labels == sorted(labels)
        ignored = targets["is_ignored"].numpy()[labels]
        np.testing.assert_array_equal(moved["is_ignored"][: len(labels)], ignored)


def test_a_transform_follows_its_seed():
    transform = tf.function(build_scene_transform(SceneAugmentationConfig(), 32))
    rng = np.random.default_rng(0)
    image, box = scene_with_a_rectangle(rng, 48, level=180)
    results = [
        transform(tf.constant(image), make_targets([box]), tf.constant([7, index]))
        for index in (0, 0, 1)
    ]
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(
        results[0][1]["boxes_normalized"], results[1][1]["boxes_normalized"]
    )
    assert np.any(results[0][0] != results[2][0])


def test_with_everything_off_a_scene_is_only_resized():
    transform = build_scene_transform(NO_CHANGE, 16)
    image, box = scene_with_a_rectangle(np.random.default_rng(0), 32)
    found, targets = transform(
        tf.constant(image), make_targets([box]), tf.constant([0, 0])
    )
    expected = tf.image.resize(image, [16, 16], antialias=True)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    np.testing.assert_allclose(boxes_of(targets)[0], [box], atol=1e-6)


def four_scenes(rng, *, size_px=40):
    """Returns four images with one rectangle each, of its own level and label."""
    levels = (60, 120, 180, 240)
    images, boxes = zip(
        *(scene_with_a_rectangle(rng, size_px, level=level) for level in levels),
        strict=True,
    )
    parts = [
        make_targets([box], labels=[index], is_ignored=[index == 2], num_boxes=3)
        for index, box in enumerate(boxes)
    ]
    targets = {name: tf.stack([part[name] for part in parts]) for name in parts[0]}
    return tf.constant(np.stack(images)), targets, levels


def test_a_mosaic_shows_its_boxes():
    build = tf.function(build_mosaic)
    rng = np.random.default_rng(0)
    num_seen = 0
    for seed in range(25):
        images, targets, levels = four_scenes(rng)
        image, mixed = build(images, targets, seed=tf.constant([seed, 0]))
        assert image.dtype == tf.uint8 and image.shape == (40, 40, 3)
        boxes, labels = boxes_of(mixed)
        assert mixed["labels"].shape == (3,)
        assert len(set(labels)) == len(labels)
        sizes = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        assert np.all(np.diff(sizes) <= 1e-6)  # largest first
        for box, label in zip(boxes, labels, strict=True):
            # Dark edges of one rectangle may have another's level: look inside only.
            pixels = image.numpy().astype(float)
            mask = np.zeros((40, 40, 1))
            y_min, x_min, y_max, x_max = (
                (np.clip(box + [-0.06, -0.06, 0.06, 0.06], 0, 1) * 40)
                .round()
                .astype(int)
            )
            mask[y_min:y_max, x_min:x_max] = 1
            expected = find_rectangle(pixels * mask, levels[label])
            np.testing.assert_allclose(box, expected, atol=2 / 40)
            ignored = bool(mixed["is_ignored"][labels.index(label)])
            assert ignored == (label == 2)
            num_seen += 1
    assert num_seen > 50


def test_mosaics_replace_the_asked_for_share_of_a_batch():
    rng = np.random.default_rng(0)
    images, targets, _ = four_scenes(rng, size_px=12)
    images = tf.tile(images, [8, 1, 1, 1])
    targets = {name: tf.repeat(part, 8, axis=0) for name, part in targets.items()}
    mix = tf.function(mix_mosaics)
    changed = {}
    for probability in (0.0, 0.5, 1.0):
        mixed, moved = mix(
            images, targets, probability=probability, seed=tf.constant([0, 1])
        )
        assert mixed.shape == images.shape and mixed.dtype == tf.uint8
        assert moved["boxes_normalized"].shape == (32, 3, 4)
        changed[probability] = np.any(mixed != images, axis=(1, 2, 3)).mean()
    assert changed[0.0] == 0
    assert abs(changed[0.5] - 0.5) < 4 * np.sqrt(0.5 * 0.5 / 32)
    assert changed[1.0] > 0.9  # a mosaic looks like its first image only by chance


def test_digits_are_not_mirrored_by_default():
    config = SceneAugmentationConfig()
    resolved = resolve_scene_augmentation(config, dataset="digit_scenes")
    assert resolved.horizontal_flip == "off"
    assert resolve_scene_augmentation(config, dataset="coco:x").horizontal_flip == "on"
    forced = SceneAugmentationConfig(horizontal_flip="on")
    assert resolve_scene_augmentation(forced, dataset="digit_scenes") == forced


def test_targets_of_another_shape_are_refused():
    transform = build_scene_transform(SceneAugmentationConfig(), 16)
    targets = make_targets([[0.1, 0.1, 0.9, 0.9]])
    targets["boxes_normalized"] = tf.zeros([5, 3])
    with pytest.raises(ValueError, match="boxes_normalized must have the shape"):
        transform(tf.zeros([8, 8, 3], tf.uint8), targets, tf.constant([0, 0]))
