"""Decoding of photos as cameras and people store them, into RGB images.

Where the bytes come from is left to `image_folder` and `tfds_images`.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

PhotoT = TypeVar("PhotoT")

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

MAX_FILE_BYTES = 2**29
MAX_DECODED_PIXELS = 2**26
"""A photo of 16 bits and three colours has six bytes a pixel. Larger JPEGs are decoded
at a half to an eighth of their size, up to Pillow's own limit."""

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
    image = _open_rgb(data, shorter_side_px=2 * size_px / crop_fraction)
    width, height = image.size
    side = crop_fraction * min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    resized = image.resize((size_px, size_px), Image.Resampling.BILINEAR, box=box)
    return np.asarray(resized)


def decode_whole(
    data: bytes,
    size_px: int | None = None,
    *,
    annotated_size: tuple[int, int] | None = None,
) -> np.ndarray:
    """Returns all of a photo, stretched to `[size_px, size_px, 3]`, uint8 RGB.

    Otherwise it is treated like one of `decode_square`.

    Args:
        data: Contents of a file in any of the formats of `PHOTO_SUFFIXES`.
        size_px: Height and width of the result; None keeps the photo's own.
        annotated_size: Height and width that annotations of the photo speak of. If the
            photo only has them before the EXIF orientation is applied, then that is
            how it was annotated, and the orientation is left aside.

    Raises:
        ValueError: If the photo cannot be decoded or has another size; says why.
    """
    shorter_side_px = None if size_px is None else 2 * size_px
    image = _open_rgb(data, shorter_side_px, annotated_size=annotated_size)
    if size_px is not None:
        image = image.resize((size_px, size_px), Image.Resampling.BILINEAR)
    return np.asarray(image)


def read_photo(path: str | os.PathLike[str]) -> bytes:
    """Returns the contents of a photo's file.

    Raises:
        ValueError: If they are larger than those of any photo.
    """
    with open(path, "rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"its file has more than {MAX_FILE_BYTES:,} bytes")
    return data


def read_photo_size(data: bytes) -> tuple[int, int]:
    """Returns a photo's height and width, the EXIF orientation applied.

    Raises:
        ValueError: If it is no photo; says why.
    """
    with _say_why():
        image, stored_size = _open(data, shorter_side_px=1)
        return _upright_size(image, stored_size)


@contextlib.contextmanager
def _say_why() -> Iterator[None]:
    """Turns what Pillow raises on broken photos into a ValueError."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise ValueError("The photo cannot be decoded: it is no image") from error
    except _DECODING_ERRORS as error:
        raise ValueError(f"The photo cannot be decoded: {error}") from error


def _open(
    data: bytes, shorter_side_px: float | None
) -> tuple[Image.Image, tuple[int, int]]:
    """Returns a photo that is not decoded yet, and its stored width and height.

    A JPEG may be decoded at 1/2, 1/4 or 1/8 of them, with at least this shorter side.
    """
    image = Image.open(io.BytesIO(data))
    width, height = image.size
    if shorter_side_px is not None:
        scale = shorter_side_px / min(width, height)
        image.draft(None, (int(width * scale) + 1, int(height * scale) + 1))
    # The header says so much; memory for it is not taken yet.
    if image.width * image.height > MAX_DECODED_PIXELS:
        raise ValueError(
            f"it has {height:,} x {width:,} pixels, more than {MAX_DECODED_PIXELS:,}"
        )
    return image, (width, height)


def _upright_size(image: Image.Image, stored_size: tuple[int, int]) -> tuple[int, int]:
    """Returns height and width after the EXIF orientation."""
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    width, height = stored_size
    # EXIF 2.32, tag 0x112: the orientations from 5 on swap rows and columns. Pillow has
    # turned a TIFF by then.
    is_swapped = orientation in range(5, 9) and image.format != "TIFF"
    return (width, height) if is_swapped else (height, width)


def _open_rgb(
    data: bytes,
    shorter_side_px: float | None,
    *,
    annotated_size: tuple[int, int] | None = None,
) -> Image.Image:
    """Returns an upright photo, perhaps smaller, of at least this shorter side."""
    with _say_why():
        # The resize still gets twice the pixels that it needs.
        image, stored_size = _open(data, shorter_side_px)
        width, height = stored_size
        is_upright = annotated_size in (None, _upright_size(image, stored_size))
        if not is_upright and annotated_size != (height, width):
            raise ValueError(
                f"it has {height} x {width} pixels, and the annotations speak of "
                f"{' x '.join(map(str, annotated_size or ()))}"
            )
        if is_upright:
            ImageOps.exif_transpose(image, in_place=True)
        return _convert_to_rgb(image)


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
    read: Callable[[int], PhotoT],
    count: int,
    decode: Callable[[PhotoT], np.ndarray],
    out: np.ndarray | None,
) -> dict[int, str]:
    """Decodes photos in threads and returns why the failing ones failed, by index.

    Args:
        read: Gives photo i in the form that `decode` takes, such as its bytes; raises
            a ValueError that says why if it is none.
        count: Number of photos.
        decode: Such as `decode_square` with its options bound; raises a ValueError that
            says why a photo fails.
        out: `[count, S, S, 3]` uint8, filled in; None only checks the photos.
    """
    reasons = {}

    def decode_some(indices: range) -> None:
        for index in indices:
            try:
                image = decode(read(index))
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
