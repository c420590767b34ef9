"""What the drawing of a network shows: rows for stem, every block and the head.

The coordinates are left to `network_drawing`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from mobilenas_tf.costs.network import layer_costs
from mobilenas_tf.spec import (
    Architecture,
    Block,
    Convolution,
    Head,
    InvertedResidual,
    Pooling,
    describe_head_layer,
    walk_blocks,
)
from mobilenas_tf.widths import (
    head_widths,
    kernel_path,
    output_groups,
    resize,
    surviving_blocks,
)

# What the last part of a head's width path is called beside its bar.
_HEAD_LABELS = {
    "conv": "1×1",
    "hidden": "dense",
    "squeeze": "squeeze",
    "output": "output",
}


@dataclasses.dataclass(frozen=True)
class Bar:
    """Channels kept of those possible; `kind` is a CSS class (`kernel5`, `squeeze`)."""

    path: str
    label: str
    kind: str
    kept: int
    possible: int


@dataclasses.dataclass(frozen=True)
class Row:
    """Stem, one block of the supernet, or the head.

    `output` is the width that the row writes: rows with the same `output.path` share
    it. A block that vanished `is_skipped`: its input goes on unchanged. `note` stands
    where a row has no bars, `description` in the tooltip, `bit_widths` below the name.
    """

    path: str
    description: str
    macs: int
    out_size_px: int
    bars: tuple[Bar, ...] = ()
    output: Bar | None = None
    stride: int = 1
    has_residual: bool = False
    is_skipped: bool = False
    note: str = ""
    bit_widths: str = ""


def network_rows(supernet: Architecture, widths: Mapping[str, int]) -> tuple[Row, ...]:
    """Returns the rows of `supernet` with the channels that `widths` keeps.

    Args:
        supernet: The network with everything that was possible.
        widths: Channels by width path; without any the whole network is kept.

    Raises:
        ValueError: If the widths do not fit the supernet.
    """
    found = resize(supernet, widths)
    found_blocks = {path: block for path, block, _ in walk_blocks(found)}
    macs = {layer.path: layer.cost.macs for layer in layer_costs(found)}
    sizes_px = {layer.path: layer.out_size_px for layer in layer_costs(supernet)}
    found_path_of = {
        before: after for after, before in surviving_blocks(supernet, widths).items()
    }
    output_of = output_groups(supernet)
    stem_note = _describe(supernet.stem)
    output = _output_bar(output_of["stem"], found.stem, supernet.stem)
    rows = [
        Row(
            path="stem",
            description=f"stem: {stem_note}",
            macs=macs["stem"],
            out_size_px=sizes_px["stem"],
            output=output,
            stride=supernet.stem.stride,
            note=stem_note,
        )
    ]
    for path, block, _ in walk_blocks(supernet):
        found_path = found_path_of.get(path)
        found_block = found_blocks[found_path] if found_path else None
        if output_of[path] != output.path:
            output = _output_bar(output_of[path], found_block, block)
        is_residual_block = isinstance(block, InvertedResidual)
        rows.append(
            Row(
                path=path,
                description=f"{path}: {_describe(block)}",
                macs=macs[found_path] if found_path else 0,
                out_size_px=sizes_px[path],
                bars=_block_bars(path, block, found_block),
                output=output,
                stride=block.stride,
                has_residual=is_residual_block and block.has_residual,
                is_skipped=found_block is None,
                note="" if is_residual_block else _describe(block),
                bit_widths=block.bit_widths.label
                if is_residual_block and block.bit_widths is not None
                else "",
            )
        )
    return (*rows, *_head_rows(supernet, found))


def _head_rows(supernet: Architecture, found: Architecture) -> Iterator[Row]:
    """Yields a row for each part of the head that has costs of its own."""
    kept = head_widths(found.head)
    bars = [
        Bar(path, _HEAD_LABELS[path.rsplit("/", 1)[1]], "layer", kept[path], possible)
        for path, possible in head_widths(supernet.head).items()
    ]
    for layer in layer_costs(found):
        path = layer.path
        if path.split("/")[0] != "head":
            continue
        what = describe_head_layer(supernet.head, path)
        is_classifier = isinstance(supernet.head, Head)
        yield Row(
            path=path,
            description="head: global average pooling, then the classifier"
            if is_classifier
            else f"{path}: {what}",
            macs=layer.cost.macs,
            out_size_px=layer.out_size_px,
            bars=tuple(b for b in bars if f"{b.path}/".startswith(f"{path}/")),
            note=f"{supernet.head.num_classes:,} classes" if is_classifier else what,
        )


def _output_bar(path: str, found: Block | None, block: Block) -> Bar:
    kept, possible = (
        0 if layer is None or isinstance(layer, Pooling) else layer.out_channels
        for layer in (found, block)
    )
    return Bar(path, "output", "output", kept, possible)


def _block_bars(path: str, block: Block, found: Block | None) -> tuple[Bar, ...]:
    """Returns bars of kernels and squeeze-excite; `found` is None for a lost block."""
    if not isinstance(block, InvertedResidual):
        return ()
    kept, kept_hidden = {}, 0
    if isinstance(found, InvertedResidual):
        kept = {branch.kernel_size: branch.channels for branch in found.branches}
        if found.squeeze_excite is not None:
            kept_hidden = found.squeeze_excite.hidden_channels
    bars = [
        Bar(
            path=kernel_path(path, branch.kernel_size),
            label=f"{branch.kernel_size}×{branch.kernel_size}",
            kind=f"kernel{branch.kernel_size}",
            kept=kept.get(branch.kernel_size, 0),
            possible=branch.channels,
        )
        for branch in block.branches
    ]
    if block.squeeze_excite is not None:
        hidden = block.squeeze_excite.hidden_channels
        bars.append(Bar(f"{path}/squeeze_excite", "SE", "squeeze", kept_hidden, hidden))
    return tuple(bars)


def _describe(block: Block) -> str:
    size = (
        ""
        if isinstance(block, InvertedResidual)
        else f"{block.kernel_size}×{block.kernel_size}"
    )
    if isinstance(block, Pooling):
        return f"{block.kind} pooling {size}"
    activation = block.activation.replace("_", "-")
    if isinstance(block, Convolution):
        return f"convolution {size}, {activation}"
    parts = ["inverted residual", activation, f"stride {block.stride}"]
    if not block.has_expansion:
        parts.append("no expansion")
    if max(block.expansion_groups, block.projection_groups) > 1:
        groups = f"{block.expansion_groups} and {block.projection_groups}"
        parts.append(f"1×1 convolutions in {groups} groups")
    if block.has_shuffle:
        parts.append("channel shuffle")
    if block.bit_widths is not None:
        bits = block.bit_widths
        parts.append(f"{bits.weights}-bit weights, {bits.activations}-bit activations")
    return ", ".join(parts)
