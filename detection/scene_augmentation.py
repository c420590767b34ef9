"""Random variation of training images together with their boxes.

Each function takes one image and is a function of the seed that it is given. A scene's
targets are a dict of `boxes_normalized` `[G, 4]` float32, `labels` `[G]` int32 (-1 is
padding) and `is_ignored` `[G]` bool. What becomes of a box whose centre leaves the
image: it is dropped, and the others move up.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import tensorflow as tf

from detection.boxes import clip_boxes, iou
from detection.config import SceneAugmentationConfig
from detection.shapes import check_shape

Targets = dict[str, tf.Tensor]

CROP_OVERLAPS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
"""Least IoU of a crop with an object, "SSD: Single Shot MultiBox Detector",
arXiv 1512.02325, section 2.2; 0 is its random patch."""

CROP_ASPECT_RATIOS = (1 / 2, 2.0)  # arXiv 1512.02325, section 2.2
CROP_TRIALS = 50  # max_trials of the authors' ssd_pascal.py

MAX_BRIGHTNESS = 32.0  # these four: ssd_pascal.py of the authors' code
CONTRAST_RANGE = (0.5, 1.5)
SATURATION_RANGE = (0.5, 1.5)
MAX_HUE_DEGREES = 18.0

GREY = 127.5
"""Of what is not image: 0 in the network's input."""

MOSAIC_CENTERS = (0.3, 0.7)
"""Range of the point where the four images of a mosaic meet."""

_REDUCTION_WITHOUT_ALIASES = 1.5
"""Up to this factor an image is reduced with plain bilinear interpolation, at a quarter
of the cost."""

_TO_YIQ = (
    (0.299, 0.587, 0.114),
    (0.596, -0.274, -0.322),
    (0.211, -0.523, 0.312),
)
"""NTSC's luminance and two colour axes, in which a turn changes the hue."""


def resolve_scene_augmentation(
    config: SceneAugmentationConfig, *, dataset: str
) -> SceneAugmentationConfig:
    """Returns the config with `auto` replaced by what it stands for."""
    if config.horizontal_flip != "auto":
        return config
    flip = "off" if dataset == "digit_scenes" else "on"
    return dataclasses.replace(config, horizontal_flip=flip)


def build_scene_transform(
    config: SceneAugmentationConfig, image_size_px: int
) -> Callable[[tf.Tensor, Targets, tf.Tensor], tuple[tf.Tensor, Targets]]:
    """Returns a graph function that zooms, crops, flips, resizes and recolours a scene.

    It takes an image `[R, R, 3]` uint8, its targets and a `[2]` integer seed, and
    returns `[S, S, 3]` float32 in [0, 255] and targets of the same shapes.

    Args:
        config: Without `auto`.
        image_size_px: S.
    """

    @tf.function
    def transform(
        image: tf.Tensor, targets: Targets, seed: tf.Tensor
    ) -> tuple[tf.Tensor, Targets]:
        check_shape(image, (None, None, 3), "image")
        check_shape(targets["boxes_normalized"], (None, 4), "boxes_normalized")
        zoom_seed, crop_seed, flip_seed, color_seed = tf.unstack(
            tf.random.split(seed, 4)
        )
        window = tf.constant([0.0, 0.0, 1.0, 1.0])
        if config.zoom_out_probability > 0:
            window = draw_canvas(
                probability=config.zoom_out_probability,
                max_side=config.max_zoom_out,
                seed=zoom_seed,
            )
        if config.random_crop:
            seen = move_boxes(targets, window)
            crop = draw_crop(seen, min_area=config.min_crop_area, seed=crop_seed)
            window = _inside(window, crop)
        image, window = cut_window(image, window, image_size_px)
        targets = move_boxes(targets, window)
        if config.horizontal_flip == "on":
            is_flipped = tf.random.stateless_uniform([], flip_seed) < 0.5
            image, targets = tf.cond(
                is_flipped,
                lambda: flip_scene(image, targets),
                lambda: (image, targets),
            )
        if config.color_jitter > 0:
            image = jitter_colors(image, config.color_jitter, seed=color_seed)
        return image, targets

    return transform


