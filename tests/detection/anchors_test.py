"""Anchors against hand-written boxes and the counts of the published networks."""

import math

import numpy as np
import pytest

from detection.anchors import (
    build_anchors,
    multiscale_anchor_shapes,
    ssd_anchor_shapes,
    torchvision_anchor_shapes,
)
from mobilenas_tf.detection_spec import AnchorShape

GRIDS_320 = [(20, 20), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1)]
GRIDS_300 = [(19, 19), *GRIDS_320[1:]]


def levels(table):
    return [[AnchorShape(*shape) for shape in level] for level in table]


def test_anchors_run_by_level_row_column_and_shape():
    table = [[AnchorShape(0.2, 1.0), AnchorShape(0.4, 4.0)], [AnchorShape(1.0, 1.0)]]
    anchors = build_anchors(table, [(2, 1), (1, 2)])
    # (0.4, 4) is 0.2 high and 0.8 wide.
    expected = [
        [0.15, 0.4, 0.35, 0.6],
        [0.15, 0.1, 0.35, 0.9],
        [0.65, 0.4, 0.85, 0.6],
        [0.65, 0.1, 0.85, 0.9],
        [0.0, -0.25, 1.0, 0.75],
        [0.0, 0.25, 1.0, 1.25],
    ]
    assert anchors.dtype == np.float32
    np.testing.assert_allclose(anchors, expected, atol=1e-7)


@pytest.mark.parametrize(
    ("table", "grids", "count"),
    [
        # 3 * 400 + 6 * (100 + 25 + 9 + 4 + 1); 3 * 361 + 6 * 139; 6 * (400 + 139).
        (ssd_anchor_shapes(), GRIDS_320, 2034),
        (ssd_anchor_shapes(), GRIDS_300, 1917),
        (torchvision_anchor_shapes(), GRIDS_320, 3234),
    ],
)
def test_published_networks_have_their_number_of_anchors(table, grids, count):
    assert build_anchors(levels(table), grids).shape == (count, 4)


def test_ssd_shapes_are_those_of_the_object_detection_api():
    table = ssd_anchor_shapes()
    assert table[0] == ((0.1, 1.0), (0.2, 2.0), (0.2, 0.5))
    # Scales .2, .35, .5, .65, .8, .95 and 1.
    for level, (scale, next_scale) in enumerate(
        [(0.35, 0.5), (0.5, 0.65), (0.65, 0.8), (0.8, 0.95), (0.95, 1.0)], start=1
    ):
        ratios = [1.0, 2.0, 0.5, 3.0, 0.3333]
        expected = [(scale, ratio) for ratio in ratios]
        expected.append((math.sqrt(scale * next_scale), 1.0))
        np.testing.assert_allclose(table[level], expected)


def test_multiscale_shapes_are_as_large_in_cells_on_every_level():
    table = multiscale_anchor_shapes(5, 0.1)
    assert [len(level) for level in table] == [6] * 5
    root = math.sqrt(2.0)
    expected = [(s, r) for s in (0.1, 0.1 * root) for r in (1.0, 2.0, 0.5)]
    np.testing.assert_allclose(table[0], expected)
    in_cells = [
        [(scale / 2**index, ratio) for scale, ratio in level]
        for index, level in enumerate(table)
    ]
    np.testing.assert_allclose(in_cells, [expected] * 5)
    # Squares of 32 px at 320 px, as the Object Detection API's four cells of stride 8.
    first = build_anchors(levels(table[:1]), [(40, 40)])[0] * 320
    np.testing.assert_allclose(first, [4 - 16, 4 - 16, 4 + 16, 4 + 16], atol=1e-4)


def test_ssd_shapes_of_a_first_level_that_is_not_reduced():
    table = ssd_anchor_shapes(2, 0.3, 0.6, reduces_first_level=False)
    assert [len(level) for level in table] == [6, 6]
    np.testing.assert_allclose(table[0][-1], (math.sqrt(0.3 * 0.6), 1.0))
    np.testing.assert_allclose(table[1][-1], (math.sqrt(0.6), 1.0))


def test_ssd_anchors_written_by_hand():
    anchors = build_anchors(levels(ssd_anchor_shapes()), GRIDS_320)
    # The first cell's centre is 0.5 / 20; the flat one is .2 / sqrt 2 = .14142 high and
    # .28284 wide.
    expected = [
        [-0.025, -0.025, 0.075, 0.075],
        [-0.045711, -0.116421, 0.095711, 0.166421],
        [-0.116421, -0.045711, 0.166421, 0.095711],
    ]
    np.testing.assert_allclose(anchors[:3], expected, atol=1e-6)
    # The last: a square of sqrt .95 = .97468 in the middle.
    expected = [0.012660, 0.012660, 0.987340, 0.987340]
    np.testing.assert_allclose(anchors[-1], expected, atol=1e-6)


def test_torchvision_shapes_are_two_squares_then_each_ratio_and_its_inverse():
    scale = 0.2
    expected = [
        (scale, 1.0),
        (math.sqrt(0.2 * 0.35), 1.0),
        (scale, 2.0),
        (scale, 1 / 2),
        (scale, 3.0),
        (scale, 1 / 3),
    ]
    np.testing.assert_allclose(torchvision_anchor_shapes()[0], expected)


def test_torchvision_s_heights_and_widths_end_at_1():
    # Widths and heights of the last level, (w, h) as in torchvision: the square, the
    # larger one, then .95 in the ratios 2 and 3: 1.3435 x .67175 and 1.6454 x .54848.
    sizes = [(0.95, 0.95), (0.974679, 0.974679)]
    sizes += [(1.0, 0.671751), (0.671751, 1.0), (1.0, 0.548483), (0.548483, 1.0)]
    anchors = build_anchors(levels(torchvision_anchor_shapes()), GRIDS_320)[-6:]
    expected = [
        [0.5 - height / 2, 0.5 - width / 2, 0.5 + height / 2, 0.5 + width / 2]
        for width, height in sizes
    ]
    np.testing.assert_allclose(anchors, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("table", "grids", "words"),
    [
        (
            [[AnchorShape(0.1, 1.0)]],
            [(2, 2), (1, 1)],
            "one grid for each level.*1 levels",
        ),
        ([[AnchorShape(0.1, 1.0)]], [(2, 0)], "at least 1 x 1.*2 x 0"),
    ],
)
def test_bad_levels_and_grids_are_refused(table, grids, words):
    with pytest.raises(ValueError, match=words):
        build_anchors(table, grids)


@pytest.mark.parametrize("shapes", [ssd_anchor_shapes, torchvision_anchor_shapes])
def test_tables_need_two_levels(shapes):
    with pytest.raises(ValueError, match="num_levels must be at least 2"):
        shapes(1)
