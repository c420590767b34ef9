"""A tf_keras network without batch norms: each is part of the convolution before it.

That is what a `.tflite` file holds, and so what quantisation must be learnt on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tf_keras

from export.keras_twin import ShiftedRelu6

Layer = Any
Tensor = Any
Node = Any


def fold_batch_norms(network: tf_keras.Model) -> tf_keras.Model:
    """Returns a network of copied layers that computes what the network infers.

    With `scale = gamma / sqrt(variance + epsilon)` for each channel, the kernel is
    multiplied by the scale and the bias is `beta - mean * scale` (Jacob et al.,
    arXiv:1712.05877, section 3.2). A convolution that several batch norms share
    becomes a copy for each, as it does in a `.tflite` file. The rescaling of the input
    becomes a 1x1 depthwise convolution that is not trained: one operator, whose one
    weight a channel is exact in int8. The shift of a hard sigmoid becomes a part of the
    convolution before it. Behind the image stands the layer `pixels`, which does
    nothing: a place for the image's quantiser.

    Args:
        network: From `tf_keras_twin`; it is left as it is.

    Raises:
        ValueError: If a batch norm does not follow a convolution without bias.
    """
    nodes = [
        node
        for depth in sorted(network._nodes_by_depth, reverse=True)
        for node in network._nodes_by_depth[depth]
    ]
    normed = {id(node.keras_inputs[0]) for node in nodes if _is_batch_norm(node.layer)}
    convolutions: dict[int, Node] = {}
    tensors: dict[int, Tensor] = {}
    copies: dict[str, Layer] = {}
    for node in nodes:
        layer, output = node.layer, id(node.outputs)
        if node.is_input:
            image = tf_keras.Input(node.outputs.shape[1:], name=layer.name)
            pixels = tf_keras.layers.Activation("linear", name="pixels")
            tensors[output] = pixels(image)
        elif output in normed:
            convolutions[output] = node
        elif _is_batch_norm(layer):
            convolution = _convolution_before(node, convolutions)
            x = tensors[id(convolution.keras_inputs[0])]
            tensors[output] = _folded(convolution.layer, layer, x)
        elif isinstance(layer, ShiftedRelu6):
            (before,) = node.parent_nodes
            _shift(copies[before.layer.name])
            relu6 = tf_keras.layers.ReLU(6.0, name=layer.name)
            tensors[output] = relu6(tensors[id(node.keras_inputs[0])])
        else:
            inputs = [tensors[id(tensor)] for tensor in node.keras_inputs]
            tensors[output] = _called(layer, inputs, copies)
    outputs = network.output
    if isinstance(outputs, dict):
        outputs = {name: tensors[id(tensor)] for name, tensor in outputs.items()}
    else:
        outputs = tensors[id(outputs)]
    return tf_keras.Model(image, outputs, name=network.name)


def _is_batch_norm(layer: Layer) -> bool:
    return isinstance(layer, tf_keras.layers.BatchNormalization)


def _convolution_before(node: Node, convolutions: dict[int, Node]) -> Node:
    before = convolutions[id(node.keras_inputs[0])]
    kinds = (tf_keras.layers.Conv2D, tf_keras.layers.DepthwiseConv2D)
    if not isinstance(before.layer, kinds) or before.layer.use_bias:
        raise ValueError(
            "network must have a convolution without bias before each batch norm. "
            f"Received: {before.layer.name} before {node.layer.name}"
        )
    return before


def _folded(convolution: Layer, norm: Layer, x: Tensor) -> Tensor:
    """Returns x after the convolution with the batch norm in its weights."""
    (kernel,) = convolution.get_weights()
    gamma, beta, mean, variance = norm.get_weights()
    scale = gamma / np.sqrt(variance + norm.epsilon)
    is_depthwise = isinstance(convolution, tf_keras.layers.DepthwiseConv2D)
    kernel = kernel * (scale[:, None] if is_depthwise else scale)
    config = convolution.get_config() | {
        "use_bias": True,
        "name": norm.name.removesuffix(".bn") + ".conv",
    }
    folded = type(convolution).from_config(config)
    outputs = folded(x)
    folded.set_weights([kernel, beta - mean * scale])
    return outputs


def _shift(convolution: Layer) -> None:
    """Adds 3 to the bias of a convolution whose output a hard sigmoid clamps.

    The converter cannot do so itself: it rounds a constant that is the same for all
    channels, such as a 3 added behind the convolution, by the scale of the first one.
    So that the shifted biases are never all the same, one has a trifle more.
    """
    kernel, bias = convolution.get_weights()
    bias = bias + 3.0
    bias[0] += 1e-6
    convolution.set_weights([kernel, bias])


def _called(layer: Layer, inputs: list[Tensor], copies: dict[str, Layer]) -> Tensor:
    """Returns what the layer's copy makes of the inputs; one copy for all its calls."""
    if isinstance(layer, tf_keras.layers.Rescaling):
        return _rescaled(layer, inputs[0])
    is_new = layer.name not in copies
    if is_new:
        copies[layer.name] = type(layer).from_config(layer.get_config())
    copy = copies[layer.name]
    outputs = copy(inputs if len(inputs) > 1 else inputs[0])
    if is_new:
        copy.set_weights(layer.get_weights())
    return outputs


def _rescaled(layer: Layer, x: Tensor) -> Tensor:
    convolution = tf_keras.layers.DepthwiseConv2D(1, trainable=False, name=layer.name)
    outputs = convolution(x)
    scale = np.reshape(layer.scale, (1, 1, -1, 1))
    convolution.set_weights([scale, np.asarray(layer.offset)])
    return outputs
