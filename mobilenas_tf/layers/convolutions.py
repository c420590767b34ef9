"""Convolutions that train faster on a CPU than the stock layers.

Other kernels do the same arithmetic, with the same weights. Converters are given the
stock layers.
"""

from __future__ import annotations

import keras
from keras import ops

# Up to this kernel size TensorFlow's SAME filter gradient is the quicker one.
_LARGEST_QUICK_KERNEL = 3


class PointwiseConvolution(keras.layers.Conv2D):
    """`keras.layers.Conv2D` whose 1x1 case trains as a matrix product.

    With strides or a larger kernel it is the stock layer. With groups it is a product
    at inference too: on a CPU Keras leaves grouped convolutions to XLA, which is many
    times slower.
    """

    def call(self, inputs, training=None):
        """Returns `[B, H, W, filters]` for inputs `[B, H, W, C]`."""
        is_product = self.kernel_size == self.strides == (1, 1)
        if not (is_product and (training or self.groups > 1)):
            return super().call(inputs)
        outputs = pointwise_product(inputs, self.kernel, groups=self.groups)
        if self.use_bias:
            outputs = outputs + self.bias
        return self.activation(outputs)


class DepthwiseConvolution(keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D` with cheaper gradients on TensorFlow.

    The gradient of the input is, at stride 1, itself a depthwise convolution with the
    turned kernel. That of a large kernel is taken from the operator for explicit
    padding, which is several times as quick as the one for SAME.
    """

    def call(self, inputs, training=None):
        """Returns `[B, H', W', C]` for inputs `[B, H, W, C]`."""
        is_plain = (
            self.depth_multiplier == 1
            and self.padding == "same"
            and self.dilation_rate == (1, 1)
            and not self.use_bias
            and None not in inputs.shape[1:3]
        )
        if not (training and is_plain) or keras.backend.backend() != "tensorflow":
            return super().call(inputs)
        return self.activation(
            depthwise_convolution(inputs, self.kernel, self.strides[0])
        )


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
            filter_sizes=w.shape,
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
