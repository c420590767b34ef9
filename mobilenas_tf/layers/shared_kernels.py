"""Kernels that several candidates share: each takes a slice of the largest.

Source: prefixes of channels and centres of depthwise kernels as in Cai et al.,
Once-for-all, arXiv:1908.09791, section 3.3. Differs: there is no learned transformation
between kernel sizes, and each candidate has batch norms of its own.
"""

from __future__ import annotations

import keras

from mobilenas_tf.layers.convolutions import (
    depthwise_convolution,
    kernel_quantizer,
    pointwise_product,
    rounded_kernel,
)


class SlicedPointwise(keras.layers.Layer):
    """A 1x1 convolution by the first channels of a shared kernel, without bias."""

    def __init__(
        self,
        source,
        filters: int,
        *,
        groups: int = 1,
        weight_bits: int | None = None,
        **kwargs,
    ):
        """Creates the layer.

        Args:
            source: `() -> [1, 1, C_max / groups, F_max]`, the shared kernel.
            filters: Output channels, at most F_max.
            groups: Of channels that do not mix.
            weight_bits: Of the rounded slice, which has a step of its own; None does
                not round.
            **kwargs: `name`.
        """
        super().__init__(**kwargs)
        self.source = source
        self.filters = filters
        self.groups = groups
        self.weight_bits = weight_bits
        self.kernel_quantizer = kernel_quantizer(self)

    def build(self, input_shape):
        """Notes how many input channels there are, and creates the slice's step."""
        self.in_channels = input_shape[-1]
        if self.kernel_quantizer is not None:
            self.kernel_quantizer.build(self.kernel.shape)

    @property
    def kernel(self):
        """The slice, `[1, 1, C / groups, filters]`."""
        return self.source()[:, :, : self.in_channels // self.groups, : self.filters]

    def call(self, inputs, training=None):
        """Returns `[B, H, W, filters]` for inputs `[B, H, W, C]`."""
        kernel = rounded_kernel(self.kernel, self.kernel_quantizer, training)
        return pointwise_product(inputs, kernel, groups=self.groups)

    def compute_output_shape(self, input_shape):
        """Returns the input's shape with `filters` channels."""
        return (*input_shape[:-1], self.filters)


class SlicedDepthwise(keras.layers.Layer):
    """A depthwise convolution by the centre and first channels of a shared kernel."""

    def __init__(
        self,
        source,
        kernel_size: int,
        strides: int = 1,
        *,
        weight_bits: int | None = None,
        **kwargs,
    ):
        """Creates the layer.

        Args:
            source: `() -> [k_max, k_max, C_max, 1]`, the shared kernel.
            kernel_size: Of the slice; its centre is that of the shared kernel.
            strides: Of both axes.
            weight_bits: As of `SlicedPointwise`.
            **kwargs: `name`.
        """
        super().__init__(**kwargs)
        self.source = source
        self.kernel_size = kernel_size
        self.strides = strides
        self.weight_bits = weight_bits
        self.kernel_quantizer = kernel_quantizer(self)

    def build(self, input_shape):
        """Notes how many input channels there are, and creates the slice's step."""
        self.in_channels = input_shape[-1]
        if self.kernel_quantizer is not None:
            self.kernel_quantizer.build(self.kernel.shape)

    @property
    def kernel(self):
        """The slice, `[k, k, C, 1]`."""
        whole = self.source()
        start = (whole.shape[0] - self.kernel_size) // 2
        end = start + self.kernel_size
        return whole[start:end, start:end, : self.in_channels]

    def call(self, inputs, training=None):
        """Returns `[B, H', W', C]` for inputs `[B, H, W, C]`."""
        kernel = rounded_kernel(self.kernel, self.kernel_quantizer, training)
        return depthwise_convolution(inputs, kernel, self.strides)

    def compute_output_shape(self, input_shape):
        """Returns the shape behind SAME padding."""
        batch, height, width, channels = input_shape
        sizes = (-(-size // self.strides) for size in (height, width))
        return (batch, *sizes, channels)


class KernelStore(keras.layers.Layer):
    """Owns the kernels that the candidates of a place share, each as large as needed.

    `pointwise` and `depthwise` stand where a `LayerSet` has its convolutions; what a
    layer does in its block is the last but one part of its name. Kernels are made as
    candidates are built, the largest first.
    """

    def __init__(self, **kwargs):
        """Creates an empty store."""
        super().__init__(**kwargs)
        self.kernels: dict[str, keras.Variable] = {}

    def build(self, input_shape=None):
        """Kernels are made when candidates are."""

    def reserve(self, role: str, shape: tuple[int, ...]) -> None:
        """Makes a kernel, or does nothing if there is one already.

        Args:
            role: Its name.
            shape: Of the largest slice, `[k, k, C / groups, F]` or `[k, k, C, 1]`.
        """
        if role not in self.kernels:
            self.kernels[role] = self.add_weight(
                name=role, shape=shape, initializer="glorot_uniform"
            )

    def pointwise(self, filters, _, *, groups, use_bias, name, weight_bits=None):
        """Returns a layer on a kernel that was reserved, for a `LayerSet`."""
        role = pointwise_role(name.split(".")[-2], groups)
        return SlicedPointwise(
            lambda: self.kernels[role],
            filters,
            groups=groups,
            weight_bits=weight_bits,
            name=name,
        )

    def depthwise(
        self, kernel_size, strides, *, padding, use_bias, name, weight_bits=None
    ):
        """Returns a layer on a kernel that was reserved, for a `LayerSet`."""
        return SlicedDepthwise(
            lambda: self.kernels["depthwise"],
            kernel_size,
            strides,
            weight_bits=weight_bits,
            name=name,
        )


def pointwise_role(role: str, groups: int) -> str:
    """Returns the name of a 1x1 kernel of a block: kernels of other groups differ."""
    return role if groups == 1 else f"{role}_g{groups}"
