"""The check of a tensor's static shape where it enters the package."""

from __future__ import annotations

from collections.abc import Sequence
from types import EllipsisType

import tensorflow as tf


def check_shape(
    tensor: tf.Tensor, expected: Sequence[int | EllipsisType | None], name: str
) -> None:
    """Raises a ValueError unless the static shape of `tensor` is the expected one.

    Args:
        tensor: Anything with a `shape` of known rank.
        expected: Sizes of the axes; None is any size, and a leading `...` any number of
            axes. What the tensor leaves open until the graph runs fits everything.
        name: What the message calls the tensor.
    """
    shape = tuple(tensor.shape)
    sizes = tuple(size for size in expected if size is not ...)
    has_rank = len(shape) == len(expected) or (
        len(sizes) < len(expected) and len(shape) >= len(sizes)
    )
    trailing = shape[len(shape) - len(sizes) :] if has_rank else ()
    fits = has_rank and all(
        wanted is None or size is None or size == wanted
        for size, wanted in zip(trailing, sizes, strict=True)
    )
    if not fits:
        wanted = ", ".join("..." if size is ... else str(size) for size in expected)
        raise ValueError(
            f"{name} must have the shape ({wanted}), None being any size. "
            f"Received: {name}.shape={shape}"
        )
