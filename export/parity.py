"""How far a `.tflite` file agrees with the Keras network it was made from."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import keras
import numpy as np
import scipy.special

from export.interpreter import load_interpreter, output_names, predict

_KERAS_BATCH_SIZE = 128


@dataclasses.dataclass(frozen=True)
class ParityReport:
    """Agreement of a `.tflite` file with its Keras network on the same images.

    Accuracies and `top1_agreement` are fractions in [0, 1]. The drop is in percentage
    points, positive where the file is worse. `max_difference` is of the file's outputs,
    probabilities or logits, and `signal_to_noise_db` the power of Keras' over that of
    the difference; None where either is zero.
    """

    num_images: int
    top1_agreement: float
    max_difference: float
    signal_to_noise_db: float | None
    keras_accuracy: float
    tflite_accuracy: float
    accuracy_drop_points: float

    def to_json(self) -> dict[str, Any]:
        """Returns the report as plain JSON values."""
        return dataclasses.asdict(self)


def compare_outputs(
    model: keras.Model,
    tflite: str | os.PathLike[str] | bytes,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    num_threads: int = 1,
) -> ParityReport:
    """Returns how far a `.tflite` file agrees with the model on labelled images.

    Args:
        model: From images to logits `[B, K]`.
        tflite: Path or content of the file made from it.
        images: `[B, H, W, 3]`, float in [-1, 1].
        labels: `[B]`, integer in [0, K).
        num_threads: Threads of the LiteRT interpreter.

    Raises:
        ValueError: Without images, on another number of labels, or where one side's
            predictions are not finite.
    """
    if not len(images) or labels.shape != (len(images),):
        raise ValueError(
            "labels must have one entry for each of at least one image. Received: "
            f"labels of shape {labels.shape} for {len(images)} images"
        )
    expected = model.predict(images, batch_size=_KERAS_BATCH_SIZE, verbose=0)
    interpreter = load_interpreter(tflite, num_threads=num_threads)
    if output_names(interpreter) == ["probabilities"]:
        expected = scipy.special.softmax(expected, axis=-1)
    return compare_predictions(expected, predict(interpreter, images), labels)


def compare_predictions(
    expected: np.ndarray, found: np.ndarray, labels: np.ndarray
) -> ParityReport:
    """Returns the report on Keras' and a file's predictions for images with `labels`.

    Args:
        expected: `[B, K]`, logits or probabilities by Keras.
        found: The same by the file.
        labels: `[B]`, integer in [0, K).
    """
    for name, values in (("model", expected), ("tflite", found)):
        if not np.isfinite(values).all():
            raise ValueError(
                f"predictions of {name} must be finite. Received: "
                f"{np.count_nonzero(~np.isfinite(values))} of {values.size} are not"
            )
    difference = found.astype(np.float64) - expected
    noise, signal = np.square(difference).sum(), np.square(expected).sum()
    keras_top1, tflite_top1 = expected.argmax(-1), found.argmax(-1)
    keras_accuracy = float(np.mean(keras_top1 == labels))
    tflite_accuracy = float(np.mean(tflite_top1 == labels))
    has_ratio = signal > 0 and noise > 0
    return ParityReport(
        num_images=len(labels),
        top1_agreement=float(np.mean(keras_top1 == tflite_top1)),
        max_difference=float(np.abs(difference).max()),
        signal_to_noise_db=float(10 * np.log10(signal / noise)) if has_ratio else None,
        keras_accuracy=keras_accuracy,
        tflite_accuracy=tflite_accuracy,
        accuracy_drop_points=100 * (keras_accuracy - tflite_accuracy),
    )
