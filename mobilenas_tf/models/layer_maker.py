"""Named layers, and the gates on them: what every step of building a network needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from mobilenas_tf.models.layer_set import Layer, LayerSet
from mobilenas_tf.spec import BitWidths

Tensor = Any
# (a tensor of the network, the batch norm that makes the channels) -> mask [C]
GateFunction = Callable[[Tensor, Layer | None], Tensor]


@dataclasses.dataclass(frozen=True)
class FeatureMap:
    """Activations `[B, H, W, C]`, and the mask `[C]` of their channels if gated."""

    x: Tensor
    mask: Tensor | None = None


@dataclasses.dataclass(frozen=True)
class LayerMaker:
    """Makes named layers; what every step of the walk needs.

    With `bit_widths` the convolutions round their kernels, and `rounded` rounds.
    """

    layer_set: LayerSet
    gates: Mapping[str, GateFunction]
    output_of: Mapping[str, str]
    batch_norm_momentum: float
    batch_norm_epsilon: float
    dropout_rate: float
    drop_path_rates: Mapping[str, float] = dataclasses.field(default_factory=dict)
    bit_widths: BitWidths | None = None

    def for_block(self, path: str, bit_widths: BitWidths | None) -> LayerMaker:
        """Returns the maker for a block of these bit widths.

        A layer set without quantisers is for int8 files, where the 8 bits of a block
        are those of the file. LiteRT has 4-bit weights beside 8-bit activations for
        CONV_2D and FULLY_CONNECTED, but for no depthwise convolution, which every block
        has, and no activations below 8 bits.

        Raises:
            ValueError: If such a set is to make a block of fewer bits.
        """
        if bit_widths is None or self.layer_set.quantizer is not None:
            return dataclasses.replace(self, bit_widths=bit_widths)
        if not bit_widths.is_int8:
            raise ValueError(
                f"bit widths of {path} must be w8a8, the only ones that the kernels of "
                "a .tflite execute, to be exported or timed. "
                f"Received: {bit_widths.label}"
            )
        return dataclasses.replace(self, bit_widths=None)

    @property
    def layers(self) -> Any:
        """The stock layers of the set's namespace."""
        return self.layer_set.keras.layers

    def mask(self, path: str, x: Tensor, norm: Layer | None = None) -> Tensor | None:
        """Returns the mask `[C]` of the gate at `path`, None where there is none."""
        return self.gates[path](x, norm) if path in self.gates else None

    def batch_norm(self, path: str, x: Tensor) -> Layer:
        """Returns the batch norm of x, built."""
        layer = self.layer_set.batch_normalization(
            momentum=self.batch_norm_momentum,
            epsilon=self.batch_norm_epsilon,
            name=layer_name(path, "bn"),
        )
        layer.build(x.shape)
        return layer

    def gated_norm(
        self, path: str, x: Tensor, group: str
    ) -> tuple[Tensor, Tensor | None]:
        """Returns x normalised and masked by its group's gate, and the mask."""
        norm = self.batch_norm(path, x)
        mask = self.mask(group, x, norm)
        return scaled(norm, x, mask), mask

    def activation(self, path: str, x: Tensor, kind: str) -> Tensor:
        """Returns x after an activation."""
        if kind == "linear":
            return x
        return self.layer_set.activations[kind](name=layer_name(path, kind))(x)

    def rounded(self, path: str, x: Tensor, *, is_signed: bool) -> Tensor:
        """Returns x, the input of a convolution, rounded to the block's bits."""
        make = self.layer_set.quantizer
        if self.bit_widths is None or make is None:
            return x
        name = layer_name(path, "quantizer")
        return make(self.bit_widths.activations, is_signed=is_signed, name=name)(x)

    def drop_path(self, path: str, x: Tensor) -> Tensor:
        """Returns x, of some images 0 while training: those skip the block at `path`.

        Source: Huang et al., Deep networks with stochastic depth, arXiv:1603.09382.
        Differs: an image is dropped, not a batch, and what is left is scaled while
        training (as EfficientNet's code does).
        """
        if not (rate := self.drop_path_rates.get(path, 0.0)):
            return x
        one_an_image = (None, 1, 1, 1)
        name = layer_name(path, "drop_path")
        return self.layers.Dropout(rate, noise_shape=one_an_image, name=name)(x)

    def _weight_bits(self) -> dict[str, int]:
        return (
            {} if self.bit_widths is None else {"weight_bits": self.bit_widths.weights}
        )

    def pointwise(self, path: str, x: Tensor, filters: int, groups: int = 1) -> Tensor:
        """Returns x after a 1x1 convolution without bias."""
        return self.pointwise_layer(path, filters, groups)(x)

    def depthwise(
        self,
        path: str,
        x: Tensor,
        kernel_size: int = 3,
        stride: int = 1,
        padding_px: int | None = None,
    ) -> Tensor:
        """Returns x after a depthwise convolution without bias.

        `padding_px` is what is put around x on every side; None is SAME.
        """
        layer = self.depthwise_layer(path, kernel_size, stride, padding_px is None)
        if padding_px:
            pad = self.layers.ZeroPadding2D(padding_px, name=layer_name(path, "pad"))
            x = pad(x)
        return layer(x)

    def pointwise_layer(self, path: str, filters: int, groups: int = 1) -> Layer:
        """Returns a 1x1 convolution without bias, perhaps for several tensors."""
        return self.layer_set.pointwise_convolution(
            filters,
            1,
            groups=groups,
            use_bias=False,
            name=layer_name(path, "conv"),
            **self._weight_bits(),
        )

    def depthwise_layer(
        self,
        path: str,
        kernel_size: int = 3,
        stride: int = 1,
        is_same: bool = True,
    ) -> Layer:
        """Returns a depthwise convolution without bias, perhaps for several tensors."""
        return self.layer_set.depthwise_convolution(
            kernel_size,
            stride,
            padding="same" if is_same else "valid",
            use_bias=False,
            name=layer_name(path, "conv"),
            **self._weight_bits(),
        )


def layer_name(*parts: str) -> str:
    """Returns the Keras name of a path; Keras forbids slashes in names."""
    return ".".join(parts).replace("/", ".")


def scaled(norm: Layer, x: Tensor, mask: Tensor | None) -> Tensor:
    """Returns x normalised, with scale and offset times the mask where there is one."""
    return norm(x) if mask is None else norm(x, channel_scale=mask)
