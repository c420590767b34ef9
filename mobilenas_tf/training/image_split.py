"""What a source of labelled images offers, and splits held in memory.

The sources are `digits`, `image_folder` and `tfds_images`; `data` joins them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import tensorflow as tf

from mobilenas_tf.training.batch_share import WHOLE, Share


class Batches(Protocol):
    """Gives the batches of a split, any number of times."""

    def __call__(
        self, batch_size: int, shuffle_seed: int | None, share: Share = WHOLE
    ) -> tf.data.Dataset:
        """Returns `[B, R, R, 3]` uint8 images and `[B]` int32 labels.

        Args:
            batch_size: B; the last batch may be smaller.
            shuffle_seed: The order is a function of it, for None it is fixed.
            share: Which part of every whole batch to read.
        """
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class ImageSplit:
    """Labelled square images that can be read in batches any number of times.

    Attributes:
        labels: `[N]` int32 class indices, for counting.
        batches: Gives datasets.
    """

    labels: np.ndarray
    batches: Batches


@dataclasses.dataclass(frozen=True, eq=False)
class LoadRequest:
    """Asks a source for some images of a stored split.

    Attributes:
        stored_split: Name of the stored split.
        indices: `[N]` ascending positions in it.
        size_px: Height and width of the square images.
        crop_fraction: Side of the central square as a share of the shorter side.
        in_memory: Whether to decode the images once or at every reading.
    """

    stored_split: str
    indices: np.ndarray
    size_px: int
    crop_fraction: float
    in_memory: bool


@dataclasses.dataclass(frozen=True, eq=False)
class ImageSource:
    """A data set whose labels are known and whose images are yet to be read.

    Attributes:
        class_names: `[K]` names in the order of the class indices.
        labels_by_split: `[N]` int32 labels under `train` and, where stored,
            `validation` and `test`.
        load: Gives the split and one line for each image that had to be skipped.
    """

    class_names: tuple[str, ...]
    labels_by_split: Mapping[str, np.ndarray]
    load: Callable[[LoadRequest], tuple[ImageSplit, tuple[str, ...]]]


def hold_in_memory(images: np.ndarray, labels: np.ndarray) -> ImageSplit:
    """Returns a split of decoded images.

    Args:
        images: `[N, R, R, 3]` uint8.
        labels: `[N]` int32.
    """
    with tf.device("CPU:0"):
        all_images, all_labels = tf.constant(images), tf.constant(labels)

    def batches(
        batch_size: int, shuffle_seed: int | None, share: Share = WHOLE
    ) -> tf.data.Dataset:
        order = index_order(len(labels), shuffle_seed)
        return (
            tf.data.Dataset.from_tensor_slices(share.pick(order, batch_size))
            .batch(share.size(batch_size))
            .map(
                lambda index: (
                    tf.gather(all_images, index),
                    tf.gather(all_labels, index),
                ),
                num_parallel_calls=tf.data.AUTOTUNE,
            )
        )

    return ImageSplit(labels, batches)


def index_order(count: int, shuffle_seed: int | None) -> np.ndarray:
    """Returns `[count]` int64: 0, 1, ... or a permutation drawn from the seed."""
    if shuffle_seed is None:
        return np.arange(count)
    return np.random.default_rng(shuffle_seed).permutation(count)
