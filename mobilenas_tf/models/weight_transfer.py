"""Weights of a compact network cut out of its supernet.

The compact network then computes what the supernet with hard gates computes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import keras
import numpy as np

from mobilenas_tf.models.compact import layer_name
from mobilenas_tf.models.derive import Selection
from mobilenas_tf.models.supernet import Supernet
from mobilenas_tf.spec import (
    Convolution,
    Head,
    InvertedResidual,
    Pooling,
    walk_blocks,
)
from mobilenas_tf.widths import kernel_path, output_groups, surviving_blocks

Indices = np.ndarray


@dataclasses.dataclass(frozen=True)
class _Cut:
    """Copies layers from one model to another, sliced to kept channels."""

    source: keras.Model
    target: keras.Model

    def copy(
        self,
        source_path: tuple[str, ...],
        target_path: tuple[str, ...],
        axes: Mapping[int, Indices],
        bias: Indices | None = None,
    ) -> None:
        """Copies kernel (sliced along `axes`) and bias of a convolution or dense."""
        source = self.source.get_layer(layer_name(*source_path))
        target = self.target.get_layer(layer_name(*target_path))
        kernel = np.asarray(source.kernel)
        for axis, kept in axes.items():
            kernel = np.take(kernel, kept, axis=axis)
        target.kernel.assign(kernel)
        if bias is not None and source.use_bias:
            target.bias.assign(np.asarray(source.bias)[bias])

    def copy_norm(
        self,
        source_path: str,
        target_path: str,
        kept: Indices,
        mask: np.ndarray | None = None,
    ) -> None:
        """Copies a batch norm; `mask` `[C]` scales scale and offset."""
        source = self.source.get_layer(layer_name(source_path, "bn"))
        target = self.target.get_layer(layer_name(target_path, "bn"))
        scale = np.ones(source.gamma.shape) if mask is None else mask
        target.gamma.assign((np.asarray(source.gamma) * scale)[kept])
        target.beta.assign((np.asarray(source.beta) * scale)[kept])
        target.moving_mean.assign(np.asarray(source.moving_mean)[kept])
        target.moving_variance.assign(np.asarray(source.moving_variance)[kept])


def transfer_weights(
    supernet: Supernet, selection: Selection, compact: keras.Model
) -> None:
    """Copies the kept channels' weights into the compact network.

    Args:
        supernet: The trained supernet.
        selection: Which channels stay.
        compact: `build_network(derived_architecture(space, selection))`.
    """
    whole = supernet.space.supernet
    cut = _Cut(supernet.model, compact)
    output_of = output_groups(whole)
    kept_indices = {path: np.flatnonzero(kept) for path, kept in selection.kept.items()}

    def kept(path: str, channels: int) -> Indices:
        return kept_indices.get(path, np.arange(channels))

    stem = whole.stem
    inputs = kept("stem/output", stem.out_channels)
    live = selection.masks.get("stem/output")
    cut.copy(("stem", "conv"), ("stem", "conv"), {3: inputs})
    cut.copy_norm("stem", "stem", inputs, live)
    target_of = {
        source: target
        for target, source in surviving_blocks(whole, selection.widths).items()
    }
    for path, block, _ in walk_blocks(whole):
        if isinstance(block, Pooling):
            continue
        outputs = kept(output_of[path], block.out_channels)
        written = selection.masks.get(f"{path}/output")
        if path in target_of:
            target = target_of[path]
            if isinstance(block, Convolution):
                names = (path, "conv"), (target, "conv")
                cut.copy(*names, {2: inputs, 3: outputs})
                cut.copy_norm(path, target, outputs, written)
            else:
                ends = (inputs, outputs)
                masks = (live, written)
                _copy_block(cut, (path, target), block, ends, masks, kept_indices)
        if isinstance(block, InvertedResidual) and block.has_residual:
            live = None if live is None or written is None else live | written
        else:
            live = written
        inputs = outputs
    head_mask = selection.masks.get("head/conv")
    _copy_head(cut, whole.head, inputs, kept, head_mask)


def _copy_block(
    cut: _Cut,
    source_target: tuple[str, str],
    block: InvertedResidual,
    in_out: tuple[Indices, Indices],
    live_written: tuple[np.ndarray | None, np.ndarray | None],
    kept_indices: Mapping[str, Indices],
) -> None:
    path, target = source_target
    inputs, outputs = in_out
    live, written = live_written
    expanded, offset = [], 0
    for branch in block.branches:
        source_kernel = kernel_path(path, branch.kernel_size)
        target_kernel = kernel_path(target, branch.kernel_size)
        default = np.arange(branch.channels) if block.has_expansion else inputs
        kept = kept_indices.get(source_kernel, default)
        expanded.append(kept + offset)
        offset += branch.channels
        if not len(kept):
            continue
        if block.has_expansion:
            names = f"{source_kernel}/expand", f"{target_kernel}/expand"
            cut.copy(
                (names[0], "conv"), (names[1], "conv"), _grouped(block, inputs, kept)
            )
            cut.copy_norm(*names, kept)
        names = f"{source_kernel}/depthwise", f"{target_kernel}/depthwise"
        cut.copy((names[0], "conv"), (names[1], "conv"), {2: kept})
        cut.copy_norm(*names, kept, None if block.has_expansion else live)
    middle = np.concatenate(expanded)
    if block.squeeze_excite is not None:
        source, goal = f"{path}/squeeze_excite", f"{target}/squeeze_excite"
        everything = np.arange(block.squeeze_excite.hidden_channels)
        hidden = kept_indices.get(source, everything)
        for name, axes, bias in (
            ("reduce", {2: middle, 3: hidden}, hidden),
            ("expand", {2: hidden, 3: middle}, middle),
        ):
            cut.copy((source, name), (goal, name), axes, bias)
    names = f"{path}/project", f"{target}/project"
    axes = {2: middle, 3: outputs} if block.projection_groups == 1 else {}
    cut.copy((names[0], "conv"), (names[1], "conv"), axes)
    cut.copy_norm(*names, outputs, written)


def _grouped(
    block: InvertedResidual, inputs: Indices, kept: Indices
) -> dict[int, Indices]:
    """Returns the kernel's slices; grouped convolutions are never cut."""
    return {2: inputs, 3: kept} if block.expansion_groups == 1 else {}


def _copy_head(
    cut: _Cut,
    head: Head,
    inputs: Indices,
    kept: Callable[[str, int], Indices],
    mask: np.ndarray | None,
) -> None:
    """Copies the head; `kept` gives a group's channels, `mask` the convolution's."""
    if head.conv_channels is not None:
        outputs = kept("head/conv", head.conv_channels)
        cut.copy(("head", "conv"), ("head", "conv"), {2: inputs, 3: outputs})
        cut.copy_norm("head", "head", outputs, mask)
        inputs = outputs
    if head.hidden_channels is not None:
        outputs = kept("head/hidden", head.hidden_channels)
        cut.copy(
            ("head", "hidden"), ("head", "hidden"), {0: inputs, 1: outputs}, outputs
        )
        inputs = outputs
    everything = np.arange(head.num_classes)
    cut.copy(("head", "classifier"), ("head", "classifier"), {0: inputs}, everything)
