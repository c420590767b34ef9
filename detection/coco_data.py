"""Folders of photos with COCO's instance files, as a source of scenes."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from detection.coco_results import check_area, check_box, check_id
from detection.scene import Scene, SceneSource, clean_scene
from mobilenas_tf.json_io import read_json
from mobilenas_tf.json_text import shown
from mobilenas_tf.names import check_name
from mobilenas_tf.training.photos import decode_whole, read_photo

_STORED_NAMES = {"train": "train", "val": "validation", "test": "test"}


def open_coco(folder: str) -> SceneSource:
    """Reads the annotations of a folder laid out like COCO's.

    `annotations/` holds `instances_train*.json` and, where there are such splits,
    `instances_val*.json` and `instances_test*.json`. The photos of
    `instances_val2017.json` are in `val2017/` or `images/val2017/`. Crowds are ignored
    objects. Images without annotations stay. A missing photo is left out with all its
    boxes.

    Args:
        folder: The folder's path.

    Raises:
        ValueError: If the folder, a file of annotations or a folder of photos is
            missing, or a key or value is off; the message names file and key.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise ValueError(
            "dataset must name a folder that exists. "
            f"Received: dataset={f'coco:{folder}'!r}"
        )
    files = {}
    for stored_name, split in _STORED_NAMES.items():
        found = sorted(root.glob(f"annotations/instances_{stored_name}*.json"))
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise ValueError(
                f"{root / 'annotations'} must have one file "
                f"instances_{stored_name}*.json. Received: {names}"
            )
        if found:
            files[split] = _read_instances(found[0])
    if "train" not in files:
        raise ValueError(
            "dataset must have a file annotations/instances_train*.json. "
            f"Received: dataset={f'coco:{folder}'!r} without one"
        )
    names_by_id = files["train"].names_by_id
    for instances in files.values():
        if instances.names_by_id != names_by_id:
            raise ValueError(
                f"{instances.path}: categories must be the same as in "
                f"{files['train'].path}. Received: "
                f"{_first_difference(instances.names_by_id, names_by_id)}"
            )
    scenes_by_split, problems = {}, []
    for split, instances in files.items():
        scenes_by_split[split] = tuple(
            _build_scenes(instances, _find_photos(root, instances.path), problems)
        )
    return SceneSource(
        class_names=tuple(names_by_id.values()),
        category_ids=tuple(names_by_id),
        scenes_by_split=scenes_by_split,
        problems=tuple(problems),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Instances:
    """A file of annotations.

    Attributes:
        path: Of the file.
        names_by_id: Class names by category id, ids rising.
        images: As in the file, checked.
        annotations_by_image: (position in the file, annotation), checked, by image id.
    """

    path: Path
    names_by_id: Mapping[int, str]
    images: Sequence[Mapping[str, Any]]
    annotations_by_image: Mapping[int, Sequence[tuple[int, Mapping[str, Any]]]]


def _read_instances(path: Path) -> _Instances:
    # Of COCO's 470 MB outlines are nearly all. Boxes that are no numbers are left out
    # later, and told.
    document = read_json(path, leave_out=["segmentation"], allow_nan=True)
    names_by_id = _read_categories(document, path)
    images = _rows(document, "images", path)
    annotations_by_image = {}
    for where, row in images:
        annotations_by_image[_read_id(row, where, annotations_by_image)] = []
        _check_inside(_read(row, "file_name", str, where), f"{where}/file_name")
        for key in ("height", "width"):
            if (value := _read(row, key, int, where)) < 1:
                raise ValueError(f"{where}/{key} must be at least 1. Received: {value}")
    for index, (where, row) in enumerate(_rows(document, "annotations", path)):
        for key, table, known in (
            ("image_id", "images", annotations_by_image),
            ("category_id", "categories", names_by_id),
        ):
            if _read(row, key, int, where) not in known:
                raise ValueError(
                    f"{where}/{key} must be the id of one of {table}. "
                    f"Received: {row[key]}"
                )
        check_box(row.get("bbox"), f"{where}/bbox")
        check_area(row.get("area", 0), f"{where}/area")
        if (is_crowd := row.get("iscrowd", 0)) not in (0, 1):
            raise ValueError(
                f"{where}/iscrowd must be 0 or 1. Received: {shown(is_crowd)}"
            )
        annotations_by_image[row["image_id"]].append((index, row))
    return _Instances(
        path, names_by_id, [row for _, row in images], annotations_by_image
    )


def _read_categories(document: Any, path: Path) -> dict[int, str]:
    """Returns class names by category id, ids rising."""
    names_by_id = {}
    for where, row in _rows(document, "categories", path):
        name = _read(row, "name", str, where)
        check_name(name, f"{where}/name")
        names_by_id[_read_id(row, where, names_by_id)] = name
    if not names_by_id:
        raise ValueError(f"{path}: categories must have at least one entry")
    names = list(names_by_id.values())
    if len(set(names)) < len(names):
        raise ValueError(
            f"{path}: categories must have different names. Received: {names}"
        )
    return dict(sorted(names_by_id.items()))


def _rows(document: Any, key: str, path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Returns the objects of a list and what messages call them."""
    rows = document.get(key) if isinstance(document, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(
            f"{path}: {key} must be a list of objects. Received: {rows!r:.60}"
        )
    return [(f"{path}: {key}[{index}]", row) for index, row in enumerate(rows)]


def _read(row: Mapping[str, Any], key: str, expected: type, where: str) -> Any:
    value = row.get(key)
    if expected is int:
        check_id(value, f"{where}/{key}")
    elif not isinstance(value, expected):
        raise ValueError(
            f"{where}/{key} must be of type {expected.__name__}. Received: {value!r}"
        )
    return value


def _check_inside(name: str, where: str) -> None:
    """Refuses names that lead out of the folder of photos; `where` names them."""
    path = Path(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError(
            f"{where} must be a path inside the folder of photos. "
            f"Received: {shown(name)}"
        )


def _read_id(row: Mapping[str, Any], where: str, known: Mapping[int, Any]) -> int:
    value = _read(row, "id", int, where)
    if value in known:
        raise ValueError(f"{where}/id must occur once. Received: {value} again")
    return value


def _find_photos(root: Path, annotations: Path) -> Path:
    name = annotations.stem.removeprefix("instances_")
    folders = (root / name, root / "images" / name)
    for folder in folders:
        if folder.is_dir():
            return folder
    raise ValueError(
        f"The photos of {annotations} must be in {folders[0]} or {folders[1]}. "
        "Received: neither exists"
    )


def _build_scenes(
    instances: _Instances, folder: Path, problems: list[str]
) -> list[Scene]:
    labels_by_id = {key: label for label, key in enumerate(instances.names_by_id)}
    scenes = []
    for index, image in enumerate(instances.images):
        photo = folder / image["file_name"]
        if not os.path.isfile(photo):
            problems.append(
                f"{instances.path}: images[{index}]: {photo} is missing: left out"
            )
            continue
        rows = instances.annotations_by_image[image["id"]]
        scene, problems_by_row = clean_scene(
            _build_scene(image, photo, [row for _, row in rows], labels_by_id)
        )
        scenes.append(scene)
        problems += [
            f"{instances.path}: annotations[{rows[row][0]}]/bbox {what}"
            for row, what in problems_by_row.items()
        ]
    return scenes


def _build_scene(
    image: Mapping[str, Any],
    photo: Path,
    rows: Sequence[Mapping[str, Any]],
    labels_by_id: Mapping[int, int],
) -> Scene:
    xywh = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
    left, top, width, height = xywh.T
    size = (image["height"], image["width"])
    return Scene(
        image_id=image["id"],
        name=image["file_name"],
        height=size[0],
        width=size[1],
        boxes=np.stack([top, left, top + height, left + width], axis=1),
        labels=np.array([labels_by_id[row["category_id"]] for row in rows], np.int32),
        is_ignored=np.array([bool(row.get("iscrowd", 0)) for row in rows], bool),
        areas_px=np.array([row.get("area", np.nan) for row in rows], np.float64),
        read_pixels=functools.partial(_read_photo, photo, size),
    )


def _read_photo(
    path: Path, annotated_size: tuple[int, int], size_px: int | None
) -> np.ndarray:
    return decode_whole(read_photo(path), size_px, annotated_size=annotated_size)


def _first_difference(names: Mapping[int, str], others: Mapping[int, str]) -> str:
    differing = next(
        key for key in sorted({*names, *others}) if names.get(key) != others.get(key)
    )
    return f"{differing}: {names.get(differing)!r} instead of {others.get(differing)!r}"
