"""What a user may name as an architecture: a JSON file, a run folder, a zoo name."""

from __future__ import annotations

import os
from pathlib import Path

from mobilenas_tf.json_io import read_architecture
from mobilenas_tf.spec import Architecture, with_head
from mobilenas_tf.zoo import zoo_architecture

ARCHITECTURE_FILE = "architecture.json"


def open_architecture(reference: str | os.PathLike[str]) -> Architecture:
    """Returns the architecture of a JSON file, a run folder or a zoo name.

    Raises:
        FileNotFoundError: If a path that looks like one is not there.
        ValueError: If the file is malformed, or the name unknown.
    """
    path = Path(reference)
    if path.is_dir():
        path = path / ARCHITECTURE_FILE
        if not path.exists():
            raise FileNotFoundError(
                f"{path} must be there: a run folder holds it once its search is "
                "finished. It is missing"
            )
    if path.exists():
        return read_architecture(path)
    if path.suffix == ".json" or os.sep in str(reference):
        raise FileNotFoundError(f"{path} must be a file or run folder. It is missing")
    return zoo_architecture(str(reference))


def fit_architecture(
    architecture: Architecture,
    *,
    num_classes: int,
    image_size_px: int | None = None,
    replace_head: bool = False,
) -> Architecture:
    """Returns the architecture for a data set.

    Args:
        architecture: Any architecture.
        num_classes: Classes of the data set.
        image_size_px: Input size; None keeps the architecture's.
        replace_head: Whether a classifier for other classes may be replaced.

    Raises:
        ValueError: If the numbers of classes differ and `replace_head` is False.
    """
    if architecture.head.num_classes != num_classes and not replace_head:
        raise ValueError(
            f"num_classes of {architecture.name} must be the data set's {num_classes}; "
            "give --replace_head to put a new classifier on it. "
            f"Received: num_classes={architecture.head.num_classes}"
        )
    return with_head(architecture, num_classes=num_classes, image_size_px=image_size_px)
