"""Decoding of photos as cameras and people store them, into square RGB images.

Where the bytes come from is left to `image_folder` and `tfds_images`.
"""

from __future__ import annotations

import concurrent.futures
import io
import os
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

PHOTO_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)

_DECODING_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow's readers raise on broken bytes."""

_PHOTOS_PER_TASK = 32
"""Thumbnails decode in 0.1 ms, so a thread takes several at a time."""


def decode_square(
    data: bytes, size_px: int, *, crop_fraction: float = 1.0
) -> np.ndarray:
    """Returns the central square of a photo as `[size_px, size_px, 3]` uint8 RGB.

    The EXIF orientation is applied, transparency is laid over white, 16-bit values are
    scaled to 8 bits, CMYK and palettes are converted, and of an animation or a
    multi-page file the first image is taken. The resize averages over the pixels that
    fall together, so that a smaller image has no aliases.

    Args:
        data: Contents of a file in any of the formats of `PHOTO_SUFFIXES`.
        size_px: Height and width of the result.
        crop_fraction: Side of the square as a share of the photo's shorter side.

    Raises:
        ValueError: If the photo cannot be decoded; says why.
    """
    try:
        image = Image.open(io.BytesIO(data))
        # A JPEG may be decoded at 1/2, 1/4 or 1/8; the resize still gets twice the
        # pixels it needs.
        scale = 2 * size_px / (crop_fraction * min(image.size))
        width, height = image.size
        image.draft(None, (int(width * scale) + 1, int(height * scale) + 1))
        ImageOps.exif_transpose(image, in_place=True)
        image = _convert_to_rgb(image)
    except UnidentifiedImageError as error:
        raise ValueError("The photo cannot be decoded: it is no image") from error
    except _DECODING_ERRORS as error:
        raise ValueError(f"The photo cannot be decoded: {error}") from error
    width, height = image.size
    side = crop_fraction * min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    resized = image.resize((size_px, size_px), Image.Resampling.BILINEAR, box=box)
    return np.asarray(resized)


def _convert_to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow itself would clip 16-bit values to 255.
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("its pixels have more than 16 bits")
        image = Image.fromarray((values // 257).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        image = Image.alpha_composite(white, layer)
    return image.convert("RGB")


def decode_all(
    read: Callable[[int], bytes],
    count: int,
    decode: Callable[[bytes], np.ndarray],
    out: np.ndarray | None,
) -> dict[int, str]:
    """Decodes photos in threads and returns why the failing ones failed, by index.

    Args:
        read: Gives the bytes of photo i.
        count: Number of photos.
        decode: Such as `decode_square` with its options bound.
        out: `[count, S, S, 3]` uint8, filled in; None only checks the photos.
    """
    reasons = {}

    def decode_some(indices: range) -> None:
        for index in indices:
            data = read(index)
            try:
                image = decode(data)
            except ValueError as error:
                reasons[index] = str(error)
                continue
            if out is not None:
                out[index] = image

    starts = range(0, count, _PHOTOS_PER_TASK)
    tasks = [range(i, min(i + _PHOTOS_PER_TASK, count)) for i in starts]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as executor:
        for _ in executor.map(decode_some, tasks):
            pass
    return dict(sorted(reasons.items()))
