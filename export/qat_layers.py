"""Where a network rounds to int8 while it is trained, and how it finds its ranges.

The layers are wrapped by tfmot's `QuantizeWrapperV2`. What each of them quantises is
said here and not by tfmot's `quantize_apply`, of which the following was found in
version 0.8.1: one scale for all channels of a depthwise kernel (model-optimization
issue 808), none at all for the kernel of a convolution that is followed by ReLU without
batch norm, ranges that start at [-6, 6] and go on by 1/1000 a step, and no scale for
Multiply, Rescaling and activations other than ReLU's.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
import tf_keras

from export.config import WeightScales
from export.keras_twin import ChannelShuffle

Layer = Any

# They hand on their input's values, and in a `.tflite` file its scale with them.
_SAME_SCALE = (
    tf_keras.layers.AveragePooling2D,
    tf_keras.layers.MaxPooling2D,
    tf_keras.layers.Reshape,
    tf_keras.layers.UpSampling2D,
    tf_keras.layers.ZeroPadding2D,
    ChannelShuffle,
)
# They become part of the convolution or sum in front, whose own output is no tensor.
_FUSED = (tf_keras.layers.ReLU,)
# Least width of a range: that of a tensor which is always 0 must not be 0.
_LEAST_RANGE = 1e-2


@dataclasses.dataclass(frozen=True)
class KernelQuantizer:
    """Rounds a kernel to int8 with one scale for each output channel.

    Symmetric, in [-127, 127], as LiteRT's operators want it. The range is always that
    of the present weights, so that the converter, which sees the rounded kernel as a
    constant, finds the same scales. (It cannot follow the ranges of a FakeQuant through
    the reshaping of a depthwise or grouped kernel.) The gradient is passed on as if
    nothing were rounded. One of tfmot's quantisers by its methods.
    """

    channels: int

    def build(self, tensor_shape: Any, name: str, layer: Layer) -> dict[str, Any]:
        """Returns the quantiser's variables: none."""
        return {}

    def __call__(self, inputs: tf.Tensor, training: bool, weights: Any) -> tf.Tensor:
        """Returns a kernel of any rank, rounded."""
        rows = tf.reshape(inputs, (-1, self.channels))
        limit = tf.maximum(tf.reduce_max(tf.abs(rows), axis=0), _LEAST_RANGE)
        scale = limit / 127.0
        rounded = tf.reshape(tf.round(rows / scale) * scale, inputs.shape)
        return inputs + tf.stop_gradient(rounded - inputs) if training else rounded


@dataclasses.dataclass(frozen=True)
class TensorQuantizer:
    """Rounds a kernel to int8 with one scale for all of it.

    As `KernelQuantizer`, but by a FakeQuant, since the converter otherwise gives the
    constants of a quantisation-aware network a scale for each channel, whatever it is
    told. (One range for all survives the reshaping of kernels.)
    """

    def build(self, tensor_shape: Any, name: str, layer: Layer) -> dict[str, Any]:
        """Returns the quantiser's variables: none."""
        return {}

    def __call__(self, inputs: tf.Tensor, training: bool, weights: Any) -> tf.Tensor:
        """Returns a kernel of any rank, rounded."""
        limit = tf.maximum(tf.reduce_max(tf.abs(inputs)), _LEAST_RANGE)
        rounded = tf.quantization.fake_quant_with_min_max_vars(
            inputs, -limit, limit, narrow_range=True
        )
        return inputs + tf.stop_gradient(rounded - inputs) if training else rounded


@dataclasses.dataclass(frozen=True)
class RangeQuantizer:
    """Rounds a tensor to int8 over the range that its values have.

    The range is a moving average of each batch's least and largest value, that of the
    first batches their plain mean, and holds 0. One of tfmot's quantisers by its
    methods.

    Attributes:
        decay: Share of the range that a step keeps.
    """

    decay: float

    def build(self, tensor_shape: Any, name: str, layer: Layer) -> dict[str, Any]:
        """Returns the variables of the range, made by the layer."""
        return {
            part: layer.add_weight(
                f"{name}_{part}", shape=(), initializer="zeros", trainable=False
            )
            for part in ("low", "high", "steps")
        }

    def __call__(self, inputs: tf.Tensor, training: bool, weights: Any) -> tf.Tensor:
        """Returns the tensor rounded, once training has moved the range."""
        low, high, steps = weights["low"], weights["high"], weights["steps"]
        if training:
            kept = tf.minimum(self.decay, steps / (steps + 1.0))
            least = tf.minimum(tf.reduce_min(inputs), 0.0)
            largest = tf.maximum(tf.reduce_max(inputs), 0.0)
            largest = tf.maximum(largest, least + _LEAST_RANGE)
            low.assign(kept * low + (1.0 - kept) * least)
            high.assign(kept * high + (1.0 - kept) * largest)
            steps.assign_add(1.0)
        return tf.quantization.fake_quant_with_min_max_vars(inputs, low, high)


