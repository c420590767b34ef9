"""Prepared TensorFlow data sets as an image source; nothing is ever downloaded."""

from __future__ import annotations

import difflib
import functools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from absl import logging

from mobilenas_tf.training.batch_share import WHOLE, Share
from mobilenas_tf.training.image_split import (
    ImageSource,
    ImageSplit,
    LoadRequest,
    hold_in_memory,
)
from mobilenas_tf.training.photos import decode_all, decode_square

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

_STORED_NAMES = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "test": "test",
}
_READ_BATCH = 4096
_SHUFFLE_BUFFER = 10_000
"""Encoded images that a streamed epoch is shuffled among."""

_HELD_BYTES = 512 * 2**20
"""A stored data set up to this size is read once; of a larger one first the labels,
then the images that are wanted."""


def open_tfds(name: str, data_dir: str | None) -> ImageSource:
    """Opens a prepared TensorFlow data set and reads its labels.

    It must have the features `image` and `label` (a `ClassLabel`) and a split `train`.
    A test split without labels (all negative) is left aside. The images are decoded by
    `decode_square`, as photos in folders are.

    Args:
        name: As TFDS takes it, such as `cifar10`, `cifar10:3.0.2` or `eurosat/rgb`.
        data_dir: Folder of prepared data sets; None is TFDS's own.

    Raises:
        ValueError: If the data set is not there or not labelled images.
    """
    builder = find_builder(name, data_dir)
    class_names = _read_class_names(name, builder)
    split_names = find_splits(name, builder)
    stored_bytes = sum(
        builder.info.splits[name].num_bytes for name in split_names.values()
    )
    labels_by_split, files_by_split = {}, {}
    for split, stored_name in split_names.items():
        files, labels = _read_split(
            builder, stored_name, with_images=stored_bytes <= _HELD_BYTES
        )
        if labels.min() >= 0:
            files_by_split[split], labels_by_split[split] = files, labels

    def load(request: LoadRequest) -> tuple[ImageSplit, tuple[str, ...]]:
        stored_name = split_names[request.stored_split]
        labels = labels_by_split[request.stored_split][request.indices]
        files = files_by_split[request.stored_split]
        if files and request.in_memory:
            wanted = [files[index] for index in request.indices]
            return _decode_once([wanted], labels, request)
        encoded = _encoded_images(builder, stored_name, request.indices)
        if request.in_memory:
            batches = encoded.batch(_READ_BATCH).as_numpy_iterator()
            return _decode_once((files for files, _ in batches), labels, request)
        return _stream(encoded, labels, request), ()

    return ImageSource(class_names, labels_by_split, load)


