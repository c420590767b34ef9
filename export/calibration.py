"""Images that set the ranges of int8 activations. The conversion is in `tflite.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

# What resizing a photo may add to its whitest pixel.
_ROUNDING = 1e-4


def make_representative_dataset(
    images: np.ndarray, num_images: int
) -> Callable[[], Iterator[dict[str, np.ndarray]]]:
    """Returns the generator function that the TFLite converter calibrates with.

    It yields `num_images` of the images, spread evenly, so that a set sorted by class
    is represented too. The converter takes the range of the input, and from it scale
    and zero point, from the smallest and largest value that it sees. Two values of
    the first image are therefore set to -1 and 1: the scale is then exactly 2 / 255
    and an app may feed raw pixels, however dark the photos are. Two values hardly
    move the ranges of the activations, as black and white images would.

    Args:
        images: `[B, H, W, C]`, float in [-1, 1].
        num_images: How many of them to use.

    Raises:
        ValueError: On another shape, too few images, or values that are not finite
            or outside [-1, 1].
    """
    if images.ndim != 4:
        raise ValueError(
            "representative images must have the shape [B, H, W, C]. "
            f"Received: shape={images.shape}"
        )
    if len(images) < num_images:
        raise ValueError(
            f"representative images must be at least calibration_images={num_images}; "
            f"give more or lower calibration_images. Received: {len(images)} images"
        )
    chosen = np.linspace(0, len(images) - 1, num_images).astype(int)
    calibration_images = images[chosen].astype(np.float32)
    if not np.isfinite(calibration_images).all():
        raise ValueError(
            "representative images must be finite. Received: "
            f"{np.count_nonzero(~np.isfinite(calibration_images))} values that are not"
        )
    low, high = calibration_images.min(), calibration_images.max()
    if low < -1 - _ROUNDING or high > 1 + _ROUNDING:
        raise ValueError(
            "representative images must be in [-1, 1], that is pixel / 127.5 - 1. "
            f"Received: values from {low:g} to {high:g}"
        )
    calibration_images = np.clip(calibration_images, -1, 1)
    calibration_images[0].flat[:2] = (-1, 1)

    def generate() -> Iterator[dict[str, np.ndarray]]:
        for image in calibration_images:
            yield {"image": image[None]}

    return generate
