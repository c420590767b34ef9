"""Random variation of batches of training images.

Crops and flips are a function of the seed they are given: a share of a batch gets those
that the whole batch would. MixUp and CutMix (keras-cv)
are one of the seed they are built with, as long as calls are made one after the other.
RandAugment (keras-cv) draws from unseeded generators: it does not repeat. keras-cv is
imported when first needed, which must be before tfmot is: tfmot turns it to Keras 2.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import tensorflow as tf

from mobilenas_tf.training.batch_share import WHOLE, Share
from mobilenas_tf.training.config import AugmentationConfig

LARGEST_PADDED_IMAGE_PX = 64
"""Up to this size crop=auto shifts the image instead of zooming into it."""

CROP_SOURCE_SCALE = 1.5
"""Size of the stored image for crop=random_resized, over the image size: a crop of 4/9
of the area is then neither enlarged nor reduced."""

ASPECT_RATIOS = (3 / 4, 4 / 3)
"""Inception's range, "Going Deeper with Convolutions", arXiv 1409.4842, section 6."""

RAND_AUGMENT_OPERATIONS = 2
"""N of "RandAugment", arXiv 1909.13719, section 4."""


def resolve_augmentation(
    config: AugmentationConfig, *, dataset: str, image_size_px: int
) -> AugmentationConfig:
    """Returns the config with every `auto` replaced by what it stands for."""
    is_digits = dataset == "digits"
    crop, flip, padding_px = (
        config.crop,
        config.horizontal_flip,
        config.crop_padding_px,
    )
    if crop == "auto":
        shifts = is_digits or image_size_px <= LARGEST_PADDED_IMAGE_PX
        crop = "pad" if shifts else "random_resized"
    if flip == "auto":
        flip = "off" if is_digits else "on"
    if padding_px is None:
        padding_px = image_size_px // (16 if is_digits else 8)
    return dataclasses.replace(
        config, crop=crop, horizontal_flip=flip, crop_padding_px=padding_px
    )