@dataclasses.dataclass(frozen=True)
class LayerQuantization:
    """What of a layer is rounded: a `QuantizeConfig` of tfmot's by its methods.

    Not by inheritance, as tfmot is not to be imported with this module.

    Attributes:
        kernel: The quantiser of its kernel, None for a layer without one.
        output: The quantiser of its output, None where that is no tensor of the file
            or has another's scale.
    """

    kernel: KernelQuantizer | TensorQuantizer | None
    output: Any

    def get_weights_and_quantizers(self, layer: Layer) -> list[tuple[Any, Any]]:
        """Returns the kernel and its quantiser."""
        if self.kernel is None:
            return []
        return [(getattr(layer, _kernel_name(layer)), self.kernel)]

    def set_quantize_weights(self, layer: Layer, quantize_weights: Any) -> None:
        """Gives the layer its rounded kernel."""
        for kernel in quantize_weights:
            setattr(layer, _kernel_name(layer), kernel)

    def get_activations_and_quantizers(self, layer: Layer) -> list[tuple[Any, Any]]:
        """Returns nothing: activations are layers of their own."""
        return []

    def set_quantize_activations(self, layer: Layer, quantize_activations: Any) -> None:
        """Does nothing, as there are none."""
        return None

    def get_output_quantizers(self, layer: Layer) -> list[Any]:
        """Returns the output's quantiser."""
        return [] if self.output is None else [self.output]


def quantization_aware(
    folded: tf_keras.Model,
    *,
    range_decay: float,
    weight_scales: WeightScales = "channel",
) -> tf_keras.Model:
    """Returns the network with every kernel and tensor of its int8 file rounded.

    With `training` the rounding finds its ranges: one such call must come before the
    first without. The image's range is [-1, 1] throughout, so that an app may feed raw
    pixels.

    Args:
        folded: From `fold_batch_norms`. Its layers become the returned network's, so
            that it can be used no more.
        range_decay: Share of an activation's range that a step keeps.
        weight_scales: One scale for each output channel of a kernel, or for all of it.
    """
    tfmot = import_tfmot()

    def fixed(low: float, high: float) -> Any:
        return tfmot.quantizers.FixedQuantizer(
            num_bits=8, init_min=low, init_max=high, narrow_range=False
        )

    def output_quantizer(layer: Layer) -> Any:
        if layer.name == "pixels":
            return fixed(-1.0, 1.0)
        if _is_sigmoid(layer):
            return fixed(0.0, 255 / 256)  # LiteRT's LOGISTIC has no other scale
        return RangeQuantizer(range_decay) if _has_range(layer) else None

    # All of it before the first layer is wrapped, and thereby called once more.
    quantizations = {
        layer.name: LayerQuantization(
            _kernel_quantizer(layer, weight_scales), output_quantizer(layer)
        )
        for layer in folded.layers
    }
    return tf_keras.models.clone_model(
        folded,
        clone_function=lambda layer: tfmot.QuantizeWrapperV2(
            layer, quantizations[layer.name]
        ),
    )


def _kernel_quantizer(
    layer: Layer, weight_scales: WeightScales
) -> KernelQuantizer | TensorQuantizer | None:
    has_kernel = isinstance(
        layer,
        (
            tf_keras.layers.Conv2D,
            tf_keras.layers.DepthwiseConv2D,
            tf_keras.layers.Dense,
        ),
    )
    if not has_kernel:
        return None
    if weight_scales == "tensor":
        return TensorQuantizer()
    if not layer.trainable:
        return None  # a constant, which the converter gives such scales by itself
    is_depthwise = isinstance(layer, tf_keras.layers.DepthwiseConv2D)
    axis = 2 if is_depthwise else -1
    return KernelQuantizer(getattr(layer, _kernel_name(layer)).shape[axis])


def _kernel_name(layer: Layer) -> str:
    is_depthwise = isinstance(layer, tf_keras.layers.DepthwiseConv2D)
    return "depthwise_kernel" if is_depthwise else "kernel"


def _is_sigmoid(layer: Layer) -> bool:
    is_activation = isinstance(layer, tf_keras.layers.Activation)
    return is_activation and layer.activation is tf_keras.activations.sigmoid


def _has_range(layer: Layer) -> bool:
    """Returns whether a layer's output is a tensor of the file with its own scale."""
    if isinstance(layer, _SAME_SCALE):
        return False
    followers = list(_followers(layer))
    is_fused = bool(followers) and all(isinstance(x, _FUSED) for x in followers)
    # What is only put side by side has the scale of the whole.
    is_part = bool(followers) and all(
        isinstance(x, tf_keras.layers.Concatenate) for x in followers
    )
    return not (is_fused or is_part)


def _followers(layer: Layer) -> Iterator[Layer]:
    """Yields the layers that take a layer's output, past those of the same scale."""
    for node in layer.outbound_nodes:
        if isinstance(node.layer, _SAME_SCALE):
            yield from _followers(node.layer)
        else:
            yield node.layer


def import_tfmot() -> Any:
    """Returns tfmot's `quantization.keras`, imported without its side effects.

    tfmot sets TF_USE_LEGACY_KERAS, by which whoever looks at `tf.keras` for the first
    time from then on (keras_cv, for one) gets tf_keras instead of Keras 3.
    """
    name = "TF_USE_LEGACY_KERAS"
    before = os.environ.get(name)
    tf.keras.version()  # decides which Keras `tf.keras` is, while the variable says so
    try:
        import tensorflow_model_optimization as tfmot
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before
    return tfmot.quantization.keras
