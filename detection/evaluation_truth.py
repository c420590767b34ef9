"""The annotations of a COCO file, checked for an evaluation.

Reading files and pictures for training is left to the data modules.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from detection.coco_results import (
    DetectionColumns,
    check_area,
    check_box,
    check_id,
)


@dataclasses.dataclass(frozen=True)
class GroundTruth:
    """G objects and crowds by column, in the order in which they were given.

    Attributes:
        image_ids: Ids of all images, rising.
        category_names: Names by category id, ids rising.
        box_image_ids: `[G]` int64.
        box_category_ids: `[G]` int64.
        boxes_xywh: `[G, 4]` float64, left, top, width and height in pixels.
        areas_px: `[G]` float64.
        is_crowd: `[G]` bool.
    """

    image_ids: tuple[int, ...]
    category_names: Mapping[int, str]
    box_image_ids: np.ndarray
    box_category_ids: np.ndarray
    boxes_xywh: np.ndarray
    areas_px: np.ndarray
    is_crowd: np.ndarray

    def count_objects(self) -> dict[str, int]:
        """Returns how many objects (no crowds) each class has, by its name."""
        ids = self.box_category_ids[~self.is_crowd]
        return {
            name: int(np.count_nonzero(ids == category_id))
            for category_id, name in self.category_names.items()
        }

    def coco_document(self) -> dict[str, Any]:
        """Returns it as a COCO file has it, annotations numbered from 1."""
        annotations = [
            {
                "id": index + 1,
                "image_id": int(self.box_image_ids[index]),
                "category_id": int(self.box_category_ids[index]),
                "bbox": self.boxes_xywh[index].tolist(),
                "area": float(self.areas_px[index]),
                "iscrowd": int(self.is_crowd[index]),
            }
            for index in range(len(self.areas_px))
        ]
        return {
            "images": [{"id": image_id} for image_id in self.image_ids],
            "annotations": annotations,
            "categories": [
                {"id": category_id, "name": name}
                for category_id, name in self.category_names.items()
            ],
        }


def check_ground_truth(document: Mapping[str, Any]) -> GroundTruth:
    """Returns a COCO document by column.

    Raises:
        ValueError: If a key is missing, a box is no box, two classes have one name, or
            an annotation is of an image or a category that the document lacks.
    """
    images, annotations, categories = (
        _rows(document, key) for key in ("images", "annotations", "categories")
    )
    for name, rows in (("images", images), ("categories", categories)):
        if not rows:
            raise ValueError(f"{name} of ground_truth must have at least one entry")
    image_ids = sorted({_id(row, "id", "images") for row in images})
    names = {_id(row, "id", "categories"): str(row.get("name")) for row in categories}
    if len(set(names.values())) < len(categories):
        raise ValueError(
            "categories of ground_truth must have an id and a name of their own each. "
            f"Received: {[(row['id'], row.get('name')) for row in categories]}"
        )
    known_images = set(image_ids)
    for index, row in enumerate(annotations):
        where = f"ground_truth/annotations[{index}]"
        for key, known, section in (
            ("image_id", known_images, "images"),
            ("category_id", names, "categories"),
        ):
            if _id(row, key, f"annotations[{index}]") not in known:
                raise ValueError(
                    f"{where}/{key} must be an id under {section}. Received: {row[key]}"
                )
        check_box(row.get("bbox"), f"{where}/bbox")
        check_area(row.get("area", 0), f"{where}/area")
    boxes = np.array([row["bbox"] for row in annotations], np.float64).reshape(-1, 4)
    areas = [row.get("area", row["bbox"][2] * row["bbox"][3]) for row in annotations]
    truth = GroundTruth(
        image_ids=tuple(image_ids),
        category_names={key: names[key] for key in sorted(names)},
        box_image_ids=np.array([row["image_id"] for row in annotations], np.int64),
        box_category_ids=np.array(
            [row["category_id"] for row in annotations], np.int64
        ),
        boxes_xywh=boxes,
        areas_px=np.array(areas, np.float64),
        is_crowd=np.array([bool(row.get("iscrowd", 0)) for row in annotations], bool),
    )
    is_fine = np.isfinite(boxes).all(axis=1) & np.isfinite(truth.areas_px)
    is_fine &= (boxes[:, 2:] >= 0).all(axis=1) & (truth.areas_px >= 0)
    if not is_fine.all():
        index = int(np.argmin(is_fine))
        raise ValueError(
            f"ground_truth/annotations[{index}] must have a finite box, and sizes and "
            f"an area of 0 or more. Received: {boxes[index].tolist()} with area "
            f"{truth.areas_px[index]}"
        )
    return truth


def check_same_set(truth: GroundTruth, columns: DetectionColumns) -> None:
    """Refuses detections of other images or categories than the ground truth's."""
    for name, ids, known in (
        ("image", columns.image_ids, truth.image_ids),
        ("category", columns.category_ids, truth.category_names),
    ):
        is_unknown = ~np.isin(ids, list(known))
        if is_unknown.any():
            raise ValueError(
                f"detections must have {name} ids of the ground truth only. Received: "
                f"{np.count_nonzero(is_unknown)} of {len(ids)} detections with others, "
                f"such as {name}_id={ids[np.argmax(is_unknown)]}"
            )


def _rows(document: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    rows = document.get(key) if isinstance(document, Mapping) else None
    if not isinstance(rows, (list, tuple)) or not all(
        isinstance(row, Mapping) for row in rows
    ):
        raise ValueError(
            "ground_truth must be a COCO document with lists of objects under images, "
            f"annotations and categories. Received: {key}={rows!r:.60}"
        )
    return rows


def _id(row: Mapping[str, Any], key: str, where: str) -> int:
    check_id(row.get(key), f"ground_truth/{where}/{key}")
    return row[key]
