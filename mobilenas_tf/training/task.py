"""What networks are trained for, in the terms that all trainers share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import keras
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Objective:
    """What a step minimises.

    Attributes:
        loss: `(outputs, *targets) -> (loss [], {figure: []})`: of a network's outputs
            for a batch, and what comes behind the images in that batch.
        figures: The names of what `loss` tells besides.
    """

    loss: Callable[..., tuple[tf.Tensor, Mapping[str, tf.Tensor]]]
    figures: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Task:
    """What a network is to do: how it is taught, and how it is judged on the way.

    Attributes:
        objective: What a step minimises.
        evaluator: `network -> (() -> validation figures)`. The function is made once
            for a network: it is traced.
        score: Which of these figures, the larger the better, is the network's.
    """

    objective: Objective
    evaluator: Callable[[keras.Model], Callable[[], dict[str, float]]]
    score: str


class BatchConfig(Protocol):
    """The part of a data set's configuration that training asks for."""

    @property
    def batch_size(self) -> int:
        """Images in a step."""
        ...


class TrainingData(Protocol):
    """Batches to train on: images, and what the task's objective takes behind them."""

    @property
    def config(self) -> BatchConfig:
        """What was asked for."""
        ...

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches in an epoch."""
        ...

    def train_epoch(self, epoch: int) -> Any:
        """Returns the batches of an epoch, the same ones at every call."""
        ...
