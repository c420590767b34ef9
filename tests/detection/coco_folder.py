"""Tiny folders laid out like COCO's."""

import json

import numpy as np
from PIL import Image

CATEGORIES = ((1, "person"), (18, "dog"), (90, "toothbrush"))


def image_row(image_id, *, height=20, width=30):
    return {
        "id": image_id,
        "file_name": f"{image_id:04d}.png",
        "height": height,
        "width": width,
    }


def box_row(image_id, bbox, *, category_id=18, **others):
    return {
        "image_id": image_id,
        "category_id": category_id,
        "bbox": bbox,
        "segmentation": [[0, 0, 1, 1]],
        **others,
    }


def write_photo(path, row, *, value=100):
    """Writes a grey photo of the row's size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((row["height"], row["width"], 3), value, np.uint8)
    Image.fromarray(pixels).save(path)


def write_split(root, name, images, annotations, *, categories=CATEGORIES, photos=None):
    """Writes `instances_NAME.json` and a photo for each image; returns its path.

    Args:
        root: The data set's folder.
        name: Such as `train2017`.
        images: From `image_row`.
        annotations: From `box_row`.
        categories: Pairs of id and name.
        photos: Folder of the photos; by default `root / name`.
    """
    for row in images:
        write_photo((photos or root / name) / row["file_name"], row)
    document = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": key, "name": text} for key, text in categories],
    }
    path = root / "annotations" / f"instances_{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path
