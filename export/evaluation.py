"""A classifier to evaluate, be it a run folder or a `.tflite` file."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from export.interpreter import load_interpreter, predict
from mobilenas_tf.models.network_io import load_network
from mobilenas_tf.training.classification import class_predictor


@dataclasses.dataclass(frozen=True)
class OpenClassifier:
    """A classifier: its input size, its classes, and images to top-1 classes `[B]`."""

    name: str
    image_size_px: int
    num_classes: int
    predict: Callable[[np.ndarray], np.ndarray]

    def check_classes(self, num_classes: int) -> None:
        """Raises a ValueError unless the classifier has `num_classes` classes."""
        if self.num_classes != num_classes:
            raise ValueError(
                f"classes of {self.name} must be the data set's {num_classes}. "
                f"Received: {self.num_classes} classes"
            )


def open_classifier(
    model: str | os.PathLike[str], *, num_threads: int = 1
) -> OpenClassifier:
    """Opens the folder of a finished training, or a `.tflite` file.

    Raises:
        FileNotFoundError: If there is no such file, or the folder holds no network.
        ValueError: If the file is damaged or no classifier of square images.
    """
    name = os.fspath(model)
    if Path(model).is_dir():
        architecture, network = load_network(model)
        return OpenClassifier(
            name,
            architecture.image_size_px,
            architecture.head.num_classes,
            class_predictor(network),
        )
    interpreter = load_interpreter(model, num_threads=num_threads)
    inputs, outputs = (
        [tensor["shape"].tolist() for tensor in details]
        for details in (
            interpreter.get_input_details(),
            interpreter.get_output_details(),
        )
    )
    match inputs, outputs:
        case [[1, height, width, 3]], [[1, num_classes]] if height == width:
            return OpenClassifier(
                name,
                height,
                num_classes,
                lambda images: predict(
                    interpreter, np.asarray(images), name=name
                ).argmax(axis=-1),
            )
    raise ValueError(
        f"{name} must be a classifier of square images, [1, S, S, 3] to [1, K]. "
        f"Received: {_listed(inputs)} to {_listed(outputs)}"
    )


def _listed(shapes: list[list[int]]) -> str:
    return " and ".join(map(str, shapes)) or "nothing"