def draw_canvas(*, probability: float, max_side: float, seed: tf.Tensor) -> tf.Tensor:
    """Returns a window `[4]` that holds the whole image and more around it.

    Its sides are uniform in [1, max_side] times the image's, its place too; else it is
    the image itself, `[0, 0, 1, 1]`.
    Source: SSD's "zoom out", arXiv 1512.02325, section 3.6.

    Args:
        probability: Of a larger window.
        max_side: Largest side of the window over the image's.
        seed: `[2]` integers.
    """
    draws = tf.random.stateless_uniform([4], seed)
    side = 1 + tf.where(draws[0] < probability, (max_side - 1) * draws[1], 0.0)
    corner = -draws[2:] * (side - 1)
    return tf.concat([corner, corner + side], axis=0)


def draw_crop(targets: Targets, *, min_area: float, seed: tf.Tensor) -> tf.Tensor:
    """Returns a window `[4]` inside the image, as SSD draws it.

    One of these, each as likely as the others: the whole image; for each least overlap
    of `CROP_OVERLAPS`, a random part that has at least this IoU with an object. The
    part's side is uniform up to 1, the logarithm of its aspect ratio uniform over
    `CROP_ASPECT_RATIOS` as far as it then fits. If none of `CROP_TRIALS` parts has the
    overlap, one of the other kinds is taken.

    Source: "SSD: Single Shot MultiBox Detector", arXiv 1512.02325, section 2.2.
    Differs: in that the part must always hold the centre of an object (SSD would train
    on pure background); and in that areas and ratios are those in the stretched image,
    as in the authors' code.

    Args:
        targets: Of the image. What is ignored is no object.
        min_area: Smallest share of the image's area.
        seed: `[2]` integers.
    """
    boxes = targets["boxes_normalized"]
    is_object = (targets["labels"] >= 0) & ~targets["is_ignored"]
    part_seed, choice_seed = tf.unstack(tf.random.split(seed, 2))
    side, ratio_draw, top, left = tf.unstack(
        tf.random.stateless_uniform([4, CROP_TRIALS], part_seed)
    )
    side = math.sqrt(min_area) + (1 - math.sqrt(min_area)) * side
    # Height side / sqrt(ratio) and width side * sqrt(ratio) are at most 1.
    low, high = (math.log(ratio) for ratio in CROP_ASPECT_RATIOS)
    log_area = 2 * tf.math.log(side)
    low, high = tf.maximum(low, log_area), tf.minimum(high, -log_area)
    half_ratio = 0.5 * (low + (high - low) * ratio_draw)
    height, width = side * tf.exp(-half_ratio), side * tf.exp(half_ratio)
    top, left = top * (1 - height), left * (1 - width)
    parts = tf.stack([top, left, top + height, left + width], axis=1)

    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    is_inside = tf.reduce_all(
        (centers >= parts[:, tf.newaxis, :2]) & (centers < parts[:, tf.newaxis, 2:]), 2
    )
    holds_object = tf.reduce_any(is_inside & is_object, axis=1)
    overlaps = tf.where(is_object, iou(parts, boxes), -1.0)
    overlaps = tf.where(holds_object, tf.reduce_max(overlaps, axis=1), -1.0)
    fits = overlaps >= tf.constant(CROP_OVERLAPS)[:, tf.newaxis]
    # One row a kind: its first part that fits; the last row is the whole image.
    first = tf.argmax(fits, axis=1)
    windows = tf.concat([tf.gather(parts, first), [[0.0, 0.0, 1.0, 1.0]]], axis=0)
    is_possible = tf.concat([tf.reduce_any(fits, axis=1), [True]], axis=0)
    lots = tf.random.stateless_uniform([len(CROP_OVERLAPS) + 1], choice_seed)
    return tf.gather(windows, tf.argmax(tf.where(is_possible, lots, -1.0)))


