import numpy as np
import pytest
import tensorflow as tf

from detection.matcher import BACKGROUND, NEITHER, match
from tests.reference import detection as slow


def matches(iou, is_box=None, **options):
    iou = np.array(iou, "float32")
    is_box = np.ones(iou.shape[-1], bool) if is_box is None else np.array(is_box)
    result = match(iou, is_box, **options)
    assert result.dtype == tf.int32
    return result.numpy().tolist()


def test_an_anchor_takes_the_box_that_it_overlaps_most():
    iou = [[0.6, 0.7], [0.8, 0.1], [0.2, 0.3], [0.5, 0.0]]
    assert matches(iou, force_match=False) == [1, 0, BACKGROUND, 0]


def test_between_the_thresholds_an_anchor_is_neither():
    iou = [[0.7], [0.69], [0.4], [0.39], [0.0]]
    options = {"positive_iou": 0.7, "negative_iou": 0.4, "force_match": False}
    assert matches(iou, **options) == [0, NEITHER, NEITHER, BACKGROUND, BACKGROUND]


def test_a_box_that_no_anchor_reaches_gets_its_best_anchor():
    iou = [[0.9, 0.0], [0.1, 0.2], [0.0, 0.3]]
    assert matches(iou) == [0, BACKGROUND, 1]


def test_a_forced_match_takes_an_anchor_from_a_box_that_has_its_own():
    # Both anchors would answer for box 0, which keeps the one that it fits best.
    iou = [[0.9, 0.3], [0.8, 0.4]]
    assert matches(iou, force_match=False) == [0, 0]
    assert matches(iou) == [0, 1]


def test_of_two_boxes_that_want_one_anchor_the_greater_overlap_has_it():
    iou = [[0.3, 0.4], [0.2, 0.1], [0.0, 0.0]]
    assert matches(iou) == [1, 0, BACKGROUND]


def test_a_box_without_a_free_anchor_goes_without():
    assert matches([[0.3, 0.4], [0.0, 0.0]]) == [1, BACKGROUND]


def test_of_equal_anchors_and_boxes_the_first_are_paired():
    iou = [[0.3, 0.3, 0.3], [0.3, 0.3, 0.3], [0.3, 0.3, 0.3], [0.3, 0.3, 0.3]]
    assert matches(iou) == [0, 1, 2, BACKGROUND]


def test_a_chain_of_boxes_gives_way_from_the_greatest_overlap_down():
    # Box 2 wants the anchor of box 1, which wants the one of box 0.
    iou = [[0.45, 0.44, 0.0], [0.0, 0.43, 0.42], [0.0, 0.0, 0.41], [0.0, 0.0, 0.2]]
    assert matches(iou) == [0, 1, 2, BACKGROUND]
    # Anchor 2 gone, box 2 falls back on the last.
    iou[2] = [0.0, 0.0, 0.0]
    assert matches(iou) == [0, 1, BACKGROUND, 2]


@pytest.mark.parametrize("force_match", [False, True])
def test_without_boxes_everything_is_background(force_match):
    iou = np.random.default_rng(0).uniform(size=(5, 3))
    result = matches(iou, [False] * 3, force_match=force_match)
    assert result == [BACKGROUND] * 5


def test_what_is_no_box_is_never_matched():
    assert matches([[0.9, 0.1], [0.8, 0.0]], [False, True]) == [1, BACKGROUND]


def test_a_box_that_no_anchor_overlaps_changes_nothing():
    assert matches([[0.9, 0.0], [0.1, 0.0]]) == [0, BACKGROUND]


@pytest.mark.parametrize("force_match", [False, True])
@pytest.mark.parametrize("rounding", [None, 0.1])
def test_matches_are_those_of_the_slow_version(force_match, rounding):
    rng = np.random.default_rng(5)
    # Many zeros, and with rounding many equal overlaps.
    iou = np.maximum(rng.uniform(-1.0, 0.8, (20, 30, 12)), 0.0)
    iou = iou if rounding is None else np.round(iou / rounding) * rounding
    iou, is_box = iou.astype("float32"), rng.random((20, 12)) < 0.8
    result = match(
        iou, is_box, positive_iou=0.6, negative_iou=0.4, force_match=force_match
    )
    for image in range(20):
        expected = slow.match(
            # The thresholds as float32, which the rounded overlaps may equal.
            iou[image],
            is_box[image],
            np.float32(0.6),
            np.float32(0.4),
            force_match,
        )
        assert result[image].numpy().tolist() == expected


def test_a_place_for_a_box_is_needed():
    with pytest.raises(ValueError, match="at least one box.*iou.shape=\\(3, 0\\)"):
        match(np.zeros([3, 0], "float32"), np.zeros([0], bool))
