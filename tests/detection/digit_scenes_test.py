"""Every rule that the embedded scenes keep."""

import types

import numpy as np
import pytest

from detection import digit_scenes
from detection.evaluation_truth import check_ground_truth
from detection.scene import build_coco_dictionary
from tests.reference.detection import iou

NUM_SCENES = {"train": 40, "validation": 10, "test": 10}
SEED = 5


@pytest.fixture(scope="module")
def source():
    return digit_scenes.generate_digit_scenes(SEED, NUM_SCENES)


@pytest.fixture(scope="module")
def scenes(source):
    return [scene for part in source.scenes_by_split.values() for scene in part]


def test_the_published_scenes_are_2600():
    expected = {"train": 2000, "validation": 300, "test": 300}
    assert dict(digit_scenes.NUM_SCENES) == expected
    assert digit_scenes.SCENE_SIZE_PX == 160


def test_the_source_is_like_coco(source, scenes):
    assert source.class_names == tuple("0123456789")
    assert source.category_ids == tuple(range(1, 11))
    assert source.problems == ()
    found = {name: len(part) for name, part in source.scenes_by_split.items()}
    assert found == NUM_SCENES
    assert sorted(scene.image_id for scene in scenes) == list(range(1, 61))
    for scene in scenes:
        assert scene.read_pixels(None).shape == (160, 160, 3)
        assert scene.read_pixels(None).dtype == np.uint8
        assert not scene.is_ignored.any()


def test_scenes_have_3_to_12_digits(scenes):
    counts = [len(scene.labels) for scene in scenes]
    assert min(counts) == 3 and max(counts) == 12


def test_digits_have_sides_of_10_to_80_px_inside_the_image(scenes):
    boxes = np.concatenate([scene.boxes for scene in scenes])
    sides = boxes[:, 2:] - boxes[:, :2]
    assert sides.min() >= 10 and sides.max() <= 80
    assert sides.min() < 14 and sides.max() > 76
    assert boxes.min() >= 0 and boxes.max() <= 160
    areas = np.concatenate([scene.areas_px for scene in scenes])
    np.testing.assert_array_equal(areas, sides[:, 0] * sides[:, 1])


def test_boxes_overlap_at_most_by_an_iou_of_0_3(scenes):
    overlaps = [
        iou(scene.boxes[i], scene.boxes[j])
        for scene in scenes
        for i in range(len(scene.boxes))
        for j in range(i)
    ]
    assert 0.1 < max(overlaps) <= 0.3


def test_all_digits_occur_about_equally(scenes):
    labels = np.concatenate([scene.labels for scene in scenes])
    counts = np.bincount(labels, minlength=10)
    assert len(counts) == 10
    # Four standard deviations of a binomial count.
    assert np.all(
        np.abs(counts / len(labels) - 0.1) < 4 * np.sqrt(0.1 * 0.9 / len(labels))
    )


def test_the_splits_share_no_digit_image(monkeypatch):
    draw = digit_scenes._draw_glyph
    digits_by_split = {}
    for split in NUM_SCENES:
        found = digits_by_split[split] = set()

        def record(digit, label, rng, found=found):
            found.add(digit.tobytes())
            return draw(digit, label, rng)

        monkeypatch.setattr(digit_scenes, "_draw_glyph", record)
        digit_scenes.generate_digit_scenes(SEED, {split: 30})
    train, validation, test = digits_by_split.values()
    # All 1,797 images of scikit-learn differ.
    assert not (train & validation or train & test or validation & test)
    assert min(len(train), len(validation), len(test)) > 50


def test_scenes_show_the_digit_that_they_name(monkeypatch):
    from sklearn.datasets import load_digits

    digits, labels = load_digits(return_X_y=True)
    label_of = {
        (digit / 16).tobytes(): label
        for digit, label in zip(digits, labels, strict=True)
    }
    draw = digit_scenes._draw_glyph

    def check(digit, label, rng):
        assert label_of[digit.tobytes()] == label
        return draw(digit, label, rng)

    monkeypatch.setattr(digit_scenes, "_draw_glyph", check)
    digit_scenes.generate_digit_scenes(SEED, {"test": 5})


def contents(source):
    return [
        (scene.read_pixels(None).tobytes(), scene.boxes.tobytes(), tuple(scene.labels))
        for part in source.scenes_by_split.values()
        for scene in part
    ]


def test_the_same_seed_gives_the_same_bytes(source):
    again = digit_scenes.generate_digit_scenes(SEED, NUM_SCENES)
    assert contents(again) == contents(source)
    other = digit_scenes.generate_digit_scenes(SEED + 1, NUM_SCENES)
    assert not set(contents(other)) & set(contents(source))
    assert len(set(contents(source))) == 60


def test_a_scene_does_not_depend_on_how_many_there_are(source):
    few = digit_scenes.generate_digit_scenes(SEED, {"train": 2, "test": 3})
    expected = contents(source)
    kept = {"train": expected[:2], "test": None}
    assert contents(few)[:2] == kept["train"]
    names = list(source.scenes_by_split)
    start = sum(NUM_SCENES[name] for name in names[: names.index("test")])
    assert contents(few)[2:] == expected[start : start + 3]