def build_image_transform(
    config: AugmentationConfig, image_size_px: int, share: Share = WHOLE
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Returns a graph function that varies each image of a batch on its own.

    It takes `[B, R, R, 3]` uint8 images and a `[2]` int64 seed, and returns
    `[B, S, S, 3]` float32 images in [0, 255]; B, R and S are static.

    Args:
        config: Without `auto`.
        image_size_px: S.
        share: Which part of a batch it will be given.
    """
    flip = config.horizontal_flip == "on"
    rand_augment = None
    if config.rand_augment_magnitude > 0:
        import keras_cv

        # Given a seed, keras-cv starts every operation's generator from the same
        # state, which ties the choice of the operation to its strength.
        rand_augment = keras_cv.layers.RandAugment(
            value_range=(0, 255),
            augmentations_per_image=RAND_AUGMENT_OPERATIONS,
            magnitude=config.rand_augment_magnitude,
            dtype="float32",
        )

    @tf.function
    def transform(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        if config.crop == "random_resized":
            images = random_resized_crop(
                images,
                image_size_px,
                min_area=config.min_crop_area,
                flip=flip,
                seed=seed,
                share=share,
            )
        else:
            padding_px = config.crop_padding_px if config.crop == "pad" else 0
            images = shift_and_flip(
                images, padding_px=padding_px or 0, flip=flip, seed=seed, share=share
            )
        images = tf.cast(images, tf.float32)
        return images if rand_augment is None else rand_augment(images)

    return transform


def shift_and_flip(
    images: tf.Tensor,
    *,
    padding_px: int,
    flip: bool,
    seed: tf.Tensor,
    share: Share = WHOLE,
) -> tf.Tensor:
    """Returns random crops, at the same size, of the images padded with zeros.

    Args:
        images: `[B, H, W, C]`, any type; static shape.
        padding_px: Zeros added on each side; the image shifts by at most this much.
        flip: Whether to mirror half of the images left to right.
        seed: `[2]` integers.
        share: Which part of a batch the images are.
    """
    batch_size, height, width, _ = images.shape
    shift_seed, flip_seed = tf.unstack(tf.random.split(seed, 2))
    rows = tf.range(height)[tf.newaxis, :]
    columns = tf.range(width)[tf.newaxis, :]
    if flip:
        is_flipped = _draw_flips(batch_size, flip_seed, share)[:, tf.newaxis]
        columns = tf.where(is_flipped, width - 1 - columns, columns)
    if padding_px:
        pad = [padding_px, padding_px]
        images = tf.pad(images, [[0, 0], pad, pad, [0, 0]])
        offsets = tf.random.stateless_uniform(
            [2, share.count * batch_size, 1],
            shift_seed,
            0,
            2 * padding_px + 1,
            tf.int32,
        )
        offsets = share.of(offsets, axis=1)
        rows, columns = rows + offsets[0], columns + offsets[1]
        images = tf.gather(images, rows, axis=1, batch_dims=1)
    if padding_px or flip:
        columns = tf.broadcast_to(columns, [batch_size, width])
        images = tf.gather(images, columns, axis=2, batch_dims=1)
    return images


def random_resized_crop(
    images: tf.Tensor,
    size_px: int,
    *,
    min_area: float,
    flip: bool,
    seed: tf.Tensor,
    share: Share = WHOLE,
) -> tf.Tensor:
    """Returns `[B, size_px, size_px, C]` float32: random parts, resized bilinearly.

    The part's area is uniform in [min_area, 1] and the logarithm of its aspect ratio
    uniform over `ASPECT_RATIOS`.

    Differs: from arXiv 1409.4842, section 6, in that a side longer than the image is
    cut to it instead of drawn again.

    Args:
        images: `[B, R, R, C]`; static shape.
        size_px: Height and width of the result.
        min_area: Smallest share of the image's area, before a side is cut.
        flip: Whether to mirror half of the images left to right.
        seed: `[2]` integers.
        share: Which part of a batch the images are.
    """
    batch_size = images.shape[0]
    box_seed, flip_seed = tf.unstack(tf.random.split(seed, 2))
    draws = tf.random.stateless_uniform([4, share.count * batch_size], box_seed)
    draws = share.of(draws, axis=1)
    area = min_area + (1 - min_area) * draws[0]
    low, high = (math.log(ratio) for ratio in ASPECT_RATIOS)
    ratio = tf.exp(low + (high - low) * draws[1])
    height = tf.minimum(tf.sqrt(area / ratio), 1.0)
    width = tf.minimum(tf.sqrt(area * ratio), 1.0)
    top, left = draws[2] * (1 - height), draws[3] * (1 - width)
    right = left + width
    if flip:
        is_flipped = _draw_flips(batch_size, flip_seed, share)
        left, right = (
            tf.where(is_flipped, right, left),
            tf.where(is_flipped, left, right),
        )
    boxes = tf.stack([top, left, top + height, right], axis=1)
    return tf.image.crop_and_resize(
        images, boxes, tf.range(batch_size), [size_px, size_px]
    )


def _draw_flips(batch_size: int, seed: tf.Tensor, share: Share) -> tf.Tensor:
    count = share.count * batch_size
    return share.of(tf.random.stateless_uniform([count], seed, 0, 2, tf.int32)) == 1


def build_mixer(
    *, mixup_alpha: float, cutmix_alpha: float, seed: int
) -> Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Returns a graph function that mixes images, and their labels, within a batch.

    It takes and returns `[B, H, W, 3]` float32 images and `[B, K]` float32 labels that
    sum to 1. With both kinds on, each batch takes one of them with probability 1/2.

    Differs: from "CutMix", arXiv 1905.04899, algorithm A1, in that keras-cv weighs the
    labels by the area of the whole box, also where the box sticks out of the image,
    and draws a box for each image instead of one for the batch.

    Args:
        mixup_alpha: Parameter of MixUp's symmetric Beta distribution; 0 is off.
        cutmix_alpha: Likewise for CutMix. One of them must be above 0.
        seed: Of all draws. keras-cv's layers have no seed for some of theirs, so it is
            set on the graph, when the function is traced.
    """
    import keras_cv

    layers = []
    if mixup_alpha > 0:
        layers.append(keras_cv.layers.MixUp(mixup_alpha, dtype="float32"))
    if cutmix_alpha > 0:
        layers.append(keras_cv.layers.CutMix(cutmix_alpha, dtype="float32"))

    def apply(
        layer: Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]],
        images: tf.Tensor,
        labels: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        mixed = layer({"images": images, "labels": labels})
        return mixed["images"], mixed["labels"]

    @tf.function
    def mix(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        tf.random.set_seed(seed)
        if len(layers) == 1:
            return apply(layers[0], images, labels)
        return tf.cond(
            tf.random.uniform([]) < 0.5,
            lambda: apply(layers[0], images, labels),
            lambda: apply(layers[1], images, labels),
        )

    return mix
