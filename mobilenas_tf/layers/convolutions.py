"""Convolutions that train faster on a CPU than the stock layers.

Other kernels do the same arithmetic, with the same weights. Converters are given the
stock layers. With `weight_bits` a layer computes with a rounded kernel, of one step: a
depthwise kernel has 9 weights a channel, too few to learn a step from (of steps for
every channel one in five changed its sign), and the batch norm behind levels channels.
"""

from __future__ import annotations

import keras
from keras import ops

from mobilenas_tf.layers.quantizers import StepQuantizer

# Up to this kernel size TensorFlow's SAME filter gradient is the quicker one.
_LARGEST_QUICK_KERNEL = 3


class PointwiseConvolution(keras.layers.Conv2D):
    """`keras.layers.Conv2D` whose 1x1 case trains as a matrix product.

    With strides or a larger kernel it is the stock layer. With groups it is a product
    at inference too: on a CPU Keras leaves grouped convolutions to XLA, which is many
    times slower.
    """

    def __init__(self, *arguments, weight_bits: int | None = None, **kwargs):
        """Creates the layer.

        Args:
            *arguments: Of Conv2D.
            weight_bits: Of the rounded kernel; None does not round.
            **kwargs: Of Conv2D.
        """
        super().__init__(*arguments, **kwargs)
        self.weight_bits = weight_bits
        self.kernel_quantizer = kernel_quantizer(self)

    def build(self, input_shape):
        """Creates kernel and bias, and the kernel's step."""
        super().build(input_shape)
        if self.kernel_quantizer is not None:
            self.kernel_quantizer.build(self.kernel.shape)

    def call(self, inputs, training=None):
        """Returns `[B, H, W, filters]` for inputs `[B, H, W, C]`."""
        is_product = self.kernel_size == self.strides == (1, 1)
        is_product = is_product and (training or self.groups > 1)
        if not is_product and self.kernel_quantizer is None:
            return super().call(inputs)
        kernel = rounded_kernel(self.kernel, self.kernel_quantizer, training)
        outputs = (
            pointwise_product(inputs, kernel, groups=self.groups)
            if is_product
            else self.convolution_op(inputs, kernel)
        )
        if self.use_bias:
            outputs = outputs + self.bias
        return self.activation(outputs)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "weight_bits": self.weight_bits}


class DepthwiseConvolution(keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D` with cheaper gradients on TensorFlow.

    The gradient of the input is, at stride 1, itself a depthwise convolution with the
    turned kernel. That of a large kernel is taken from the operator for explicit
    padding, which is several times as quick as the one for SAME.
    """

    def __init__(self, *arguments, weight_bits: int | None = None, **kwargs):
        """Creates the layer.

        Args:
            *arguments: Of DepthwiseConv2D.
            weight_bits: Of the rounded kernel; None does not round.
            **kwargs: Of DepthwiseConv2D.
        """
        super().__init__(*arguments, **kwargs)
        self.weight_bits = weight_bits
        self.kernel_quantizer = kernel_quantizer(self)

    def build(self, input_shape):
        """Creates kernel and bias, and the kernel's step."""
        super().build(input_shape)
        if self.kernel_quantizer is not None:
            self.kernel_quantizer.build(self.kernel.shape)

    def call(self, inputs, training=None):
        """Returns `[B, H', W', C]` for inputs `[B, H, W, C]`."""
        is_plain = (
            self.depth_multiplier == 1
            and self.padding == "same"
            and self.dilation_rate == (1, 1)
            and not self.use_bias
            and None not in inputs.shape[1:3]
        )
        is_ours = training and is_plain and keras.backend.backend() == "tensorflow"
        if not is_ours and self.kernel_quantizer is None:
            return super().call(inputs)
        kernel = rounded_kernel(self.kernel, self.kernel_quantizer, training)
        if is_ours:
            return self.activation(
                depthwise_convolution(inputs, kernel, self.strides[0])
            )
        outputs = ops.depthwise_conv(
            inputs,
            kernel,
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        if self.use_bias:
            outputs = outputs + self.bias
        return self.activation(outputs)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "weight_bits": self.weight_bits}


def kernel_quantizer(layer) -> StepQuantizer | None:
    """Returns what rounds a layer's kernel to its `weight_bits`, None for none."""
    if layer.weight_bits is None:
        return None
    return StepQuantizer(
        layer.weight_bits, has_batch_axis=False, dtype=layer.dtype_policy
    )


def rounded_kernel(kernel, quantizer: StepQuantizer | None, training):
    """Returns a kernel, rounded where there is a quantiser."""
    return kernel if quantizer is None else quantizer(kernel, training=training)


def same_padding(size_px: int, kernel_size: int, stride: int) -> tuple[int, int]:
    """Returns what SAME padding adds before and behind an axis."""
    total = max((-(-size_px // stride) - 1) * stride + kernel_size - size_px, 0)
    return total // 2, total - total // 2


def pointwise_product(inputs, kernel, *, groups=1):
    """Returns a 1x1 convolution as a matrix product.

    Args:
        inputs: `[B, H, W, C]`, all but B known.
        kernel: `[1, 1, C / groups, F]`.
        groups: Of channels that do not mix.

    Returns:
        `[B, H, W, F]`.
    """
    _, height, width, channels = inputs.shape
    filters = kernel.shape[-1]
    if groups == 1:
        kernel = ops.reshape(kernel, (channels, filters))
        outputs = ops.matmul(ops.reshape(inputs, (-1, channels)), kernel)
    else:
        sizes = (channels // groups, groups, filters // groups)
        grouped = ops.reshape(inputs, (-1, groups, sizes[0]))
        outputs = ops.einsum("ngc,cgo->ngo", grouped, ops.reshape(kernel, sizes))
    return ops.reshape(outputs, (-1, height, width, filters))


def depthwise_convolution(inputs, kernel, stride):
    """Returns a SAME-padded depthwise convolution with cheap gradients, on TensorFlow.

    Args:
        inputs: `[B, H, W, C]`, all but B known.
        kernel: `[k, k, C, 1]`.
        stride: Of both axes.

    Returns:
        `[B, H', W', C]`.
    """
    import tensorflow as tf  # only here: the layer falls back on other backends

    strides = [1, stride, stride, 1]
    kernel_size = kernel.shape[0]
    is_quick = kernel_size <= _LARGEST_QUICK_KERNEL
    pads = [same_padding(size, kernel_size, stride) for size in inputs.shape[1:3]]

    def input_gradient(x, w, upstream):
        if stride == 1 and kernel_size % 2:
            turned = tf.reverse(w, [0, 1])
            return tf.nn.depthwise_conv2d(upstream, turned, strides, "SAME")
        return tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
            input_sizes=tf.shape(x),
            filter=w,
            out_backprop=upstream,
            strides=strides,
            padding="SAME",
        )

    def kernel_gradient(x, w, upstream):
        return tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
            input=x,
            filter_sizes=tf.shape(w),
            out_backprop=upstream,
            strides=strides,
            padding="SAME" if is_quick else "EXPLICIT",
            explicit_paddings=[] if is_quick else [0, 0, *pads[0], *pads[1], 0, 0],
        )

    @tf.custom_gradient
    def convolve(x, w):
        def gradient(upstream):
            return input_gradient(x, w, upstream), kernel_gradient(x, w, upstream)

        return tf.nn.depthwise_conv2d(x, w, strides, "SAME"), gradient

    return convolve(inputs, tf.convert_to_tensor(kernel))
