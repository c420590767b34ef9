"""Slow NumPy versions of the layers and of a whole network, written from the papers.

All in float64, channels last; loops over positions and channels in place of kernels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mobilenas_tf.spec import (
    Architecture,
    BitWidths,
    Convolution,
    InvertedResidual,
    Pooling,
    SqueezeExcite,
)

# Weights in Keras' order by layer name.
Weights = Mapping[str, Sequence[np.ndarray]]


def patches(images: np.ndarray, kernel_size: int, stride: int, fill: float = 0.0):
    """Yields `(row, column, patch [B, k, k, C])` of SAME padding.

    TensorFlow pads `max((ceil(n / s) - 1) s + k - n, 0)` in all, the odd one behind.
    """
    _, height, width, _ = images.shape
    borders = []
    for size in (height, width):
        total = max((-(-size // stride) - 1) * stride + kernel_size - size, 0)
        borders.append((total // 2, total - total // 2))
    padded = np.pad(images, ((0, 0), *borders, (0, 0)), constant_values=fill)
    for row in range(-(-height // stride)):
        for column in range(-(-width // stride)):
            y, x = row * stride, column * stride
            yield row, column, padded[:, y : y + kernel_size, x : x + kernel_size]


def _empty(images: np.ndarray, stride: int, channels: int) -> np.ndarray:
    batch, height, width, _ = images.shape
    return np.empty((batch, -(-height // stride), -(-width // stride), channels))


def convolution(
    images: np.ndarray, kernel: np.ndarray, stride: int = 1, groups: int = 1
) -> np.ndarray:
    """`kernel`: `[k, k, C_in / groups, C_out]`; group g of inputs makes group g."""
    kernel_size, _, group_inputs, filters = kernel.shape
    out = _empty(images, stride, filters)
    for row, column, patch in patches(images, kernel_size, stride):
        for channel in range(filters):
            first = channel // (filters // groups) * group_inputs
            seen = patch[..., first : first + group_inputs]
            out[:, row, column, channel] = np.sum(
                seen * kernel[..., channel], axis=(1, 2, 3)
            )
    return out


def depthwise(
    images: np.ndarray,
    kernel: np.ndarray,
    stride: int,
    padding_px: int | None = None,
) -> np.ndarray:
    """`kernel`: `[k, k, C, 1]`; `padding_px` on every side, None is SAME."""
    if padding_px is not None:
        return _padded_depthwise(images, kernel, stride, padding_px)
    out = _empty(images, stride, images.shape[-1])
    for row, column, patch in patches(images, kernel.shape[0], stride):
        out[:, row, column] = np.sum(patch * kernel[..., 0], axis=(1, 2))
    return out


def _padded_depthwise(
    images: np.ndarray, kernel: np.ndarray, stride: int, padding_px: int
) -> np.ndarray:
    border = (padding_px, padding_px)
    padded = np.pad(images, ((0, 0), border, border, (0, 0)))
    size = kernel.shape[0]
    starts = range(0, padded.shape[1] - size + 1, stride)
    rows = [
        [
            np.sum(padded[:, y : y + size, x : x + size] * kernel[..., 0], axis=(1, 2))
            for x in starts
        ]
        for y in starts
    ]
    return np.stack([np.stack(row, axis=1) for row in rows], axis=1)


def max_pooling(images: np.ndarray, kernel_size: int, stride: int) -> np.ndarray:
    out = _empty(images, stride, images.shape[-1])
    for row, column, patch in patches(images, kernel_size, stride, fill=-np.inf):
        out[:, row, column] = patch.max(axis=(1, 2))
    return out


def average_pooling(images: np.ndarray, kernel_size: int, stride: int) -> np.ndarray:
    """The border is not counted."""
    out = _empty(images, stride, images.shape[-1])
    for row, column, patch in patches(images, kernel_size, stride, fill=np.nan):
        out[:, row, column] = np.nanmean(patch, axis=(1, 2))
    return out


def batch_norm(
    images: np.ndarray, weights: Sequence[np.ndarray], epsilon: float
) -> np.ndarray:
    """`weights`: scale, offset, mean and variance, `[C]` each."""
    scale, offset, mean, variance = weights
    return (images - mean) / np.sqrt(variance + epsilon) * scale + offset


def activate(x: np.ndarray, kind: str) -> np.ndarray:
    relu6 = np.clip(x, 0, 6)
    return {
        "linear": x,
        "relu": np.maximum(x, 0),
        "relu6": relu6,
        "hard_swish": x * np.clip(x + 3, 0, 6) / 6,
        "hard_sigmoid": np.clip(x + 3, 0, 6) / 6,
        "swish": x / (1 + np.exp(-x)),
        "sigmoid": 1 / (1 + np.exp(-x)),
    }[kind]


def channel_shuffle(images: np.ndarray, groups: int) -> np.ndarray:
    """Channel `g * (C / G) + i` goes to `i * G + g`."""
    shuffled = np.empty_like(images)
    group_size = images.shape[-1] // groups
    for group in range(groups):
        for index in range(group_size):
            source, target = group * group_size + index, index * groups + group
            shuffled[..., target] = images[..., source]
    return shuffled


def squeeze_excite(
    images: np.ndarray, spec: SqueezeExcite, name: str, weights: Weights
) -> np.ndarray:
    reduce_kernel, reduce_bias = weights[f"{name}.reduce"]
    expand_kernel, expand_bias = weights[f"{name}.expand"]
    s = images.mean(axis=(1, 2)) @ reduce_kernel[0, 0] + reduce_bias
    s = activate(s, spec.activation) @ expand_kernel[0, 0] + expand_bias
    return images * activate(s, spec.gate)[:, None, None, :]


def round_to(x: np.ndarray, step: np.ndarray, bits: int, is_signed: bool) -> np.ndarray:
    """Integers of that many bits times a step."""
    levels = 2**bits
    lowest = -levels // 2 if is_signed else 0
    return np.clip(np.round(x / step), lowest, lowest + levels - 1) * step


def round_inputs(
    x: np.ndarray,
    widths: BitWidths | None,
    path: str,
    weights: Weights,
    is_signed: bool,
) -> np.ndarray:
    if widths is None:
        return x
    return round_to(x, *weights[f"{path}.quantizer"], widths.activations, is_signed)


def convolution_kernel(
    widths: BitWidths | None, path: str, weights: Weights
) -> np.ndarray:
    if widths is None:
        return weights[f"{path}.conv"][0]
    return round_to(*weights[f"{path}.conv"], widths.weights, is_signed=True)


def inverted_residual(
    images: np.ndarray,
    block: InvertedResidual,
    name: str,
    weights: Weights,
    epsilon: float,
) -> np.ndarray:
    def norm(x: np.ndarray, path: str) -> np.ndarray:
        return batch_norm(x, weights[f"{path}.bn"], epsilon)

    widths, is_signed = block.bit_widths, block.activation not in ("relu", "relu6")
    is_input_signed = widths is None or widths.is_input_signed
    inputs = round_inputs(images, widths, f"{name}.input", weights, is_input_signed)
    served = []
    for branch in block.branches:
        kernel = f"{name}.kernel{branch.kernel_size}"
        x = inputs
        if block.has_expansion:
            expand = convolution_kernel(widths, f"{kernel}.expand", weights)
            x = convolution(x, expand, groups=block.expansion_groups)
            x = activate(norm(x, f"{kernel}.expand"), block.activation)
        if block.has_shuffle:
            groups = max(block.expansion_groups, block.projection_groups)
            x = channel_shuffle(x, groups)
        path = f"{kernel}.depthwise"
        if block.has_expansion:
            x = round_inputs(x, widths, path, weights, is_signed)
        filters = convolution_kernel(widths, path, weights)
        x = depthwise(x, filters, block.stride, block.padding_px)
        served.append(activate(norm(x, f"{kernel}.depthwise"), block.activation))
    x = np.concatenate(served, axis=-1)
    if block.squeeze_excite is not None:
        x = squeeze_excite(x, block.squeeze_excite, f"{name}.squeeze_excite", weights)
    x = round_inputs(x, widths, f"{name}.project", weights, is_signed)
    project = convolution_kernel(widths, f"{name}.project", weights)
    x = convolution(x, project, groups=block.projection_groups)
    x = norm(x, f"{name}.project")
    return x + images if block.has_residual else x


def run_network(
    architecture: Architecture, weights: Weights, images: np.ndarray
) -> np.ndarray:
    """Returns logits `[B, K]` of images `[B, H, W, 3]` in [-1, 1]."""
    epsilon = architecture.batch_norm_epsilon
    x = images.astype(np.float64)
    if architecture.input_normalization == "imagenet":
        mean, stddev = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
        x = ((x + 1) / 2 - mean) / stddev

    def plain(x: np.ndarray, block: Convolution, name: str) -> np.ndarray:
        x = convolution(x, weights[f"{name}.conv"][0], block.stride)
        x = batch_norm(x, weights[f"{name}.bn"], epsilon)
        return activate(x, block.activation)

    x = plain(x, architecture.stem, "stem")
    for stage_number, stage in enumerate(architecture.stages, start=1):
        for block_number, block in enumerate(stage.blocks):
            name = f"stage{stage_number}.block{block_number}"
            if isinstance(block, InvertedResidual):
                x = inverted_residual(x, block, name, weights, epsilon)
            elif isinstance(block, Pooling):
                pool = {"max": max_pooling, "average": average_pooling}[block.kind]
                x = pool(x, block.kernel_size, block.stride)
            else:
                x = plain(x, block, name)
    head = architecture.head
    if head.conv_channels is not None:
        last = Convolution(head.conv_channels, 1, 1, head.activation)
        x = plain(x, last, "head")
    x = x.mean(axis=(1, 2))
    if head.hidden_channels is not None:
        kernel, *bias = weights["head.hidden"]
        x = activate(x @ kernel + sum(bias), head.activation)
    kernel, bias = weights["head.classifier"]
    return x @ kernel + bias
