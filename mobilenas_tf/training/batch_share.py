"""A worker's share of every batch, so that several workers read it together.

Shares follow each other: the first worker has the first images of each batch, and the
batches are those of a single worker.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Share:
    """One of `count` equal parts of every batch, the one at `index`."""

    index: int = 0
    count: int = 1

    def size(self, batch_size: int) -> int:
        """Returns how many examples of a batch it has."""
        return batch_size // self.count

    def of(self, values: tf.Tensor, axis: int = 0) -> tf.Tensor:
        """Returns its part of a batch's values, whose static `axis` is the batch's."""
        return tf.split(values, self.count, axis)[self.index]

    def holds(self, position: Any, batch_size: int) -> Any:
        """Returns whether the example at a position of an epoch is in it.

        Args:
            position: From 0; an integer, an array or a tensor of them.
            batch_size: Examples in a batch.
        """
        return (position % batch_size) // self.size(batch_size) == self.index

    def pick(self, examples: np.ndarray, batch_size: int) -> np.ndarray:
        """Returns its examples of an epoch's, in their order."""
        return examples[self.holds(np.arange(len(examples)), batch_size)]

    def filter(self, examples: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
        """Returns its examples of an epoch's, in their order."""
        if self.count == 1:
            return examples
        return (
            examples.enumerate()
            .filter(lambda position, _: self.holds(position, batch_size))
            .map(lambda _, example: example)
        )


WHOLE = Share()
