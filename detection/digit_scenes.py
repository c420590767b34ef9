"""Embedded scenes of handwritten digits on textured backgrounds, and their boxes.

Made from scikit-learn's digits and a seed; nothing is downloaded. The rules stand as
constants below.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import os
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from detection.scene import Scene, SceneSource
from mobilenas_tf.training.digits import MAX_INTENSITY
from mobilenas_tf.training.splits import plan_splits

SCENE_SIZE_PX = 160
NUM_SCENES: Mapping[str, int] = MappingProxyType(
    {"train": 2000, "validation": 300, "test": 300}
)
SCENES_SEED = 2016
"""Fixed, so that every run has the same scenes."""

VALIDATION_FRACTION = 0.1
"""Share of the digit images, as `DataConfig` has it: a classifier of the same digits
has not been trained on those of the test scenes either."""

MIN_DIGITS, MAX_DIGITS = 3, 12
MIN_SIDE_PX, MAX_SIDE_PX = 10, 80
MAX_IOU = 0.3
MAX_COVERED_SHARE = 0.4
"""Of the smaller of two boxes, the part inside the larger."""

MIN_INK = 0.3
"""Opacity from which on a pixel counts as ink: it decides how tight a box is."""

MIN_CONTRAST = 40
"""Levels of luminance between a digit's colour and `READABLE_SHARE` of the pixels that
its ink covers."""

READABLE_SHARE = 0.9
_MAX_CONTRAST = 130
_MAX_ATTEMPTS = 100
"""Places and sizes tried for a digit before a scene goes without it."""

_DIGIT_SIZE = 8
_INK_MARGIN = 10 / 8
"""A digit's ink is at most 8 of the 10 pixels that it is enlarged from."""

_STRETCHES = (0.85, 1.18)
_HARDNESS = (1.0, 2.5)
"""Range of the factor that makes the soft edges of enlarged ink steeper."""

_NOISE_GRID = 5
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def open_digit_scenes() -> SceneSource:
    """Returns the scenes of every run; they are made once in a process.

    The categories 1 to 10 are "0" to "9". Areas are those of the boxes.
    """
    return _open(SCENES_SEED, tuple(NUM_SCENES.items()))


def generate_digit_scenes(seed: int, num_scenes: Mapping[str, int]) -> SceneSource:
    """Returns new scenes, a function of the seed.

    A split's scene i is the same however many scenes there are.

    Args:
        seed: Of everything drawn.
        num_scenes: By split, of `train`, `validation` and `test`.
    """
    from sklearn.datasets import load_digits

    digits, labels = load_digits(return_X_y=True)
    digits = np.reshape(digits / MAX_INTENSITY, (-1, _DIGIT_SIZE, _DIGIT_SIZE))
    plans = plan_splits({"train": labels}, validation_fraction=VALIDATION_FRACTION)
    tasks = []
    for split_number, (split, plan) in enumerate(plans.items()):
        make = functools.partial(
            _make_scene, digits[plan.indices], labels[plan.indices].astype(np.int32)
        )
        tasks += [
            functools.partial(make, (seed, split_number, index), len(tasks) + 1 + index)
            for index in range(num_scenes.get(split, 0))
        ]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as executor:
        scenes = iter(list(executor.map(lambda task: task(), tasks)))
    return SceneSource(
        class_names=tuple("0123456789"),
        category_ids=tuple(range(1, 11)),
        scenes_by_split={
            split: tuple(next(scenes) for _ in range(num_scenes.get(split, 0)))
            for split in plans
        },
    )


@functools.lru_cache(maxsize=1)
def _open(seed: int, num_scenes: tuple[tuple[str, int], ...]) -> SceneSource:
    return generate_digit_scenes(seed, dict(num_scenes))


@dataclasses.dataclass(frozen=True, eq=False)
class _Glyph:
    """A digit at the size that it has in a scene.

    Attributes:
        label: The digit.
        opacity: `[H, W]` float32 in [0, 1].
        ink: The part of it that the box is tight around; beyond, opacity fades out.
    """

    label: int
    opacity: np.ndarray
    ink: tuple[slice, slice]

    @property
    def ink_size(self) -> np.ndarray:
        """`[2]` height and width of the ink."""
        return np.array([part.stop - part.start for part in self.ink])


