"""Annotated images as values, and data sets of them.

NumPy only. Where they come from is left to `coco_data`, `tfds_scenes` and
`digit_scenes`, reading them in batches to `data`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mobilenas_tf.options import require

ROUNDING_PX = 1.0
"""What a box may stick out of its image by without being called bad: annotation tools
round corners and sizes one by one."""


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """An image and the boxes of its objects.

    Attributes:
        image_id: The data set's own number of the image.
        name: What messages call the image, such as its file.
        height: Of the image, in pixels.
        width: Of the image, in pixels.
        boxes: `[G, 4]` float32, `[y_min, x_min, y_max, x_max]` in pixels, inside the
            image and of positive area.
        labels: `[G]` int32 class indices.
        is_ignored: `[G]` bool; a detection there is neither right nor wrong.
        areas_px: `[G]` float32 areas of the objects' outlines, where these are known,
            else of the boxes.
        read_pixels: `read_pixels(size_px)` gives the whole image stretched to
            `[size_px, size_px, 3]` uint8 RGB, and for None at its own size; it raises
            a ValueError if the image cannot be decoded.
    """

    image_id: int
    name: str
    height: int
    width: int
    boxes: np.ndarray
    labels: np.ndarray
    is_ignored: np.ndarray
    areas_px: np.ndarray
    read_pixels: Callable[[int | None], np.ndarray]

    def __post_init__(self) -> None:
        """Checks that the arrays belong together."""
        count = len(self.labels)
        for name, shape in (
            ("boxes", (count, 4)),
            ("labels", (count,)),
            ("is_ignored", (count,)),
            ("areas_px", (count,)),
        ):
            given = getattr(self, name).shape
            require(given == shape, f"{list(shape)}", f"{name}.shape", given)

    @property
    def boxes_normalized(self) -> np.ndarray:
        """`[G, 4]` float32 boxes in shares of the image's height and width."""
        sides = np.array([self.height, self.width] * 2, np.float32)
        return self.boxes / sides


@dataclasses.dataclass(frozen=True, eq=False)
class SceneSource:
    """A data set of annotated images whose pixels are yet to be read.

    Attributes:
        class_names: `[K]` names in the order of the class indices.
        category_ids: `[K]` numbers that the data set itself gives the classes.
        scenes_by_split: Under `train` and, where stored, `validation` and `test`.
        problems: One line for each annotation that was clipped or left out.
    """

    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    scenes_by_split: Mapping[str, tuple[Scene, ...]]
    problems: tuple[str, ...] = ()


def clean_scene(scene: Scene) -> tuple[Scene, dict[int, str]]:
    """Returns the scene with proper boxes, and what was wrong with others, by index.

    What sticks out of the image is clipped; by up to `ROUNDING_PX` this is not worth
    telling. A box that is not finite, or of which nothing is left, is left out. An area
    that is not finite becomes the box's.

    Args:
        scene: With boxes as they are stored, of any type of float.
    """
    with np.errstate(over="ignore"):  # is not finite then
        boxes = np.asarray(scene.boxes, np.float32)
        known_px = np.asarray(scene.areas_px, np.float32)
    sides = np.array([scene.height, scene.width] * 2, np.float32)
    is_finite = np.all(np.isfinite(boxes), axis=1)
    finite = np.where(is_finite[:, np.newaxis], boxes, 0)
    clipped = np.clip(finite, 0, sides)
    excess_px = np.abs(finite - clipped).max(axis=1, initial=0)
    heights, widths = (clipped[:, 2:] - clipped[:, :2]).T
    kept = is_finite & (heights > 0) & (widths > 0)
    problems = {}
    for index in np.flatnonzero(~kept | (excess_px > ROUNDING_PX)).tolist():
        if kept[index]:
            problems[index] = "sticks out of the image: clipped"
        elif is_finite[index]:
            problems[index] = "has no area in the image: left out"
        else:
            problems[index] = "is not finite: left out"
    areas_px = np.where(np.isfinite(known_px), known_px, heights * widths)
    cleaned = dataclasses.replace(
        scene,
        boxes=clipped[kept],
        labels=scene.labels[kept],
        is_ignored=scene.is_ignored[kept],
        areas_px=areas_px[kept],
    )
    return cleaned, problems


def find_largest_boxes(scene: Scene, max_boxes: int) -> np.ndarray:
    """Returns ascending indices of a scene's largest boxes, at most `max_boxes`."""
    sizes = np.prod(scene.boxes[:, 2:] - scene.boxes[:, :2], axis=1)
    return np.sort(np.argsort(-sizes, kind="stable")[:max_boxes])


def build_coco_dictionary(
    scenes: Sequence[Scene],
    *,
    class_names: Sequence[str],
    category_ids: Sequence[int],
) -> dict[str, Any]:
    """Returns scenes as COCO's instance files have them, in plain JSON values.

    What is ignored has `iscrowd` 1, the only kind of box that COCO's evaluation leaves
    out of account.
    """
    annotations = []
    for scene in scenes:
        corners = scene.boxes.astype(np.float64).tolist()
        for (y_min, x_min, y_max, x_max), label, is_ignored, area_px in zip(
            corners, scene.labels, scene.is_ignored, scene.areas_px, strict=True
        ):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": scene.image_id,
                    "category_id": int(category_ids[label]),
                    "bbox": [x_min, y_min, x_max - x_min, y_max - y_min],
                    "area": float(area_px),
                    "iscrowd": int(is_ignored),
                }
            )
    return {
        "images": [
            {
                "id": scene.image_id,
                "file_name": scene.name,
                "height": scene.height,
                "width": scene.width,
            }
            for scene in scenes
        ],
        "annotations": annotations,
        "categories": [
            {"id": int(category_id), "name": name}
            for category_id, name in zip(category_ids, class_names, strict=True)
        ],
    }
