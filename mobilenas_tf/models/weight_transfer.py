"""Which part of a supernet's variables a narrower network of its channels has.

The narrower network then computes what the supernet computes with all other gates
closed. It may be a compact network (derivation) or again a supernet (live shrinking).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import keras
import numpy as np

from mobilenas_tf.detection_spec import DetectionHead, FpnLiteHead
from mobilenas_tf.models.derive import Selection
from mobilenas_tf.models.detection_head import tower_paths
from mobilenas_tf.models.layer_maker import layer_name
from mobilenas_tf.models.supernet import Supernet
from mobilenas_tf.spec import (
    Architecture,
    Convolution,
    Head,
    InvertedResidual,
    Pooling,
    Tap,
    head_taps,
    walk_blocks,
)
from mobilenas_tf.widths import (
    extra_path,
    kernel_path,
    output_groups,
    surviving_blocks,
)

Indices = np.ndarray
# Axes of a variable by name; those that are not named stay whole.
Axes = Mapping[int, Indices]


@dataclasses.dataclass(frozen=True)
class VariableCut:
    """A variable of the narrower network, and the part of the wider one's that it is.

    `axes` maps axes to the indices that stay.
    """

    source: keras.Variable
    target: keras.Variable
    axes: Axes

    def part_of(self, values: np.ndarray) -> np.ndarray:
        """Returns the part of an array of the source's shape."""
        for axis, kept in self.axes.items():
            values = np.take(values, kept, axis=axis)
        return values

    def copy(self) -> None:
        """Gives the target its part of the source."""
        self.target.assign(self.part_of(np.asarray(self.source)))


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
    for cut in variable_cuts(whole, supernet.model, compact, selection.kept):
        cut.copy()


def variable_cuts(
    whole: Architecture,
    wide: keras.Model,
    narrow: keras.Model,
    kept: Mapping[str, np.ndarray],
) -> Iterator[VariableCut]:
    """Yields the cut of every variable of a narrower network but its gates'.

    Args:
        whole: The architecture of `wide`.
        wide: A network or supernet.
        narrow: A network or supernet of `resize(whole, widths of kept)`.
        kept: `{width path: boolean [C]}`; groups that are not named stay whole.
    """
    layers = _LayerCuts(wide, narrow)
    output_of = output_groups(whole)
    kept_indices = {path: np.flatnonzero(mask) for path, mask in kept.items()}

    def indices(path: str, channels: int) -> Indices:
        return kept_indices.get(path, np.arange(channels))

    taps = head_taps(whole)
    inputs = indices("stem/output", whole.stem.out_channels)
    yield from layers.convolution(("stem", "conv"), {3: inputs})
    yield from layers.norm("stem", inputs)
    widths = {path: int(mask.sum()) for path, mask in kept.items()}
    target_of = {
        source: target for target, source in surviving_blocks(whole, widths).items()
    }
    maps = {Tap("stem"): inputs}
    for path, block, _ in walk_blocks(whole):
        if isinstance(block, Pooling):
            maps[Tap(path)] = inputs
            continue
        outputs = indices(output_of[path], block.out_channels)
        if path in target_of:
            moved = dataclasses.replace(layers, moved=(path, target_of[path]))
            if isinstance(block, Convolution):
                yield from moved.convolution((path, "conv"), {2: inputs, 3: outputs})
                yield from moved.norm(path, outputs)
            else:
                yield from _block(moved, path, block, (inputs, outputs), indices)
        if isinstance(block, InvertedResidual):
            expanded = _expanded(path, block, inputs, indices)
            maps[Tap(path, is_expansion=True)] = expanded
        maps[Tap(path)] = inputs = outputs
    features = [maps[tap] for tap in taps]
    if isinstance(whole.head, Head):
        yield from _classifier(layers, whole.head, features[0], indices)
    else:
        yield from _detection_head(layers, whole.head, features, indices)


@dataclasses.dataclass(frozen=True)
class _LayerCuts:
    """Pairs the layers of two models; `moved` is a block's path before and after."""

    wide: keras.Model
    narrow: keras.Model
    moved: tuple[str, str] = ("", "")

    def _pair(self, *path: str) -> tuple[keras.Layer, keras.Layer]:
        before, after = self.moved
        target = after + path[0].removeprefix(before), *path[1:]
        return (
            self.wide.get_layer(layer_name(*path)),
            self.narrow.get_layer(layer_name(*target)),
        )

    def convolution(
        self, path: tuple[str, ...], axes: Axes, bias: Indices | None = None
    ) -> Iterator[VariableCut]:
        """Kernel, with its step if it is rounded, and perhaps bias of a layer."""
        source, target = self._pair(*path)
        yield VariableCut(source.kernel, target.kernel, axes)
        quantizer = getattr(source, "kernel_quantizer", None)
        if quantizer is not None:
            yield VariableCut(quantizer.step, target.kernel_quantizer.step, {})
        if bias is not None and source.use_bias:
            yield VariableCut(source.bias, target.bias, {0: bias})

    def rounding(self, path: str) -> Iterator[VariableCut]:
        """The step of a convolution's input."""
        source, target = self._pair(path, "quantizer")
        yield VariableCut(source.step, target.step, {})

    def pointwise(
        self, path: str, inputs: Indices, outputs: Indices
    ) -> Iterator[VariableCut]:
        """A 1x1 convolution without bias and its batch norm."""
        yield from self.convolution((path, "conv"), {2: inputs, 3: outputs})
        yield from self.norm(path, outputs)

    def depthwise(self, path: str, kept: Indices) -> Iterator[VariableCut]:
        """A depthwise convolution without bias and its batch norm."""
        yield from self.convolution((path, "conv"), {2: kept})
        yield from self.norm(path, kept)

    def norm(self, path: str, kept: Indices) -> Iterator[VariableCut]:
        """Scale, offset and statistics of a batch norm."""
        source, target = self._pair(path, "bn")
        for name in ("gamma", "beta", "moving_mean", "moving_variance"):
            yield VariableCut(getattr(source, name), getattr(target, name), {0: kept})


