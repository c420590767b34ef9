"""A network out of a one-shot supernet: its slices, and statistics of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mobilenas_tf.models.compact import build_network
from mobilenas_tf.models.network_io import network_weights
from mobilenas_tf.models.one_shot_supernet import (
    OneShotSupernet,
    moments,
    normalized_by,
    planned_places,
)
from mobilenas_tf.one_shot_space import Value

Tensor = Any


def inherit_weights(
    supernet: OneShotSupernet, genotype: Mapping[str, Value], images: np.ndarray
) -> keras.Model:
    """Returns a genotype's network with the supernet's weights.

    Its batch norms have the mean and variance over the calibration images, layer by
    layer, as `statistics_of_first` takes them: the network computes what the supernet
    does with these.

    Args:
        supernet: Trained.
        genotype: Of the network.
        images: `[B, S, S, 3]`, to calibrate with.
    """
    network = build_network(supernet.space.resolve(genotype))
    plan = supernet.plan_of(genotype)
    norms: list[tuple[Tensor, ...]] = []

    def calibrate(x: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
        statistics = moments(x)
        norms.append((scale, offset, *statistics))
        return normalized_by(x, statistics, scale, offset)

    supernet(tf.constant(images), tf.constant(plan), normalize=calibrate)
    kernels = _kernels(supernet, plan)
    statistics = iter(norms)
    # Both are walked in the order of use.
    weights = network_weights(network)
    for name, variable in weights.items():
        layer, _, kind = name.partition("/")
        if layer == "head.classifier":
            source = {
                "kernel": supernet.classifier_kernel,
                "bias": supernet.classifier_bias,
            }[kind]
            variable.assign(source[: variable.shape[0]])
        elif kind == "kernel":
            variable.assign(_slice(next(kernels), variable.shape))
        elif kind == "gamma":
            values = next(statistics)
            for part, value in zip(_NORM, values, strict=True):
                weights[f"{layer}/{part}"].assign(value)
    return network


def used_kernels(
    supernet: OneShotSupernet,
    genotype: Mapping[str, Value],
    values: Sequence[np.ndarray],
) -> list[np.ndarray]:
    """Returns the parts of all convolution kernels that a network uses.

    Args:
        supernet: Whose network it is.
        genotype: Of the network.
        values: Of the supernet's trainable variables, of whatever time.
    """
    paths = [variable.path for variable in supernet.trainable_variables]
    by_path = dict(zip(paths, values, strict=True))
    plan = supernet.plan_of(genotype)
    channels = int(plan[0])
    parts = [by_path[supernet.stem_kernel.path][..., :channels]]
    for block, (kind, hidden, out) in zip(
        supernet.blocks, np.asarray(planned_places(plan)), strict=True
    ):
        own = {role: by_path[kernel.path] for role, kernel in block.kernels.items()}
        kernels = block.kernels_of(int(kind), own)
        if len(kernels) == 1:
            parts.append(kernels[0][:channels, :out])
        elif kernels:
            expand, depthwise, project = kernels
            parts += [
                expand[:channels, :hidden],
                depthwise[:, :, :hidden],
                project[:hidden, :out],
            ]
        channels = int(out)
    return [*parts, by_path[supernet.head_kernel.path][:channels, : plan[-1]]]


_NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def _kernels(supernet: OneShotSupernet, plan: np.ndarray) -> Iterator[Tensor]:
    """Yields the convolution kernels that a plan uses, in order, whole."""
    yield supernet.stem_kernel
    for block, (kind, *_) in zip(
        supernet.blocks, np.asarray(planned_places(plan)), strict=True
    ):
        yield from block.kernels_of(int(kind))
    yield supernet.head_kernel


def _slice(kernel: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Returns the first channels of a kernel in the shape of a stock layer's."""
    if len(kernel.shape) == 2:
        return tf.reshape(kernel[: shape[2], : shape[3]], shape)
    return kernel[:, :, : shape[2], : shape[3]]