def _make_scene(
    digits: np.ndarray, labels: np.ndarray, seeds: tuple[int, ...], image_id: int
) -> Scene:
    rng = np.random.default_rng(seeds)
    canvas = draw_background(rng)
    glyphs = []
    for _ in range(rng.integers(MIN_DIGITS, MAX_DIGITS, endpoint=True)):
        index = rng.integers(len(labels))
        glyphs.append(_draw_glyph(digits[index], int(labels[index]), rng))
    # Large ones first, so that none disappears under another.
    glyphs.sort(key=lambda glyph: -glyph.ink_size.prod())
    boxes, placed_labels = np.zeros((0, 4), np.int64), []
    for glyph in glyphs:
        box = _place(glyph, canvas, boxes, rng)
        if box is not None:
            boxes = np.concatenate([boxes, box[np.newaxis]])
            placed_labels.append(glyph.label)
    if len(boxes) < MIN_DIGITS:
        raise RuntimeError(
            f"A scene must have at least {MIN_DIGITS} digits. Received: {len(boxes)} "
            f"that fit in {_MAX_ATTEMPTS} attempts each, seeds={seeds}"
        )
    sides = boxes[:, 2:] - boxes[:, :2]
    return Scene(
        image_id=image_id,
        name=f"digit_scene_{image_id:06d}.png",
        height=SCENE_SIZE_PX,
        width=SCENE_SIZE_PX,
        boxes=boxes.astype(np.float32),
        labels=np.array(placed_labels, np.int32),
        is_ignored=np.zeros(len(boxes), bool),
        areas_px=np.prod(sides, axis=1).astype(np.float32),
        read_pixels=functools.partial(_resize, canvas),
    )


def _resize(pixels: np.ndarray, size_px: int | None) -> np.ndarray:
    if size_px in (None, len(pixels)):
        return pixels
    size = (size_px, size_px)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))


def draw_background(rng: np.random.Generator) -> np.ndarray:
    """Returns `[160, 160, 3]` uint8 that look like an out-of-focus photo.

    A smooth field of muted colours, shapes with blurred and with sharp edges, noise at
    all scales whose amplitude falls with the frequency (as in photos), and a cast.
    """
    base = rng.uniform(50, 205) + rng.normal(0, 22, 3)
    field = base + rng.normal(0, 15, (3, 3, 3)) + rng.normal(0, 20, (3, 3, 1))
    image = Image.fromarray(np.clip(field, 0, 255).astype(np.uint8))
    # Few pixels enlarged are a strong blur that costs little.
    for size_px, blur_px in (
        (SCENE_SIZE_PX // 4, rng.uniform(0, 2)),
        (SCENE_SIZE_PX, rng.uniform(0, 2)),
    ):
        image = image.resize((size_px, size_px), Image.Resampling.BICUBIC)
        draw = ImageDraw.Draw(image)
        for _ in range(rng.integers(1, 5)):
            _draw_shape(draw, size_px, base, rng)
        image = image.filter(ImageFilter.BoxBlur(blur_px))
    noise = _draw_noise(rng.uniform(3, 18), rng.uniform(0.45, 0.8), rng)
    cast = rng.uniform(0.9, 1.1, 3).astype(np.float32)
    # Rows of pixels and channels in one: an axis of three is slow to broadcast along.
    rows = np.asarray(image, np.float32).reshape(SCENE_SIZE_PX, -1)
    rows = (rows + np.repeat(noise, 3, axis=1)) * np.tile(cast, SCENE_SIZE_PX)
    pixels = np.clip(rows, 0, 255).astype(np.uint8)
    return pixels.reshape(SCENE_SIZE_PX, SCENE_SIZE_PX, 3)


def _draw_shape(
    draw: ImageDraw.ImageDraw,
    size_px: int,
    base: np.ndarray,
    rng: np.random.Generator,
) -> None:
    shade = base + rng.normal(0, 40) + rng.normal(0, 18, 3)
    color = tuple(np.clip(shade, 0, 255).astype(int).tolist())
    center = rng.uniform(0, size_px, 2)
    sides = rng.uniform(0.06, 0.7, 2) * size_px
    kind = rng.integers(3)
    if kind == 0:
        draw.ellipse((*(center - sides / 2), *(center + sides / 2)), fill=color)
        return
    angles = np.sort(rng.uniform(0, 2 * np.pi, 2 if kind == 1 else 5))
    corners = center + np.stack([np.cos(angles), np.sin(angles)], 1) * sides.max()
    points = [tuple(corner) for corner in corners.tolist()]
    if kind == 1:
        width = rng.uniform(0.015, 0.09) * size_px
        draw.line(points, fill=color, width=max(1, round(width)))
    else:
        draw.polygon(points, fill=color)


def _draw_noise(
    amplitude: float, persistence: float, rng: np.random.Generator
) -> np.ndarray:
    """Returns `[160, 160]` float32: octaves, each finer by 2, weaker by persistence."""
    size = _NOISE_GRID
    noise = np.zeros((size, size), np.float32)
    while True:
        noise += amplitude * rng.standard_normal((size, size), np.float32)
        if size >= SCENE_SIZE_PX:
            return noise
        size, amplitude = 2 * size, amplitude * persistence
        enlarged = Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC)
        noise = np.array(enlarged)