def find_builder(name: str, data_dir: str | None) -> tfds.core.DatasetBuilder:
    """Returns the builder of a prepared data set, without its generating code.

    Args:
        name: As `open_tfds` takes it.
        data_dir: Folder of prepared data sets; None is TFDS's own.

    Raises:
        ValueError: If it is not there; the message helps to find or prepare it.
    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import read_only_builder

    default = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
    root = Path(data_dir or default).expanduser()
    prepared = []
    if root.is_dir():
        prepared = sorted(
            path.name
            for path in root.iterdir()
            if path.is_dir() and path.name != "downloads"
        )
    try:
        return read_only_builder.builder_from_files(name, data_dir=str(root))
    except tfds.core.DatasetNotFoundError as error:
        known = tfds.list_builders(with_community_datasets=False)
        base_name = name.partition(":")[0].partition("/")[0]
        if base_name in known:
            advice = (
                "it is never downloaded here; prepare it once with "
                f"`tfds build {base_name} --data_dir={root}`"
            )
        else:
            near = difflib.get_close_matches(base_name, [*prepared, *known], n=3)
            advice = f"the nearest known names are {', '.join(near) or 'none'}"
        raise ValueError(
            f"dataset must be prepared in data_dir, which holds "
            f"{', '.join(prepared) or 'none'}; {advice}. Received: "
            f"dataset={f'tfds:{name}'!r}, data_dir={str(root)!r}"
        ) from error


def find_splits(name: str, builder: tfds.core.DatasetBuilder) -> dict[str, str]:
    """Returns the stored names of `train` and, where stored, `validation` and `test`.

    Args:
        name: Of the data set, for the message.
        builder: The data set.

    Raises:
        ValueError: If there is no training split.
    """
    split_names = {
        _STORED_NAMES[split]: split
        for split, info in builder.info.splits.items()
        if split in _STORED_NAMES and info.num_examples
    }
    if "train" not in split_names:
        raise ValueError(
            "dataset must have the split train. Received: "
            f"dataset={f'tfds:{name}'!r} with {', '.join(builder.info.splits)}"
        )
    return split_names


def _read_class_names(name: str, builder: tfds.core.DatasetBuilder) -> tuple[str, ...]:
    import tensorflow_datasets as tfds

    features = {}
    if isinstance(builder.info.features, tfds.features.FeaturesDict):
        features = dict(builder.info.features.items())
    image, label = features.get("image"), features.get("label")
    if not (
        isinstance(image, tfds.features.Image)
        and isinstance(label, tfds.features.ClassLabel)
    ):
        raise ValueError(
            "dataset must have the features image (an Image) and label (a ClassLabel). "
            f"Received: dataset={f'tfds:{name}'!r} with the features "
            f"{', '.join(features) or 'none'}"
        )
    return tuple(label.names)


def _read_split(
    builder: tfds.core.DatasetBuilder, split: str, *, with_images: bool
) -> tuple[list[bytes], np.ndarray]:
    """Returns the image files, or none of them, and the `[N]` labels of a split."""
    logging.info("Reading %s of %s", split, builder.info.full_name)
    files, labels = [], []
    examples = _read_in_order(builder, split, with_images=with_images)
    for batch in examples.batch(_READ_BATCH).as_numpy_iterator():
        labels.append(batch["label"])
        if with_images:
            files.extend(batch["image"])
    return files, np.concatenate(labels).astype(np.int32)


def _encoded_images(
    builder: tfds.core.DatasetBuilder, split: str, indices: np.ndarray
) -> tf.data.Dataset:
    """Returns a dataset of (image file contents, label) in stored order."""
    examples = _read_in_order(builder, split, with_images=True)
    is_wanted = np.zeros(builder.info.splits[split].num_examples, bool)
    is_wanted[indices] = True
    with tf.device("CPU:0"):
        wanted = tf.constant(is_wanted)
    return (
        examples.enumerate()
        .filter(lambda index, _: tf.gather(wanted, index))
        .map(lambda _, example: (example["image"], tf.cast(example["label"], tf.int32)))
    )


def _read_in_order(
    builder: tfds.core.DatasetBuilder, split: str, *, with_images: bool
) -> tf.data.Dataset:
    """Returns the examples of a split, with encoded images or with labels alone."""
    import tensorflow_datasets as tfds

    if with_images:
        decoders = tfds.decode.PartialDecoding(
            {"image": True, "label": True},
            decoders={"image": tfds.decode.SkipDecoding()},
        )
    else:
        decoders = tfds.decode.PartialDecoding({"label": True})
    # The decorators of as_dataset hide its signature from pyright.
    return builder.as_dataset(split, decoders=decoders)  # pyright: ignore[reportCallIssue]


def _decode_once(
    batches: Iterable[Sequence[bytes]], labels: np.ndarray, request: LoadRequest
) -> tuple[ImageSplit, tuple[str, ...]]:
    size_px = request.size_px
    decode = functools.partial(
        decode_square, size_px=size_px, crop_fraction=request.crop_fraction
    )
    images = np.empty((len(labels), size_px, size_px, 3), np.uint8)
    reasons, start = {}, 0
    for files in batches:
        part = images[start : start + len(files)]
        failed = decode_all(files.__getitem__, len(files), decode, part)
        reasons |= {start + index: why for index, why in failed.items()}
        start += len(files)
    skipped = tuple(
        f"{request.stored_split}[{request.indices[index]}]: {why}"
        for index, why in reasons.items()
    )
    if skipped:
        kept = np.delete(np.arange(len(labels)), list(reasons))
        images, labels = images[kept], labels[kept]
    return hold_in_memory(images, labels), skipped


def _stream(
    encoded: tf.data.Dataset, labels: np.ndarray, request: LoadRequest
) -> ImageSplit:
    size_px = request.size_px

    def decode(file: bytes) -> np.ndarray:
        return decode_square(file, size_px, crop_fraction=request.crop_fraction)

    def decode_image(file: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = tf.numpy_function(decode, [file], tf.uint8, stateful=False)
        return tf.ensure_shape(image, (size_px, size_px, 3)), label

    def batches(
        batch_size: int, shuffle_seed: int | None, share: Share = WHOLE
    ) -> tf.data.Dataset:
        examples = encoded
        if shuffle_seed is not None:
            examples = examples.shuffle(
                _SHUFFLE_BUFFER, seed=shuffle_seed, reshuffle_each_iteration=False
            )
        examples = share.filter(examples, batch_size)
        return examples.map(decode_image, num_parallel_calls=tf.data.AUTOTUNE).batch(
            share.size(batch_size)
        )

    return ImageSplit(labels, batches)
