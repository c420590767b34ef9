"""Anchor boxes of a grid detector, and the published tables of their shapes.

Plain NumPy. An anchor of scale s and aspect ratio r = width / height is `s / sqrt(r)`
high and `s sqrt(r)` wide, in shares of the image's side. Which box belongs to which
anchor is left to `matcher`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mobilenas_tf.detection_spec import AnchorShape

Shapes = tuple[tuple[tuple[float, float], ...], ...]
"""(scale, aspect ratio) of a cell's anchors, one tuple a level, finest level first."""


def build_anchors(
    levels: Sequence[Sequence[AnchorShape]], grid_sizes: Sequence[tuple[int, int]]
) -> np.ndarray:
    """Returns the anchors `[A, 4]`, float32 normalised corners, not clipped.

    Anchors run level by level, in a level row by row, in a row column by column, and in
    a cell in the order of the level's shapes. Cell (row, column) of a grid of H x W has
    its centre at `((row + 0.5) / H, (column + 0.5) / W)`.

    Args:
        levels: Shapes of a cell's anchors, one sequence a level.
        grid_sizes: (height, width) of each level's feature map, in cells.

    Raises:
        ValueError: If the numbers of levels differ or a grid has no cell.
    """
    if len(levels) != len(grid_sizes):
        raise ValueError(
            "grid_sizes must name one grid for each level of anchors. "
            f"Received: {len(levels)} levels, grid_sizes={list(grid_sizes)}"
        )
    return np.concatenate(
        [_place(shapes, *grid) for shapes, grid in zip(levels, grid_sizes, strict=True)]
    ).astype(np.float32)


def _place(shapes: Sequence[AnchorShape], height: int, width: int) -> np.ndarray:
    """Returns the anchors `[H * W * len(shapes), 4]` of one level, float64."""
    if min(height, width) < 1:
        raise ValueError(
            "grid_sizes must be at least 1 x 1. "
            f"Received: a grid of {height} x {width} cells"
        )
    scales = np.array([shape.scale for shape in shapes])
    ratios = np.array([shape.aspect_ratio for shape in shapes])
    sizes = np.stack([scales / np.sqrt(ratios), scales * np.sqrt(ratios)], axis=-1)
    rows = (np.arange(height) + 0.5) / height
    columns = (np.arange(width) + 0.5) / width
    centers = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1)
    centers = centers[:, :, None, :]  # [H, W, 1, 2], the sizes being [shapes, 2]
    corners = [centers - sizes / 2, centers + sizes / 2]
    return np.concatenate(corners, axis=-1).reshape(-1, 4)


def ssd_anchor_shapes(
    num_levels: int = 6,
    min_scale: float = 0.2,
    max_scale: float = 0.95,
    *,
    # Of the SSDLite configurations in research/object_detection/samples/configs.
    aspect_ratios: Sequence[float] = (1.0, 2.0, 0.5, 3.0, 0.3333),
    reduces_first_level: bool = True,
) -> Shapes:
    """Returns the anchor shapes of the TensorFlow Object Detection API.

    Level k of m has the scale `s_k = min + (max - min) k / (m - 1)`, k from 0, in each
    aspect ratio, then a square of the scale `sqrt(s_k s_k+1)`, where s_m = 1.

    Source: tensorflow/models, research/object_detection/anchor_generators/
    multiple_grid_anchor_generator.py, `create_ssd_anchors`; scales of Liu et al., SSD,
    arXiv:1512.02325, equation 4.

    Args:
        num_levels: m, at least 2.
        min_scale: Scale of the first level.
        max_scale: Scale of the last level.
        aspect_ratios: Width over height.
        reduces_first_level: Gives the first level three anchors only: (s_0 / 2, 1),
            (s_0, 2) and (s_0, 0.5). Differs: there the first is 0.1 whatever s_0 is.
    """
    scales = _spread_scales(num_levels, min_scale, max_scale)
    levels = [
        (
            *((scale, ratio) for ratio in aspect_ratios),
            (math.sqrt(scale * next_scale), 1.0),
        )
        for scale, next_scale in zip(scales, scales[1:], strict=False)
    ]
    if reduces_first_level:
        levels[0] = ((scales[0] / 2, 1.0), (scales[0], 2.0), (scales[0], 0.5))
    return tuple(levels)


def torchvision_anchor_shapes(
    num_levels: int = 6,
    min_scale: float = 0.2,
    max_scale: float = 0.95,
    *,
    aspect_ratios: Sequence[float] = (2.0, 3.0),
) -> Shapes:
    """Returns the anchor shapes of torchvision's SSDLite, six a cell by default.

    A cell has squares of the scales s_k and `sqrt(s_k s_k+1)`, scales as in
    `ssd_anchor_shapes`, then for each r of `aspect_ratios` the scale s_k in r and 1 / r
    (width over height). Heights and widths are cut to 1, which changes the area of the
    anchor: its scale and ratio here are those after the cut.

    Source: pytorch/vision, torchvision/models/detection/anchor_utils.py,
    `DefaultBoxGenerator._generate_wh_pairs` and `_grid_default_boxes` (clip=True);
    arguments of ssdlite.py, `ssdlite320_mobilenet_v3_large`.

    Args:
        num_levels: At least 2.
        min_scale: Scale of the first level.
        max_scale: Scale of the last level.
        aspect_ratios: Other than 1; each stands for itself and its inverse.
    """
    scales = _spread_scales(num_levels, min_scale, max_scale)
    levels = []
    for scale, next_scale in zip(scales, scales[1:], strict=False):
        shapes = [(scale, 1.0), (math.sqrt(scale * next_scale), 1.0)]
        for ratio in aspect_ratios:
            shapes += [_cut_to_image(scale, ratio), _cut_to_image(scale, 1.0 / ratio)]
        levels.append(tuple(shapes))
    return tuple(levels)


def multiscale_anchor_shapes(
    num_levels: int,
    min_scale: float,
    *,
    scales_per_octave: int = 2,
    aspect_ratios: Sequence[float] = (1.0, 2.0, 0.5),
) -> Shapes:
    """Returns RetinaNet's anchor shapes, whose scales double from level to level.

    Level k has the scales `min_scale 2^(k + j / S)`, j from 0 to S - 1, each in every
    aspect ratio: anchors as large, measured in cells, on every level.

    Source: Lin et al., Focal loss for dense object detection, arXiv:1708.02002,
    section 4, "Anchors"; S = 2 as in the TensorFlow Object Detection API's
    `multiscale_anchor_generator` of its FPNLite configurations, which have min_scale
    0.1 at 320 px (four cells of stride 8).

    Args:
        num_levels: At least 1.
        min_scale: Smallest scale of the first level.
        scales_per_octave: S.
        aspect_ratios: Width over height.
    """
    return tuple(
        tuple(
            (min_scale * 2 ** (level + step / scales_per_octave), ratio)
            for step in range(scales_per_octave)
            for ratio in aspect_ratios
        )
        for level in range(num_levels)
    )


def _spread_scales(num_levels: int, first: float, last: float) -> list[float]:
    """Returns the levels' scales, evenly spread, and 1 behind the last."""
    if num_levels < 2:
        raise ValueError(
            f"num_levels must be at least 2. Received: num_levels={num_levels}"
        )
    step = (last - first) / (num_levels - 1)
    return [first + step * level for level in range(num_levels)] + [1.0]


def _cut_to_image(scale: float, aspect_ratio: float) -> tuple[float, float]:
    height = min(scale / math.sqrt(aspect_ratio), 1.0)
    width = min(scale * math.sqrt(aspect_ratio), 1.0)
    return math.sqrt(height * width), width / height
