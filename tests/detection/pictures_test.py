from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from detection.box_drawing import (
    class_color,
    draw_object,
    place_label,
    shorten,
    text_px,
)
from detection.pictures import draw_contact_sheet, write_contact_sheet

_GREY = (128, 128, 128)
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)


def _truth(num_images: int = 1, **record: Any) -> dict[str, Any]:
    """A ground truth with one object of 80 x 40 px in each image."""
    ids = range(1, num_images + 1)
    return {
        "images": [{"id": image_id, **record} for image_id in ids],
        "categories": [{"id": 9, "name": "cat"}, {"id": 4, "name": "dog"}],
        "annotations": [
            {"image_id": image_id, "category_id": 9, "bbox": [40, 80, 80, 40]}
            for image_id in ids
        ],
    }


def _images(num_images: int, height: int = 160, width: int = 160) -> dict[int, Any]:
    pixels = np.full((height, width, 3), _GREY, np.uint8)
    return {index: pixels for index in range(1, num_images + 1)}


def _draw(truth: dict[str, Any], images: dict[int, Any], *rows: list[float]) -> Any:
    detections = np.array(rows, float).reshape(-1, 7)
    return draw_contact_sheet(images, truth, detections, min_score=0.5)


def _find_grey(sheet: Image.Image) -> tuple[int, int, int, int]:
    """Returns left, top, right and bottom (not included) of the images' own colour."""
    is_grey = (np.asarray(sheet) == _GREY).all(axis=2)
    rows, columns = np.flatnonzero(is_grey.any(1)), np.flatnonzero(is_grey.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@pytest.mark.parametrize(
    ("sides", "expected"),
    [((160, 160), (480, 480)), ((320, 213), (480, 320)), ((480, 960), (240, 480))],
)
def test_longer_side_is_480_px(
    sides: tuple[int, int], expected: tuple[int, int]
) -> None:
    truth = {**_truth(), "annotations": []}
    width, height = sides
    left, top, right, bottom = _find_grey(_draw(truth, _images(1, height, width)))
    assert (right - left, bottom - top) == expected


def test_stretched_image_gets_its_shape_and_boxes_back() -> None:
    truth = _truth(width=320, height=160)
    sheet = _draw(truth, _images(1, 96, 96), [1, 40, 80, 80, 40, 0.9, 9])
    left, top, right, bottom = _find_grey(sheet)
    assert (right - left, bottom - top) == (480, 240)
    # 1.5 px for each: the box's right edge at (40 + 80) * 1.5, its middle at 150.
    edge = np.asarray(sheet)[top + 150, left + 176 : left + 182]
    assert (edge == class_color(1)).all(axis=1).sum() >= 1
    assert (edge == _GREY).all(axis=1).sum() >= 1


def test_detection_has_its_classes_colour_and_a_label_above() -> None:
    box = [0, 0, 0, 0, 0.9, 4]
    truth = {**_truth(), "annotations": []}
    sheet = _draw(truth, _images(1), [1, *[40, 80, 80, 40], *box[4:]])
    left, top, _, _ = _find_grey(sheet)
    pixels = np.asarray(sheet)[top : top + 480, left : left + 480]
    # Category 4 is the first class. 3 px for each: 120..360 across, 240..360 down.
    is_colored = (pixels == class_color(0)).all(axis=2)
    assert is_colored[240, 120:361].all() and is_colored[360, 120:361].all()
    assert is_colored[240:361, 120].all() and is_colored[240:361, 360].all()
    assert not is_colored[250:350, 130:350].any()
    label = pixels[220:240, 120 : 120 + round(text_px("dog: 0.90"))]
    assert (label != _GREY).any(axis=2).all()
    assert not is_colored[:219].any() and not is_colored[362:].any()


def test_object_is_dashed_in_white_on_black() -> None:
    sheet = _draw(_truth(), _images(1))
    left, top, _, _ = _find_grey(sheet)
    line = np.asarray(sheet)[top + 240, left + 122 : left + 358]
    is_white, is_black = ((line == color).all(axis=1) for color in (_WHITE, _BLACK))
    assert (is_white | is_black).all()
    # About 7 px of each: 236 px have 33 changes of colour, give or take the corners'.
    assert 30 <= np.count_nonzero(is_white[1:] != is_white[:-1]) <= 34


def test_detections_below_the_threshold_are_not_drawn() -> None:
    truth = {**_truth(), "annotations": []}
    images = _images(1)
    at, below = ([1, 40, 80, 80, 40, score, 4] for score in (0.5, 0.499))
    empty = _draw(truth, images)
    assert np.array_equal(_draw(truth, images, below), empty)
    assert not np.array_equal(_draw(truth, images, at), empty)


def test_other_images_detections_are_not_drawn() -> None:
    truth = _truth(2)
    row = [2, 40, 80, 80, 40, 0.9, 4]
    assert np.array_equal(_draw(truth, _images(1), row), _draw(truth, _images(1)))


def test_boxes_at_and_over_the_border_are_drawn() -> None:
    truth = {**_truth(), "annotations": []}
    sheet = _draw(truth, _images(1), [1, -50, -50, 500, 500, 0.9, 4])
    pixels = np.asarray(sheet)
    is_colored = (pixels == class_color(0)).all(axis=2)
    # Legend and label apart, three lines along each side of 480 px.
    assert is_colored.sum() > 4 * 3 * 400
    degenerate = [1, 160, 160, 0, 0, 0.9, 4]
    assert not np.array_equal(_draw(truth, _images(1), degenerate), sheet)


def test_sheet_has_three_images_in_a_row() -> None:
    heights = [_draw(_truth(7), _images(count)).height for count in (1, 3, 4, 6, 7)]
    assert heights[0] == heights[1]
    assert heights[2] == heights[3]
    row = heights[2] - heights[0]
    assert row > 480
    assert heights[4] == heights[2] + row


def test_crowd_is_named() -> None:
    image = Image.new("RGB", (100, 100), _GREY)
    named = image.copy()
    draw_object(ImageDraw.Draw(image), (10, 10, 90, 90))
    draw_object(ImageDraw.Draw(named), (10, 10, 90, 90), is_crowd=True)
    is_changed = (np.asarray(image) != np.asarray(named)).any(axis=2)
    assert is_changed[13:35, 15:70].any() and not is_changed[40:].any()


def test_neighbouring_classes_differ_in_colour() -> None:
    colors = [np.array(class_color(index), float) for index in range(80)]
    for index in range(79):
        assert np.abs(colors[index] - colors[index + 1]).max() > 60
    assert len({tuple(color) for color in colors}) == 80


def test_label_stands_above_its_box_if_there_is_room() -> None:
    assert place_label((30, 10), (50, 50, 90, 90), (), (200, 200)) == (50, 40, 80, 50)


def test_label_at_the_border_stays_inside() -> None:
    below = place_label((30, 10), (190, 0, 199, 20), (), (200, 200))
    assert below == (170, 0, 200, 10)
    assert place_label((30, 10), (-5, -5, 300, 300), (), (200, 200))[:2] == (0, 0)


def test_label_avoids_others_and_else_covers_the_least() -> None:
    box = (50.0, 50.0, 90.0, 90.0)
    above = (50.0, 40.0, 80.0, 50.0)
    assert place_label((30, 10), box, [above], (200, 200)) == (50, 90, 80, 100)
    everything = [(0.0, 0.0, 200.0, 200.0), above]
    place = place_label((30, 10), box, everything, (200, 200))
    assert place == (50, 90, 80, 100)


def test_long_names_are_cut() -> None:
    assert shorten("traffic\nlight") == "traffic light"
    assert shorten("a very long name of a class") == "a very long name …"


@pytest.mark.parametrize("name", ["sheet.jpg", "sheet.JPEG", "sheet.png"])
def test_file_has_the_format_of_its_ending(tmp_path: Path, name: str) -> None:
    detections = np.array([[1, 40, 80, 80, 40, 0.9, 4]])
    arguments = (_images(2), _truth(2), detections)
    write_contact_sheet(tmp_path / name, *arguments, min_score=0.5)
    assert os.listdir(tmp_path) == [name]
    with Image.open(tmp_path / name) as image:
        assert image.format == ("PNG" if name.endswith("png") else "JPEG")
        expected = draw_contact_sheet(*arguments, min_score=0.5)
        assert image.size == expected.size


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ({}, "images must have at least one image"),
        (
            _images(2),
            "images must have image ids of the ground truth only. Received: 2",
        ),
        (
            {1: np.zeros((8, 8), np.uint8)},
            "images must be .* uint8 of shape .8, 8. for",
        ),
        ({1: np.zeros((8, 8, 3))}, "images must be .* uint8. Received: float64"),
    ],
)
def test_images_of_another_kind_are_refused(images: dict[int, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        _draw(_truth(), images)


def test_other_files_and_detections_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="path must end in .jpg, .jpeg, .png"):
        write_contact_sheet(
            tmp_path / "sheet.gif", _images(1), _truth(), [], min_score=0
        )
    with pytest.raises(ValueError, match="detections must have category ids of the"):
        _draw(_truth(), _images(1), [1, 0, 0, 5, 5, 0.9, 5])
