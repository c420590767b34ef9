"""Prepared TensorFlow data sets with boxes, as a source of scenes; never downloaded."""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
from absl import logging

from detection.scene import Scene, SceneSource, clean_scene
from mobilenas_tf.training.photos import decode_whole, read_photo_size
from mobilenas_tf.training.tfds_images import find_builder, find_splits

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

_COCO_GAPS = frozenset({12, 26, 29, 30, 45, 66, 68, 69, 71, 83})
_COCO_IDS = tuple(index for index in range(1, 91) if index not in _COCO_GAPS)
"""Ids of COCO's 80 categories, in the order of its annotation files, which is TFDS's
order; the gaps are classes that were never annotated (cocodataset.org, 2014)."""

_RECORD_HEADER = struct.Struct("<QI")
"""Before each record of a TFRecord file: its length and a checksum of the length. A
checksum of four bytes follows it (tensorflow/core/lib/io/record_writer.h)."""
_RECORD_FOOTER_BYTES = 4


def open_tfds_scenes(name: str, data_dir: str | None) -> SceneSource:
    """Opens a prepared TensorFlow data set and reads its boxes.

    It must have the features `image` and `objects`, a sequence of `bbox` and `label` (a
    `ClassLabel`), such as coco and voc have. Objects that are `is_crowd` or
    `is_difficult` are ignored ones. A test split without any box is left aside. The
    categories of coco keep their ids; others are numbered from 1.

    Args:
        name: As TFDS takes it, such as `coco/2017` or `voc/2007`.
        data_dir: Folder of prepared data sets; None is TFDS's own.

    Raises:
        ValueError: If the data set is not there, not stored as TFRecord files, or has
            no boxes.
    """
    builder = find_builder(name, data_dir)
    class_names = _read_class_names(name, builder)
    scenes_by_split, problems = {}, []
    for split, stored_name in find_splits(name, builder).items():
        scenes = tuple(_read_scenes(builder, stored_name, problems))
        if split != "test" or any(len(scene.labels) for scene in scenes):
            scenes_by_split[split] = scenes
    is_coco = builder.name == "coco" and len(class_names) == len(_COCO_IDS)
    return SceneSource(
        class_names=class_names,
        category_ids=_COCO_IDS if is_coco else tuple(range(1, len(class_names) + 1)),
        scenes_by_split=scenes_by_split,
        problems=tuple(problems),
    )


def _read_class_names(name: str, builder: tfds.core.DatasetBuilder) -> tuple[str, ...]:
    import tensorflow_datasets as tfds

    def parts(feature: Any) -> dict[str, Any]:
        is_dict = isinstance(feature, tfds.features.FeaturesDict)
        return dict(feature.items()) if is_dict else {}

    features = parts(builder.info.features)
    objects = features.get("objects")
    fields = parts(
        objects.feature if isinstance(objects, tfds.features.Sequence) else 0
    )
    label = fields.get("label")
    if not (
        isinstance(features.get("image"), tfds.features.Image)
        and isinstance(fields.get("bbox"), tfds.features.BBoxFeature)
        and isinstance(label, tfds.features.ClassLabel)
    ):
        raise ValueError(
            "dataset must have the features image (an Image) and objects (a Sequence "
            "of bbox, a BBoxFeature, and label, a ClassLabel). Received: "
            f"dataset={f'tfds:{name}'!r} with the features {', '.join(features)}"
        )
    if builder.info.file_format is not tfds.core.FileFormat.TFRECORD:
        raise ValueError(
            "dataset must be stored as TFRecord files; prepare it with "
            "`tfds build --file_format=tfrecord`. Received: "
            f"dataset={f'tfds:{name}'!r} as {builder.info.file_format}"
        )
    return tuple(label.names)


def _read_scenes(
    builder: tfds.core.DatasetBuilder, split: str, problems: list[str]
) -> Iterator[Scene]:
    logging.info("Reading %s of %s", split, builder.info.full_name)
    number = 0
    for path in map(os.fspath, builder.info.splits[split].filepaths):
        for offset, record in _read_records(path):
            name = f"{split}[{number}]"
            number += 1
            example = _parse(builder, record)
            try:
                height, width = read_photo_size(example["image"])
            except ValueError as error:
                problems.append(f"{name}: left out: {error}")
                continue
            objects = example["objects"]
            boxes = np.reshape(objects["bbox"], (-1, 4))
            is_ignored = np.zeros(len(boxes), bool)
            for key in ("is_crowd", "is_difficult"):
                is_ignored |= np.asarray(objects.get(key, is_ignored), bool)
            scene, problems_by_box = clean_scene(
                Scene(
                    image_id=int(example.get("image/id", number)),
                    name=name,
                    height=height,
                    width=width,
                    boxes=boxes * np.array([height, width] * 2, np.float32),
                    labels=np.asarray(objects["label"], np.int32),
                    is_ignored=is_ignored,
                    areas_px=np.asarray(
                        objects.get("area", np.full(len(boxes), np.nan)), np.float64
                    ),
                    read_pixels=functools.partial(_read_photo, builder, path, offset),
                )
            )
            problems += [
                f"{name}: objects[{box}]/bbox {what}"
                for box, what in problems_by_box.items()
            ]
            yield scene


def _parse(builder: tfds.core.DatasetBuilder, record: bytes) -> dict[str, Any]:
    """Returns the NumPy values of an example, its image as the file's contents."""
    import tensorflow_datasets as tfds

    # `_read_class_names` has seen that it is one.
    features = cast(tfds.features.FeaturesDict, builder.info.features)
    example = features.deserialize_example_np(
        record, decoders={"image": tfds.decode.SkipDecoding()}
    )
    return cast(dict[str, Any], example)


def _read_records(path: str) -> Iterator[tuple[int, bytes]]:
    """Yields the records of a TFRecord file, each after its place in the file."""
    with open(path, "rb") as file:
        while file.peek(1):
            offset = file.tell()
            yield offset, _read_record(file, path)


def _read_record(file: BinaryIO, path: str) -> bytes:
    header = file.read(_RECORD_HEADER.size)
    if len(header) == _RECORD_HEADER.size:
        length, _ = _RECORD_HEADER.unpack(header)
        record = file.read(length)
        if len(record) == length and len(file.read(_RECORD_FOOTER_BYTES)) == 4:
            return record
    raise ValueError(f"{path} must be a whole TFRecord file. Received: it ends early")


def _read_photo(
    builder: tfds.core.DatasetBuilder, path: str, offset: int, size_px: int | None
) -> np.ndarray:
    with open(path, "rb") as file:
        file.seek(offset)
        record = _read_record(file, path)
    return decode_whole(_parse(builder, record)["image"], size_px)