def changes(source, split_number, split):
    """Yields scenes and what the digits changed of the background, in levels."""
    for index, scene in enumerate(source.scenes_by_split[split]):
        rng = np.random.default_rng((SEED, split_number, index))
        background = digit_scenes.draw_background(rng).astype(np.float32)
        pixels = scene.read_pixels(None).astype(np.float32)
        yield scene, np.abs(pixels - background).max(axis=2)


def test_boxes_are_tight_around_the_ink(source):
    for scene, change in changes(source, 0, "train"):
        covered = np.zeros((160, 160), bool)
        for y_min, x_min, y_max, x_max in scene.boxes.astype(int):
            covered[y_min:y_max, x_min:x_max] = True
            inside = change[y_min:y_max, x_min:x_max]
            for border in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
                assert border.max() > 0
        # Outside the boxes only what is no ink: opacity below 0.3.
        assert change[~covered].max() <= 0.3 * 255 + 1
        assert np.mean(change[~covered] > 0) < 0.1


@pytest.mark.parametrize("seed", range(20))
def test_the_ink_of_a_glyph_ends_at_its_border(seed):
    rng = np.random.default_rng(seed)
    digit = np.zeros((8, 8))
    digit[1:7, 3:5] = 1
    glyph = digit_scenes._draw_glyph(digit, 1, rng)
    rows, columns = np.nonzero(glyph.opacity >= digit_scenes.MIN_INK)
    assert glyph.ink == (
        slice(rows.min(), rows.max() + 1),
        slice(columns.min(), columns.max() + 1),
    )
    # 6 rows and 2 columns of ink, stretched by up to 1.18 / 0.85 and blurred.
    height, width = glyph.ink_size
    assert 1.5 < height / width < 4.5


def test_a_digit_that_fits_at_no_size_is_an_error(monkeypatch):
    monkeypatch.setattr(digit_scenes, "MIN_SIDE_PX", 79)
    digit = np.zeros((8, 8))
    digit[:, 3] = 1
    with pytest.raises(RuntimeError, match="sides of 79 to 80 px.*100 attempts"):
        digit_scenes._draw_glyph(digit, 1, np.random.default_rng(0))


def test_a_scene_that_cannot_be_filled_is_an_error(monkeypatch):
    monkeypatch.setattr(digit_scenes, "MAX_IOU", -1)
    with pytest.raises(RuntimeError, match="at least 3 digits.*100 attempts"):
        digit_scenes.generate_digit_scenes(0, {"train": 1})


@pytest.mark.parametrize("seed", range(50))
def test_a_color_is_readable_on_nine_pixels_of_ten(seed):
    rng = np.random.default_rng(seed)
    center, spread = rng.uniform(0, 255), rng.uniform(0, 60)
    luminances = np.clip(rng.normal(center, spread, 200), 0, 255).astype(np.float32)
    color = digit_scenes._choose_color(luminances, rng)
    if color is None:
        assert spread > 30  # no room of 40 levels on either side
        return
    assert color.min() >= 0 and color.max() <= 255
    luminance = np.rint(color) @ [0.299, 0.587, 0.114]
    # The order of the 200 pixels ends at index round(0.9 * 199), so 180 are beyond.
    assert np.mean(np.abs(luminance - luminances) >= 40) >= 0.9


def test_no_color_is_readable_on_black_and_white():
    luminances = np.repeat([0.0, 255.0], 100).astype(np.float32)
    rng = np.random.default_rng(0)
    assert digit_scenes._choose_color(luminances, rng) is None


def test_backgrounds_have_less_of_finer_detail():
    # Natural images: amplitude falls with the frequency (1 / f).
    total = np.zeros((160, 160))
    for seed in range(20):
        grey = digit_scenes.draw_background(np.random.default_rng(seed)).mean(axis=2)
        assert grey.std() > 3
        total += np.abs(np.fft.fft2(grey - grey.mean())) ** 2
    frequencies = np.abs(np.fft.fftfreq(160) * 160)
    radius = np.hypot(frequencies[:, np.newaxis], frequencies[np.newaxis])
    power = [
        total[(radius >= low) & (radius < 2 * low)].mean() for low in (2, 5, 12, 30)
    ]
    assert power[0] > 2 * power[1] > 4 * power[2] > 8 * power[3] > 0


def test_the_coco_dictionary_is_valid(source):
    document = build_coco_dictionary(
        source.scenes_by_split["test"],
        class_names=source.class_names,
        category_ids=source.category_ids,
    )
    truth = check_ground_truth(document)
    expected = sum(len(scene.labels) for scene in source.scenes_by_split["test"])
    assert sum(truth.count_objects().values()) == expected


def test_the_scenes_of_a_process_are_made_once(monkeypatch):
    few = types.MappingProxyType({"train": 2, "validation": 1, "test": 1})
    monkeypatch.setattr(digit_scenes, "NUM_SCENES", few)
    digit_scenes._open.cache_clear()
    try:
        first = digit_scenes.open_digit_scenes()
        assert digit_scenes.open_digit_scenes() is first
    finally:
        digit_scenes._open.cache_clear()
