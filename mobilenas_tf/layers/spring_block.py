"""The spring block: an operation and channel counts that are tensors, from one step on.

Every kernel is as large as the widest network's; a step computes with its first
channels, so that it costs what the sampled network costs, and no count is part of the
graph.

Source: Shen et al., BS-NAS, arXiv:2003.09821 (abstract: "a spring block enabling search
for numbers of channels during training of the supernet"); slices by prefix: Yu et al.,
Slimmable neural networks, arXiv:1812.08928, section 3. Differs: a reconstruction, the
paper's own block is not public.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from mobilenas_tf.layers.convolutions import depthwise_convolution

Tensor = Any
# (x [B, H, W, C], scale [C], offset [C]) -> x normalised
Normalize = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclasses.dataclass(frozen=True)
class BlockKind:
    """One operation of a place; without a kernel it is the identity.

    Attributes:
        kernel_size: Of the depthwise convolution, None for the identity.
        hidden_channels: Its largest width.
    """

    kernel_size: int | None
    hidden_channels: int = 0


class SpringBlock(keras.layers.Layer):
    """One place of a one-shot supernet.

    The identity of a first place, whose input has other channels, is a 1x1 convolution
    with the stride.
    """

    def __init__(
        self,
        kinds: Sequence[BlockKind],
        *,
        in_channels: int,
        out_channels: int,
        stride: int,
        is_first: bool,
        activation: Callable[[Tensor], Tensor],
        has_shared_kernels: bool,
        **kwargs,
    ):
        """Creates the block.

        Args:
            kinds: The operations.
            in_channels: Largest width of the input.
            out_channels: Largest width of the output.
            stride: Of the depthwise convolutions.
            is_first: Whether it is the first place of a stage, without residual.
            activation: Behind expansion and depthwise convolution.
            has_shared_kernels: Whether all operations use slices of the same kernels.
            **kwargs: `name`.
        """
        super().__init__(**kwargs)
        self.kinds = tuple(kinds)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.stride = stride
        self.is_first = is_first
        self.activation = activation
        self.has_shared_kernels = has_shared_kernels

    def build(self, input_shape=None):
        """Creates kernels and scales of all operations."""
        self.kernels: dict[str, keras.Variable] = {}
        self.norms: dict[str, tuple[keras.Variable, keras.Variable]] = {}
        blocks = [kind for kind in self.kinds if kind.kernel_size is not None]
        if blocks and self.has_shared_kernels:
            widest = BlockKind(
                max(kind.kernel_size or 0 for kind in blocks),
                max(kind.hidden_channels for kind in blocks),
            )
            self._add_kernels("shared", widest)
        for index, kind in enumerate(self.kinds):
            if kind.kernel_size is None:
                if self.is_first:
                    shape = (self.in_channels, self.out_channels)
                    self._add_kernel(f"{index}.skip", shape)
                    self._add_norm(f"{index}.skip", self.out_channels)
                continue
            if not self.has_shared_kernels:
                self._add_kernels(str(index), kind)
            self._add_norm(f"{index}.expand", kind.hidden_channels)
            self._add_norm(f"{index}.depthwise", kind.hidden_channels)
            self._add_norm(f"{index}.project", self.out_channels)

    def _add_kernels(self, owner: str, kind: BlockKind) -> None:
        size, hidden = kind.kernel_size or 1, kind.hidden_channels
        self._add_kernel(f"{owner}.expand", (self.in_channels, hidden))
        self._add_kernel(f"{owner}.depthwise", (size, size, hidden, 1))
        self._add_kernel(f"{owner}.project", (hidden, self.out_channels))

    def _add_kernel(self, role: str, shape: tuple[int, ...]) -> None:
        self.kernels[role] = self.add_weight(
            name=f"{role}.kernel", shape=shape, initializer="he_normal"
        )

    def _add_norm(self, role: str, channels: int) -> None:
        self.norms[role] = tuple(
            self.add_weight(
                name=f"{role}.{name}", shape=(channels,), initializer=initializer
            )
            for name, initializer in (("gamma", "ones"), ("beta", "zeros"))
        )

    def call(self, inputs, kind, hidden_channels, out_channels, *, normalize):
        """Returns `[B, H', W', out_channels]`.

        Args:
            inputs: `[B, H, W, C]`, H and W known, C at most `in_channels`.
            kind: `[]`, index of the operation.
            hidden_channels: `[]`, channels of the depthwise convolution.
            out_channels: `[]`.
            normalize: Batch norm by whatever statistics.
        """
        branches = [
            lambda x, index=index: self._run(
                index, x, hidden_channels, out_channels, normalize
            )
            for index in range(len(self.kinds))
        ]
        if len(branches) == 1:
            return branches[0](inputs)
        return ops.switch(kind, branches, inputs)

    def _run(self, index, x, hidden, out, normalize):
        size = self.kinds[index].kernel_size
        if size is None:
            if not self.is_first:
                return x
            strided = x[:, :: self.stride, :: self.stride]
            (kernel,) = self.kernels_of(index)
            y = pointwise(strided, kernel, out)
            return self._normalized(f"{index}.skip", y, out, normalize)
        expand, depthwise, project = self.kernels_of(index)
        y = pointwise(x, expand, hidden)
        y = self.activation(self._normalized(f"{index}.expand", y, hidden, normalize))
        y = depthwise_convolution(y, depthwise[:, :, :hidden], self.stride)
        role = f"{index}.depthwise"
        y = self.activation(self._normalized(role, y, hidden, normalize))
        y = pointwise(y, project, out)
        y = self._normalized(f"{index}.project", y, out, normalize)
        return y if self.is_first else x + y

    def kernels_of(
        self, index: int, kernels: Mapping[str, Any] | None = None
    ) -> tuple[Tensor, ...]:
        """Returns the kernels of an operation in order of use, as wide as they are.

        Args:
            index: Of the operation.
            kernels: To take them from instead of the variables, by the same names.
        """
        kernels = self.kernels if kernels is None else kernels
        size = self.kinds[index].kernel_size
        if size is None:
            return (kernels[f"{index}.skip"],) if self.is_first else ()
        owner = "shared" if self.has_shared_kernels else str(index)
        depthwise = kernels[f"{owner}.depthwise"]
        start = (depthwise.shape[0] - size) // 2
        return (
            kernels[f"{owner}.expand"],
            depthwise[start : start + size, start : start + size],
            kernels[f"{owner}.project"],
        )

    def _normalized(self, role, x, channels, normalize):
        gamma, beta = self.norms[role]
        return normalize(x, gamma[:channels], beta[:channels])


def pointwise(x, kernel, out_channels):
    """Returns a 1x1 convolution by the first channels of a kernel.

    Args:
        x: `[B, H, W, C]`, H and W known.
        kernel: `[C_max, F_max]`.
        out_channels: `[]`, how many of the F_max.

    Returns:
        `[B, H, W, out_channels]`.
    """
    _, height, width, _ = x.shape
    channels = ops.shape(x)[-1]
    product = ops.matmul(
        ops.reshape(x, (-1, channels)), kernel[:channels, :out_channels]
    )
    return ops.reshape(product, (-1, height, width, out_channels))
