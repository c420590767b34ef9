"""Folders of photos, one sub-folder a class, as an image source."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import logging

from mobilenas_tf.names import check_name
from mobilenas_tf.training.batch_share import WHOLE, Share
from mobilenas_tf.training.image_split import (
    ImageSource,
    ImageSplit,
    LoadRequest,
    hold_in_memory,
    index_order,
)
from mobilenas_tf.training.photos import (
    PHOTO_SUFFIXES,
    decode_all,
    decode_square,
    read_photo,
)

_STORED_NAMES = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "test": "test",
}


def open_image_folder(folder: str) -> ImageSource:
    """Lists a folder of photos.

    Either every sub-folder is a class, or all sub-folders are called `train`,
    `validation` (or `val`) and `test` and hold one sub-folder for each class. Photos
    are the files with a suffix in `PHOTO_SUFFIXES`; other files, deeper folders and
    names that begin with a dot are ignored.

    Args:
        folder: The folder's path.

    Raises:
        ValueError: If the folder is missing, has fewer than two classes, a class
            or a split without photos, or a class that is not in `train`.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise ValueError(
            "dataset must name a folder that exists. "
            f"Received: dataset={f'folder:{folder}'!r}"
        )
    names = [path.name for path in _sub_folders(root)]
    if "train" in names and set(names) <= set(_STORED_NAMES):
        folders = {_STORED_NAMES[name]: root / name for name in names}
        if len(folders) < len(names):
            raise ValueError(
                f"{root} must have one of the folders validation and val, not both. "
                f"Received: folders={names}"
            )
    else:
        folders = {"train": root}
    class_names = tuple(path.name for path in _sub_folders(folders["train"]))
    for name in class_names:
        check_name(name, f"a class folder in {folders['train']}")
    if len(class_names) < 2:
        raise ValueError(
            f"{folders['train']} must have at least two sub-folders, one for each "
            f"class. Received: classes={list(class_names)}"
        )
    paths_by_split, labels_by_split = {}, {}
    for split, split_folder in folders.items():
        paths, labels = _list_photos(
            split_folder, class_names, may_miss_classes=split != "train"
        )
        if not paths:
            raise ValueError(
                "A folder for validation or testing must hold photos; add some or "
                f"remove it. Received: empty folder {split_folder}"
            )
        paths_by_split[split] = paths
        labels_by_split[split] = np.array(labels, dtype=np.int32)

    def load(request: LoadRequest) -> tuple[ImageSplit, tuple[str, ...]]:
        stored_paths = paths_by_split[request.stored_split]
        paths = [stored_paths[index] for index in request.indices]
        labels = labels_by_split[request.stored_split][request.indices]
        return _load_photos(paths, labels, request)

    return ImageSource(class_names, labels_by_split, load)


def _sub_folders(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".")
    )


def _list_photos(
    folder: Path, class_names: tuple[str, ...], *, may_miss_classes: bool
) -> tuple[list[Path], list[int]]:
    paths, labels = [], []
    for class_folder in _sub_folders(folder):
        if class_folder.name not in class_names:
            raise ValueError(
                f"{folder} must only have classes that train has too, "
                f"{', '.join(class_names)}. Received: class={class_folder.name!r}"
            )
        photos = sorted(
            path
            for path in class_folder.iterdir()
            if path.suffix.lower() in PHOTO_SUFFIXES
            and not path.name.startswith(".")
            and path.is_file()
        )
        if not photos and not may_miss_classes:
            suffixes = ", ".join(sorted(PHOTO_SUFFIXES))
            raise ValueError(
                f"Each class folder must hold photos ({suffixes}); add some or remove "
                f"the folder. Received: empty folder {class_folder}"
            )
        paths.extend(photos)
        labels.extend([class_names.index(class_folder.name)] * len(photos))
    return paths, labels


def _load_photos(
    paths: Sequence[Path], labels: np.ndarray, request: LoadRequest
) -> tuple[ImageSplit, tuple[str, ...]]:
    size_px = request.size_px
    decode = functools.partial(
        decode_square, size_px=size_px, crop_fraction=request.crop_fraction
    )
    logging.info("Decoding %d photos of %s", len(paths), request.stored_split)
    images = None
    if request.in_memory:
        images = np.empty((len(paths), size_px, size_px, 3), np.uint8)
    reasons = decode_all(
        lambda index: read_photo(paths[index]), len(paths), decode, images
    )
    skipped = tuple(f"{paths[index]}: {why}" for index, why in reasons.items())
    kept = [index for index in range(len(paths)) if index not in reasons]
    labels = labels[kept]
    if images is not None:
        return hold_in_memory(images[kept] if skipped else images, labels), skipped

    kept_paths = [paths[index] for index in kept]

    def read(index: int) -> np.ndarray:
        return decode(read_photo(kept_paths[index]))

    def read_image(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = tf.numpy_function(read, [index], tf.uint8, stateful=False)
        return tf.ensure_shape(image, (size_px, size_px, 3)), tf.gather(labels, index)

    def batches(
        batch_size: int, shuffle_seed: int | None, share: Share = WHOLE
    ) -> tf.data.Dataset:
        order = index_order(len(labels), shuffle_seed)
        return (
            tf.data.Dataset.from_tensor_slices(share.pick(order, batch_size))
            .map(read_image, num_parallel_calls=tf.data.AUTOTUNE)
            .batch(share.size(batch_size))
        )

    return ImageSplit(labels, batches), skipped