def _block(
    layers: _LayerCuts,
    path: str,
    block: InvertedResidual,
    in_out: tuple[Indices, Indices],
    indices: Callable[[str, int], Indices],
) -> Iterator[VariableCut]:
    inputs, outputs = in_out
    if block.bit_widths is not None:
        yield from layers.rounding(f"{path}/input")
        yield from layers.rounding(f"{path}/project")
    for branch in block.branches:
        kernel = kernel_path(path, branch.kernel_size)
        kept = indices(kernel, branch.channels) if block.has_expansion else inputs
        if not len(kept):
            continue
        if block.has_expansion:
            expand = f"{kernel}/expand"
            # Grouped convolutions are never cut.
            axes = {2: inputs, 3: kept} if block.expansion_groups == 1 else {}
            yield from layers.convolution((expand, "conv"), axes)
            yield from layers.norm(expand, kept)
            if block.bit_widths is not None:
                yield from layers.rounding(f"{kernel}/depthwise")
        yield from layers.depthwise(f"{kernel}/depthwise", kept)
    middle = _expanded(path, block, inputs, indices)
    if block.squeeze_excite is not None:
        squeeze = f"{path}/squeeze_excite"
        hidden = indices(squeeze, block.squeeze_excite.hidden_channels)
        reduce, expand = {2: middle, 3: hidden}, {2: hidden, 3: middle}
        yield from layers.convolution((squeeze, "reduce"), reduce, hidden)
        yield from layers.convolution((squeeze, "expand"), expand, middle)
    axes = {2: middle, 3: outputs} if block.projection_groups == 1 else {}
    yield from layers.convolution((f"{path}/project", "conv"), axes)
    yield from layers.norm(f"{path}/project", outputs)


def _expanded(
    path: str,
    block: InvertedResidual,
    inputs: Indices,
    indices: Callable[[str, int], Indices],
) -> Indices:
    """Returns what stays of the channels of all kernels, side by side."""
    if not block.has_expansion:
        return inputs
    kept, offset = [], 0
    for branch in block.branches:
        kernel = kernel_path(path, branch.kernel_size)
        kept.append(indices(kernel, branch.channels) + offset)
        offset += branch.channels
    return np.concatenate(kept)


def _classifier(
    layers: _LayerCuts,
    head: Head,
    inputs: Indices,
    indices: Callable[[str, int], Indices],
) -> Iterator[VariableCut]:
    if head.conv_channels is not None:
        outputs = indices("head/conv", head.conv_channels)
        yield from layers.pointwise("head", inputs, outputs)
        inputs = outputs
    if head.hidden_channels is not None:
        outputs = indices("head/hidden", head.hidden_channels)
        axes = {0: inputs, 1: outputs}
        yield from layers.convolution(("head", "hidden"), axes, outputs)
        inputs = outputs
    everything = np.arange(head.num_classes)
    yield from layers.convolution(("head", "classifier"), {0: inputs}, everything)


def _detection_head(
    layers: _LayerCuts,
    head: DetectionHead,
    features: Sequence[Indices],
    indices: Callable[[str, int], Indices],
) -> Iterator[VariableCut]:
    if isinstance(head, FpnLiteHead):
        yield from _pyramid(layers, head, features)
        return
    levels = list(features)
    if head.conv_channels is not None:
        outputs = indices("head/conv", head.conv_channels)
        yield from layers.pointwise("head", levels[-1], outputs)
        levels[-1] = outputs
    for index, extra in enumerate(head.extras):
        path = extra_path(index)
        squeezed = indices(f"{path}/squeeze", extra.squeezed_channels)
        outputs = indices(f"{path}/output", extra.out_channels)
        yield from layers.pointwise(f"{path}/squeeze", levels[-1], squeezed)
        yield from layers.depthwise(f"{path}/depthwise", squeezed)
        yield from layers.pointwise(f"{path}/output", squeezed, outputs)
        levels.append(outputs)
    for index, level in enumerate(levels):
        num_shapes = len(head.anchors[index])
        for name, values in (("class_logits", head.num_logits), ("box_encodings", 4)):
            path = f"head/level{index}/{name}"
            yield from layers.depthwise(f"{path}/depthwise", level)
            everything = np.arange(num_shapes * values)
            yield from layers.convolution((path, "output"), {2: level}, everything)


def _pyramid(
    layers: _LayerCuts, head: FpnLiteHead, features: Sequence[Indices]
) -> Iterator[VariableCut]:
    """Cuts the laterals; what is behind them has the pyramid's one width."""
    channels = np.arange(head.channels)
    num_levels = len(head.anchors)
    for index, inputs in enumerate(features):
        yield from layers.pointwise(f"head/pyramid{index}/lateral", inputs, channels)
    smoothed = {*range(num_levels)} - {len(features) - 1}
    for path in (f"head/pyramid{index}" for index in sorted(smoothed)):
        yield from layers.depthwise(f"{path}/depthwise", channels)
        yield from layers.pointwise(f"{path}/output", channels, channels)
    for name, values in (("class_logits", head.num_logits), ("box_encodings", 4)):
        for path in tower_paths(head, f"head/{name}"):
            yield from layers.convolution((path, "conv"), {})
        everything = np.arange(len(head.anchors[0]) * values)
        yield from layers.convolution((f"head/{name}", "output"), {}, everything)
        for index in range(num_levels):
            for path in tower_paths(head, f"head/level{index}/{name}"):
                yield from layers.norm(path, channels)