def _draw_glyph(digit: np.ndarray, label: int, rng: np.random.Generator) -> _Glyph:
    """Returns a digit enlarged bicubically to a random size that the rules allow."""
    # The margin lets strokes at the border of the stored digit fade out.
    grey = Image.fromarray(np.pad(digit * 255, 1).astype(np.uint8))
    glyph = None
    for _ in range(_MAX_ATTEMPTS):
        side_px = rng.uniform(MIN_SIDE_PX, MAX_SIDE_PX) * _INK_MARGIN
        stretch = rng.uniform(*_STRETCHES)
        size = (round(side_px / stretch), round(side_px * stretch))
        soft = np.asarray(grey.resize(size, Image.Resampling.BICUBIC), np.float32)
        hardness = rng.uniform(*_HARDNESS)
        opacity = np.clip(hardness / 255 * soft + (0.5 - hardness / 2), 0, 1)
        glyph = _Glyph(label, opacity, _find_ink(opacity))
        if MIN_SIDE_PX <= glyph.ink_size.min() <= glyph.ink_size.max() <= MAX_SIDE_PX:
            return glyph
    raise RuntimeError(
        f"A digit must have sides of {MIN_SIDE_PX} to {MAX_SIDE_PX} px at some size. "
        f"Received: {glyph and glyph.ink_size} in the last of {_MAX_ATTEMPTS} attempts"
    )


def _find_ink(opacity: np.ndarray) -> tuple[slice, slice]:
    is_ink = opacity >= MIN_INK
    rows, columns = (np.flatnonzero(is_ink.any(axis=axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _place(
    glyph: _Glyph, canvas: np.ndarray, boxes: np.ndarray, rng: np.random.Generator
) -> np.ndarray | None:
    """Draws a digit where the rules allow it and returns its box, or None."""
    size = glyph.ink_size
    corners = rng.integers(0, SCENE_SIZE_PX - size, (_MAX_ATTEMPTS, 2), endpoint=True)
    places = np.concatenate([corners, corners + size], axis=1)
    is_ink = glyph.opacity[glyph.ink] >= MIN_INK
    for box in places[_has_room(places, boxes)]:
        covered = canvas[box[0] : box[2], box[1] : box[3]][is_ink]
        color = _choose_color(covered @ _LUMINANCE, rng)
        if color is not None:
            _paint(canvas, glyph, box[:2], color)
            return box
    return None


def _paint(
    canvas: np.ndarray, glyph: _Glyph, corner: np.ndarray, color: np.ndarray
) -> None:
    """Lays the colour over the canvas, with the ink's upper left corner there."""
    start = corner - [part.start for part in glyph.ink]
    first = np.maximum(start, 0)
    last = np.minimum(start + glyph.opacity.shape, SCENE_SIZE_PX)
    patch = canvas[first[0] : last[0], first[1] : last[1]]
    (top, left), (bottom, right) = first - start, last - start
    opacity = glyph.opacity[top:bottom, left:right, np.newaxis]
    patch[:] = np.rint(patch + opacity * (color - patch)).astype(np.uint8)


def _has_room(places: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Returns `[N]` bool: which of `places` `[N, 4]` overlap no box too much."""
    starts = np.maximum(places[:, np.newaxis, :2], boxes[:, :2])
    ends = np.minimum(places[:, np.newaxis, 2:], boxes[:, 2:])
    shared = np.prod(np.maximum(ends - starts, 0), axis=2)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    own_areas = np.prod(places[:, 2:] - places[:, :2], axis=1)[:, np.newaxis]
    return np.all(
        (shared <= MAX_IOU * (own_areas + areas - shared))
        & (shared <= MAX_COVERED_SHARE * np.minimum(own_areas, areas)),
        axis=1,
    )


def _choose_color(
    luminances: np.ndarray, rng: np.random.Generator
) -> np.ndarray | None:
    """Returns an RGB colour `[3]` readable on these pixels, or None.

    Args:
        luminances: `[N]` of the pixels under the ink.
        rng: Of the choice.
    """
    last = len(luminances) - 1
    low, high = (round(share * last) for share in (1 - READABLE_SHARE, READABLE_SHARE))
    ordered = np.partition(luminances, (low, high))
    # Below or above nearly all pixels; one level more, as colours are rounded later.
    starts, signs = (ordered[low] - 1, ordered[high] + 1), (-1, 1)
    rooms = (starts[0], 255 - starts[1])
    sides = [side for side in (0, 1) if rooms[side] >= MIN_CONTRAST]
    if not sides:
        return None
    side = sides[rng.integers(len(sides))]
    contrast = rng.uniform(MIN_CONTRAST, min(_MAX_CONTRAST, rooms[side]))
    luminance = starts[side] + signs[side] * contrast
    tint = rng.normal(0, 1, 3)
    tint -= tint @ _LUMINANCE
    # The strongest tint of this luminance leaves [0, 255] in one channel.
    limits = np.where(tint > 0, 255 - luminance, luminance) / np.maximum(
        np.abs(tint), 1e-6
    )
    color = luminance + rng.uniform(0, 0.9) * limits.min() * tint
    return color.astype(np.float32)
