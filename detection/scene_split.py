"""Scenes that can be read by their number in a TensorFlow graph, held or streamed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from absl import logging

from detection.scene import Scene, find_largest_boxes
from mobilenas_tf.training.photos import decode_all


@dataclasses.dataclass(frozen=True, eq=False)
class SceneSplit:
    """Scenes of one split, whose images are stretched to one size.

    Attributes:
        scenes: With all their boxes.
        read: `read(index)` gives, in a graph, an image `[R, R, 3]` uint8 and its
            targets: `boxes_normalized` `[G, 4]` float32, `labels` `[G]` int32 (-1 is
            padding) and `is_ignored` `[G]` bool, G being the most boxes that were
            asked for.
        num_truncated: Images that have more than G boxes.
    """

    scenes: tuple[Scene, ...]
    read: Callable[[tf.Tensor], tuple[tf.Tensor, dict[str, tf.Tensor]]]
    num_truncated: int


def load_split(
    scenes: Sequence[Scene], *, size_px: int, max_boxes: int, in_memory: bool
) -> tuple[SceneSplit, tuple[str, ...]]:
    """Returns a split, and one line for each image that cannot be decoded.

    These images are left out. To find them every image is decoded once, also where
    images are streamed.

    Args:
        scenes: In the order of the split.
        size_px: R.
        max_boxes: G.
        in_memory: Whether to decode the images once or at every reading.
    """
    logging.info("Decoding %d images", len(scenes))
    images = None
    if in_memory:
        images = np.empty((len(scenes), size_px, size_px, 3), np.uint8)
    reasons = decode_all(
        scenes.__getitem__,
        len(scenes),
        lambda scene: scene.read_pixels(size_px),
        images,
    )
    skipped = tuple(f"{scenes[index].name}: {why}" for index, why in reasons.items())
    kept = [index for index in range(len(scenes)) if index not in reasons]
    scenes = tuple(scenes[index] for index in kept)
    if images is None:
        read_image = _stream(scenes, size_px)
    else:
        read_image = _hold(images[kept] if skipped else images)
    read_targets = _hold_targets(scenes, max_boxes)
    split = SceneSplit(
        scenes=scenes,
        read=lambda index: (read_image(index), read_targets(index)),
        num_truncated=sum(len(scene.labels) > max_boxes for scene in scenes),
    )
    return split, skipped


def _hold(images: np.ndarray) -> Callable[[tf.Tensor], tf.Tensor]:
    with tf.device("CPU:0"):
        held = tf.constant(images)
    return lambda index: tf.gather(held, index)


def _stream(
    scenes: tuple[Scene, ...], size_px: int
) -> Callable[[tf.Tensor], tf.Tensor]:
    def read(index: int) -> np.ndarray:
        return scenes[index].read_pixels(size_px)

    def read_image(index: tf.Tensor) -> tf.Tensor:
        image = tf.numpy_function(read, [index], tf.uint8, stateful=False)
        return tf.ensure_shape(image, (size_px, size_px, 3))

    return read_image


def _hold_targets(
    scenes: Sequence[Scene], max_boxes: int
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Boxes are held without padding: COCO's would take five times the memory."""
    kept = [find_largest_boxes(scene, max_boxes) for scene in scenes]
    row_splits = np.cumsum([0, *(len(indices) for indices in kept)])

    def join(parts: list[np.ndarray], empty: np.ndarray) -> tf.Tensor:
        return tf.constant(np.concatenate([empty, *parts]))

    pairs = list(zip(scenes, kept, strict=True))
    with tf.device("CPU:0"):
        splits = tf.constant(row_splits)
        boxes = join(
            [scene.boxes_normalized[rows] for scene, rows in pairs],
            np.zeros((0, 4), np.float32),
        )
        labels = join(
            [scene.labels[rows] for scene, rows in pairs], np.zeros(0, np.int32)
        )
        is_ignored = join(
            [scene.is_ignored[rows] for scene, rows in pairs], np.zeros(0, bool)
        )

    def read_targets(index: tf.Tensor) -> dict[str, tf.Tensor]:
        start, end = splits[index], splits[index + 1]
        padding = [[0, max_boxes - tf.cast(end - start, tf.int32)]]
        return {
            "boxes_normalized": tf.ensure_shape(
                tf.pad(boxes[start:end], [*padding, [0, 0]]), (max_boxes, 4)
            ),
            "labels": tf.ensure_shape(
                tf.pad(labels[start:end], padding, constant_values=-1), (max_boxes,)
            ),
            "is_ignored": tf.ensure_shape(
                tf.pad(is_ignored[start:end], padding, constant_values=False),
                (max_boxes,),
            ),
        }

    return read_targets