def cut_window(
    image: tf.Tensor, window: tf.Tensor, size_px: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns what a window shows, `[S, S, 3]` float32, and the exact window `[4]`.

    Its borders are moved to whole pixels, so it differs from the one asked for by up to
    half a pixel; boxes must follow the exact one. Outside the image it is grey.

    Args:
        image: `[H, W, 3]` uint8.
        window: `[4]` normalised corners; a part of it must be inside the image.
        size_px: S.
    """
    sides = tf.shape(image)[:2]
    scale = tf.cast(sides, tf.float32)
    corners = tf.reshape(window, [2, 2]) * scale
    start = tf.cast(tf.round(corners[0]), tf.int32)
    end = tf.maximum(tf.cast(tf.round(corners[1]), tf.int32), start + 1)
    # The part inside the image, in pixels of the image and of the result.
    inner_start = tf.clip_by_value(start, 0, sides - 1)
    inner_end = tf.clip_by_value(end, inner_start + 1, sides)
    pixels_per_pixel = size_px / tf.cast(end - start, tf.float32)

    def place(position: tf.Tensor) -> tf.Tensor:
        return tf.cast(
            tf.round(tf.cast(position - start, tf.float32) * pixels_per_pixel), tf.int32
        )

    shown_start = tf.clip_by_value(place(inner_start), 0, size_px - 1)
    shown_end = tf.clip_by_value(place(inner_end), shown_start + 1, size_px)
    inner = image[inner_start[0] : inner_end[0], inner_start[1] : inner_end[1]]
    shown = _resize(inner, shown_end - shown_start)
    margins = tf.stack([shown_start, size_px - shown_end], axis=1)
    shown = tf.cond(
        tf.reduce_any(margins > 0),
        lambda: tf.pad(shown, tf.pad(margins, [[0, 1], [0, 0]]), constant_values=GREY),
        lambda: shown,
    )
    # The window whose image, at this scale, puts the inner part exactly where it is.
    step = tf.cast(inner_end - inner_start, tf.float32) / tf.cast(
        shown_end - shown_start, tf.float32
    )
    exact_start = tf.cast(inner_start, tf.float32) - step * tf.cast(
        shown_start, tf.float32
    )
    exact = tf.concat([exact_start, exact_start + step * size_px], axis=0)
    return (
        tf.ensure_shape(shown, (size_px, size_px, 3)),
        exact / tf.concat([scale, scale], axis=0),
    )


def move_boxes(targets: Targets, window: tf.Tensor) -> Targets:
    """Returns the targets of what a window shows: the boxes whose centre is inside.

    They are clipped, stand first and keep their order; the rest is padding.

    Args:
        targets: Of the image.
        window: `[4]` normalised corners, perhaps outside the image.
    """
    corner = tf.tile(window[:2], [2])
    boxes = (targets["boxes_normalized"] - corner) / tf.tile(
        window[2:] - window[:2], [2]
    )
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    is_inside = tf.reduce_all((centers >= 0) & (centers < 1), axis=1)
    boxes = clip_boxes(boxes)
    has_area = tf.reduce_all(boxes[:, 2:] > boxes[:, :2], axis=1)
    return _keep(
        {**targets, "boxes_normalized": boxes},
        is_inside & has_area & (targets["labels"] >= 0),
    )


def flip_scene(image: tf.Tensor, targets: Targets) -> tuple[tf.Tensor, Targets]:
    """Returns a scene mirrored left to right."""
    y_min, x_min, y_max, x_max = tf.unstack(targets["boxes_normalized"], axis=1)
    boxes = tf.stack([y_min, 1 - x_max, y_max, 1 - x_min], axis=1)
    is_padding = targets["labels"][:, tf.newaxis] < 0
    boxes = tf.where(is_padding, 0.0, boxes)
    return tf.reverse(image, [1]), {**targets, "boxes_normalized": boxes}


def jitter_colors(image: tf.Tensor, strength: float, *, seed: tf.Tensor) -> tf.Tensor:
    """Returns an image of another brightness, contrast, saturation and hue.

    All four are one linear map of the colours, `c H S (x - 127.5) + 127.5 + b`: S mixes
    a colour with its luminance, H turns it around the grey axis (in YIQ).

    Differs: from SSD's distortion (arXiv 1512.02325, section 2.2) in that each of the
    four is always drawn, instead of half of the time, in that contrast is about
    the middle grey, and in that the hue is turned in YIQ, instead of HSV.

    Args:
        image: `[H, W, 3]` float32 in [0, 255].
        strength: Share of SSD's ranges, in [0, 1].
        seed: `[2]` integers.
    """
    brightness, contrast, saturation, hue = tf.unstack(
        tf.random.stateless_uniform([4], seed, -strength, strength)
    )
    to_yiq = tf.constant(_TO_YIQ)
    angle = hue * (MAX_HUE_DEGREES * math.pi / 180)
    cosine, sine = tf.cos(angle), tf.sin(angle)
    saturation = 1 + saturation * (SATURATION_RANGE[1] - 1)
    turn = tf.stack(
        [
            tf.stack([1.0, 0.0, 0.0]),
            saturation * tf.stack([0.0, cosine, -sine]),
            saturation * tf.stack([0.0, sine, cosine]),
        ]
    )
    colors = tf.linalg.inv(to_yiq) @ turn @ to_yiq
    colors *= 1 + contrast * (CONTRAST_RANGE[1] - 1)
    offset = GREY - tf.linalg.matvec(colors, tf.fill([3], GREY))
    flat = tf.reshape(image, [-1, 3])
    flat = tf.matmul(flat, colors, transpose_b=True)
    flat += offset + brightness * MAX_BRIGHTNESS
    return tf.reshape(tf.clip_by_value(flat, 0.0, 255.0), tf.shape(image))


def build_mosaic(
    images: tf.Tensor, targets: Targets, *, seed: tf.Tensor
) -> tuple[tf.Tensor, Targets]:
    """Returns a scene of four, which meet at a random point.

    Each shows its largest random part of the shape of its quarter. Of the boxes the G
    largest stay.

    Differs: from "YOLOv4", arXiv 2004.10934, section 3.3 (which shows no formula), in
    that no part is stretched and no border is empty.

    Args:
        images: `[4, R, R, 3]` uint8; upper left, upper right, lower left, lower right.
        targets: Of the four, with the leading axis 4.
        seed: `[2]` integers.
    """
    size_px, num_boxes = images.shape[1], targets["labels"].shape[1]
    draws = tf.random.stateless_uniform([10], seed)
    low, high = MOSAIC_CENTERS
    center = tf.cast(tf.round((low + (high - low) * draws[:2]) * size_px), tf.int32)
    rows = (tf.stack([0, center[0]]), tf.stack([center[0], size_px]))
    columns = (tf.stack([0, center[1]]), tf.stack([center[1], size_px]))
    quarters, found = [], []
    for index, (row, column) in enumerate(
        (row, column) for row in rows for column in columns
    ):
        start = tf.stack([row[0], column[0]])
        sides = tf.stack([row[1], column[1]]) - start
        seen = sides * size_px // tf.reduce_max(sides)
        room = tf.cast(size_px - seen, tf.float32)
        corner = tf.cast(
            tf.round(draws[2 + 2 * index : 4 + 2 * index] * room), tf.int32
        )
        part = images[index][
            corner[0] : corner[0] + seen[0], corner[1] : corner[1] + seen[1]
        ]
        quarters.append(_resize(part, sides))
        window = tf.concat([corner, corner + seen], axis=0) / size_px
        moved = move_boxes(
            {name: values[index] for name, values in targets.items()},
            tf.cast(window, tf.float32),
        )
        shares = tf.tile(tf.cast(sides / size_px, tf.float32), [2])
        offset = tf.tile(tf.cast(start / size_px, tf.float32), [2])
        is_box = moved["labels"][:, tf.newaxis] >= 0
        boxes = tf.where(is_box, moved["boxes_normalized"] * shares + offset, 0.0)
        found.append({**moved, "boxes_normalized": boxes})
    image = tf.concat(
        [tf.concat(quarters[:2], axis=1), tf.concat(quarters[2:], axis=1)], axis=0
    )
    image = tf.cast(tf.round(image), tf.uint8)
    joined = {name: tf.concat([part[name] for part in found], 0) for name in targets}
    sides = joined["boxes_normalized"][:, 2:] - joined["boxes_normalized"][:, :2]
    _, largest = tf.math.top_k(sides[:, 0] * sides[:, 1], num_boxes)
    kept = {name: tf.gather(values, largest) for name, values in joined.items()}
    return tf.ensure_shape(image, (size_px, size_px, 3)), kept


@tf.function
def mix_mosaics(
    images: tf.Tensor, targets: Targets, *, probability: float, seed: tf.Tensor
) -> tuple[tf.Tensor, Targets]:
    """Returns a batch in which some images became a mosaic of four of the batch.

    Args:
        images: `[B, R, R, 3]` uint8; static shape.
        targets: With the leading axis B.
        probability: Of each image to become the first quarter of a mosaic.
        seed: `[2]` integers.
    """
    batch_size = images.shape[0]
    choice_seed, partner_seed, mosaic_seed = tf.unstack(tf.random.split(seed, 3))
    is_mosaic = tf.random.stateless_uniform([batch_size], choice_seed) < probability
    partners = tf.random.stateless_uniform(
        [batch_size, 3], partner_seed, 0, batch_size, tf.int32
    )
    partners = tf.concat([tf.range(batch_size)[:, tf.newaxis], partners], axis=1)
    seeds = tf.random.split(mosaic_seed, batch_size)

    def pick(index: tf.Tensor) -> tuple[tf.Tensor, Targets]:
        def mosaic() -> tuple[tf.Tensor, Targets]:
            four = {
                name: tf.gather(values, partners[index])
                for name, values in targets.items()
            }
            return build_mosaic(
                tf.gather(images, partners[index]), four, seed=seeds[index]
            )

        def itself() -> tuple[tf.Tensor, Targets]:
            return images[index], {name: part[index] for name, part in targets.items()}

        return tf.cond(is_mosaic[index], mosaic, itself)

    signature = (
        tf.TensorSpec(images.shape[1:], images.dtype),
        {
            name: tf.TensorSpec(values.shape[1:], values.dtype)
            for name, values in targets.items()
        },
    )
    return tf.map_fn(pick, tf.range(batch_size), fn_output_signature=signature)


def _inside(window: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
    """Returns a part of a window, given in shares of it, in the window's own unit."""
    sides = tf.tile(window[2:] - window[:2], [2])
    return tf.tile(window[:2], [2]) + part * sides


def _resize(image: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Returns an image in float32 at a size `[2]`, without visible aliases."""
    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    reduction = tf.reduce_max(sides / tf.cast(size, tf.float32))
    return tf.cond(
        reduction > _REDUCTION_WITHOUT_ALIASES,
        lambda: tf.image.resize(image, size, antialias=True),
        lambda: tf.image.resize(image, size),
    )


def _keep(targets: Targets, is_kept: tf.Tensor) -> Targets:
    """Returns the kept boxes, then padding."""
    order = tf.argsort(tf.cast(~is_kept, tf.int32), stable=True)
    is_kept = tf.gather(is_kept, order)
    boxes, labels, is_ignored = (
        tf.gather(targets[name], order)
        for name in ("boxes_normalized", "labels", "is_ignored")
    )
    return {
        "boxes_normalized": tf.where(is_kept[:, tf.newaxis], boxes, 0.0),
        "labels": tf.where(is_kept, labels, -1),
        "is_ignored": is_kept & is_ignored,
    }
