"""How far a `.tflite` file agrees with the Keras network it was made from."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import keras
import numpy as np

from export.interpreter import load_interpreter, predict

_KERAS_BATCH_SIZE = 128


@dataclasses.dataclass(frozen=True)
class ParityReport:
    """Agreement of a `.tflite` file with its Keras network on the same images.

    Accuracies and `top1_agreement` are fractions in [0, 1]. The drop is in percentage
    points, positive where the file is worse. `signal_to_noise_db` is the power of the
    Keras logits over that of the difference; None where either is zero.
    """

    num_images: int
    top1_agreement: float
    max_logit_difference: float
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
            logits are not finite.
    """
    if not len(images) or labels.shape != (len(images),):
        raise ValueError(
            "labels must have one entry for each of at least one image. Received: "
            f"labels of shape {labels.shape} for {len(images)} images"
        )
    logits = model.predict(images, batch_size=_KERAS_BATCH_SIZE, verbose=0)
    interpreter = load_interpreter(tflite, num_threads=num_threads)
    return compare_logits(logits, predict(interpreter, images), labels)


def compare_logits(
    keras_logits: np.ndarray, tflite_logits: np.ndarray, labels: np.ndarray
) -> ParityReport:
    """Returns the report on two sets of logits `[B, K]` of the images with `labels`."""
    for name, logits in (("model", keras_logits), ("tflite", tflite_logits)):
        if not np.isfinite(logits).all():
            raise ValueError(
                f"logits of {name} must be finite. Received: "
                f"{np.count_nonzero(~np.isfinite(logits))} of {logits.size} are not"
            )
    difference = tflite_logits.astype(np.float64) - keras_logits
    noise, signal = np.square(difference).sum(), np.square(keras_logits).sum()
    keras_top1, tflite_top1 = keras_logits.argmax(-1), tflite_logits.argmax(-1)
    keras_accuracy = float(np.mean(keras_top1 == labels))
    tflite_accuracy = float(np.mean(tflite_top1 == labels))
    has_ratio = signal > 0 and noise > 0
    return ParityReport(
        num_images=len(labels),
        top1_agreement=float(np.mean(keras_top1 == tflite_top1)),
        max_logit_difference=float(np.abs(difference).max()),
        signal_to_noise_db=float(10 * np.log10(signal / noise)) if has_ratio else None,
        keras_accuracy=keras_accuracy,
        tflite_accuracy=tflite_accuracy,
        accuracy_drop_points=100 * (keras_accuracy - tflite_accuracy),
    )
