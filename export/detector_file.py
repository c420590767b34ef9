"""A `.tflite` detector: images to class logits and encoded boxes."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from export.interpreter import load_interpreter, output_names, predict_outputs

OUTPUTS = ("box_encodings", "class_logits")


def open_detector_file(
    path: str | os.PathLike[str], *, num_threads: int = 1
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Returns the function of images `[B, S, S, 3]` in [-1, 1] to a detector's outputs.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged or has not a detector's outputs.
    """
    interpreter = load_interpreter(path, num_threads=num_threads)
    names = output_names(interpreter)
    if sorted(names) != list(OUTPUTS):
        raise ValueError(
            f"{os.fspath(path)} must be a detector with the outputs "
            f"{' and '.join(OUTPUTS)}. Received: {', '.join(names)}"
        )
    return lambda images: predict_outputs(interpreter, np.asarray(images))
