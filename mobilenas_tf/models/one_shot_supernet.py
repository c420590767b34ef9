"""One-shot supernets: all networks of a space in one, any of which runs as cheaply.

Batch norms have no moving statistics: while training they take the batch's, for a
score those of calibration images that run along (`statistics_of_first`). Scales and
offsets are shared by all widths of an operation.

Source: see `layers.spring_block`; statistics after training: Yu and Huang, Universally
slimmable networks, arXiv:1903.05134, section 3.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from mobilenas_tf.layers.spring_block import (
    BlockKind,
    Normalize,
    SpringBlock,
    pointwise,
)
from mobilenas_tf.models.layer_set import FUSED
from mobilenas_tf.one_shot_space import (
    OneShotSpace,
    Value,
    operation_name,
    operation_named,
    operation_path,
)

Tensor = Any
EPSILON = 1e-3
_PER_PLACE = 3  # entries of a plan: operation, hidden channels, output channels


class OneShotSupernet(keras.Model):
    """The networks of a one-shot space with shared weights.

    A network is told by its plan (`plan_of`), an int vector, so that one trace serves
    them all.
    """

    def __init__(
        self, space: OneShotSpace, *, has_shared_kernels: bool = True, **kwargs
    ):
        """Builds all weights.

        Args:
            space: Whose networks they are.
            has_shared_kernels: Whether the operations of a place use slices of the same
                kernels, or have their own.
            **kwargs: `name`.
        """
        super().__init__(**kwargs)
        self.space = space
        self.act = FUSED.activations[space.activation](name="activation")
        stem = space.stem_channels[-1]
        self.stem_kernel = self.add_weight(
            name="stem.kernel", shape=(3, 3, 3, stem), initializer="he_normal"
        )
        self.stem_norm = self._norm("stem", stem)
        self.blocks: list[SpringBlock] = []
        channels = stem
        for number, stage in enumerate(space.stages, start=1):
            for index in range(stage.depth):
                operations = stage.operations_at(index)
                block = SpringBlock(
                    [
                        BlockKind(None)
                        if operation is None
                        else BlockKind(
                            operation.kernel_size,
                            space.hidden_channels(operation, channels),
                        )
                        for operation in operations
                    ],
                    in_channels=channels,
                    out_channels=stage.out_channels[-1],
                    stride=stage.stride if index == 0 else 1,
                    is_first=index == 0,
                    activation=self.act,
                    has_shared_kernels=has_shared_kernels,
                    name=f"stage{number}.block{index}",
                )
                block.build()
                self.blocks.append(block)
                channels = stage.out_channels[-1]
        head = space.head_channels[-1]
        self.head_kernel = self.add_weight(
            name="head.kernel", shape=(channels, head), initializer="he_normal"
        )
        self.head_norm = self._norm("head", head)
        self.classifier_kernel = self.add_weight(
            name="classifier.kernel",
            shape=(head, space.num_classes),
            initializer="glorot_uniform",
        )
        self.classifier_bias = self.add_weight(
            name="classifier.bias", shape=(space.num_classes,), initializer="zeros"
        )
        self.built = True

    def _norm(self, path: str, channels: int) -> tuple[keras.Variable, keras.Variable]:
        return (
            self.add_weight(
                name=f"{path}.gamma", shape=(channels,), initializer="ones"
            ),
            self.add_weight(
                name=f"{path}.beta", shape=(channels,), initializer="zeros"
            ),
        )

    def call(self, inputs, plan, *, normalize: Normalize | None = None):
        """Returns the logits `[B, K]` of a network on images `[B, S, S, 3]`.

        Args:
            inputs: Images in [-1, 1].
            plan: `[L]`, int32, from `plan_of`.
            normalize: Batch norm; None takes the batch's statistics.
        """
        normalize = normalize or batch_statistics
        stem = plan[0]
        x = ops.conv(
            inputs,
            self.stem_kernel[..., :stem],
            strides=self.space.stem_stride,
            padding="same",
        )
        x = self.act(normalize(x, *(part[:stem] for part in self.stem_norm)))
        places = planned_places(plan)
        for index, block in enumerate(self.blocks):
            kind, hidden, out = (places[index, entry] for entry in range(_PER_PLACE))
            size = -(-x.shape[1] // block.stride)
            x = block(x, kind, hidden, out, normalize=normalize)
            x = tf.ensure_shape(x, (None, size, size, None))
        head = plan[-1]
        x = pointwise(x, self.head_kernel, head)
        x = self.act(normalize(x, *(part[:head] for part in self.head_norm)))
        x = ops.mean(x, axis=(1, 2))
        return ops.matmul(x, self.classifier_kernel[:head]) + self.classifier_bias

    def plan_of(self, genotype: Mapping[str, Value]) -> np.ndarray:
        """Returns what tells the supernet a network: `[L]`, int32."""
        space = self.space
        values = space.complete(genotype)
        channels = int(values["stem/output"])
        plan = [channels]
        for number, stage in enumerate(space.stages, start=1):
            out_channels = int(values[f"stage{number}/output"])
            for index in range(stage.depth):
                name = str(values[operation_path(number, index)])
                operation = operation_named(stage, name)
                names = [operation_name(each) for each in stage.operations_at(index)]
                hidden = (
                    0
                    if operation is None
                    else space.hidden_channels(operation, channels)
                )
                plan += [names.index(name), hidden, out_channels]
                channels = out_channels
        return np.array([*plan, int(values["head/conv"])], np.int32)


def planned_places(plan: Tensor) -> Tensor:
    """Returns index of the operation, hidden and output channels by place, `[P, 3]`."""
    return ops.reshape(plan[1:-1], (-1, _PER_PLACE))


def batch_statistics(x: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """Returns x normalised by the batch's mean and variance."""
    return _batch_norm(x, scale, offset).y


def _batch_norm(
    x: Tensor,
    scale: Tensor,
    offset: Tensor,
    statistics: tuple[Tensor, Tensor] | None = None,
) -> Any:
    """Returns TensorFlow's fused batch norm, by given statistics or the batch's."""
    mean, variance = statistics or (tf.zeros((0,)), tf.zeros((0,)))
    return tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=scale,
        offset=offset,
        mean=mean,
        variance=variance,
        epsilon=EPSILON,
        exponential_avg_factor=1.0,
        is_training=statistics is None,
    )


def statistics_of_first(count: Tensor) -> Normalize:
    """Returns a batch norm whose statistics are those of the first images alone.

    The rest of the batch is normalised as it would be by moving statistics that were
    taken from those images.
    """

    def normalize(x: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
        return normalized_by(x, moments(x[:count]), scale, offset)

    return normalize


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns mean and variance of channels, `[C]` each, of x `[B, H, W, C]`.

    The fused batch norm is the quickest to tell them.
    """
    channels = tf.shape(x)[-1]
    seen = _batch_norm(x, tf.ones(channels), tf.zeros(channels))
    # Its variance divides by one less than the values that there are.
    values = tf.cast(tf.size(x) / channels, x.dtype)
    return seen.batch_mean, seen.batch_variance * (values - 1) / values


def normalized_by(
    x: Tensor, statistics: tuple[Tensor, Tensor], scale: Tensor, offset: Tensor
) -> Tensor:
    """Returns `scale * (x - mean) / sqrt(variance + epsilon) + offset`."""
    return _batch_norm(x, scale, offset, statistics).y
