"""Which channel counts of an architecture are free, and the architecture for others.

A *width group* is a set of channels that live and die together with all layers that
touch them: the channels of one depthwise kernel, the channels that a chain of
residual blocks adds up, the hidden channels of a squeeze-excite or of the head.
Costs, gates, search spaces and derivation all speak of widths by group path.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from mobilenas_tf.detection_spec import DetectionHead, ExtraLayer, FpnLiteHead
from mobilenas_tf.spec import (
    Architecture,
    Block,
    Convolution,
    Head,
    InvertedResidual,
    Pooling,
    Stage,
    walk_blocks,
)


@dataclasses.dataclass(frozen=True)
class WidthGroup:
    """Channels that are decided together.

    `path` is `stem/output`, `stage2/block0/output`, `stage2/block0/kernel5`,
    `stage2/block0/squeeze_excite`, `head/conv` or `head/hidden`. `producers` are the
    paths of the layers that write the channels: all blocks of a residual chain, and
    the layer itself elsewhere. `operator` is the block that vanishes once all its
    kernels have no channel left, and None where no block can vanish.
    """

    path: str
    channels: int
    producers: tuple[str, ...]
    is_kernel: bool = False
    operator: str | None = None


def kernel_path(block_path: str, kernel_size: int) -> str:
    """Returns the width path of one depthwise kernel."""
    return f"{block_path}/kernel{kernel_size}"


def output_groups(architecture: Architecture) -> dict[str, str]:
    """Returns, for the stem and every block, the path of its output's width group.

    A block with a residual connection writes into the group of its input; a pooling
    layer hands its input's group on.
    """
    groups = {"stem": "stem/output"}
    current = "stem/output"
    for path, block, _ in walk_blocks(architecture):
        is_tied = isinstance(block, Pooling) or (
            isinstance(block, InvertedResidual) and block.has_residual
        )
        current = current if is_tied else f"{path}/output"
        groups[path] = current
    return groups


def width_groups(architecture: Architecture) -> tuple[WidthGroup, ...]:
    """Returns all width groups in the order of use.

    Grouped 1x1 convolutions tie channels to their neighbours; blocks that have them
    contribute no kernel group.
    """
    output_of = output_groups(architecture)
    channels = {"stem/output": architecture.stem.out_channels}
    producers: dict[str, list[str]] = {"stem/output": ["stem"]}
    inner: dict[str, WidthGroup] = {}
    order = ["stem/output"]
    for path, block, _ in walk_blocks(architecture):
        if isinstance(block, Pooling):
            continue
        if isinstance(block, InvertedResidual):
            for group in _inner_groups(path, block):
                inner[group.path] = group
                order.append(group.path)
        if output_of[path] not in channels:
            order.append(output_of[path])
            channels[output_of[path]] = block.out_channels
        producers.setdefault(output_of[path], []).append(path)
    outputs = {
        path: WidthGroup(path, count, tuple(producers[path]))
        for path, count in channels.items()
    }
    head = {
        path: WidthGroup(path, count, (path,))
        for path, count in head_widths(architecture.head).items()
    }
    groups = {**inner, **outputs, **head}
    return tuple(groups[path] for path in [*order, *head])


def head_widths(head: Head | DetectionHead) -> dict[str, int]:
    """Returns `{width path: channels}` of a head, in order of use.

    A feature pyramid has the one width of all its levels in common, and none is free.
    """
    if isinstance(head, FpnLiteHead):
        return {}
    widths = {"head/conv": head.conv_channels}
    if isinstance(head, Head):
        widths["head/hidden"] = head.hidden_channels
    else:
        for index, extra in enumerate(head.extras):
            path = extra_path(index)
            widths[f"{path}/squeeze"] = extra.squeezed_channels
            widths[f"{path}/output"] = extra.out_channels
    return {path: count for path, count in widths.items() if count is not None}


def extra_path(index: int) -> str:
    """Returns the path of a detection head's extra layer, counted from 0."""
    return f"head/extra{index}"


def _inner_groups(path: str, block: InvertedResidual) -> list[WidthGroup]:
    groups = []
    if block.has_expansion and block.expansion_groups == block.projection_groups == 1:
        operator = path if block.has_residual else None
        for branch in block.branches:
            name = kernel_path(path, branch.kernel_size)
            groups.append(WidthGroup(name, branch.channels, (name,), True, operator))
    if block.squeeze_excite is not None:
        name = f"{path}/squeeze_excite"
        hidden = block.squeeze_excite.hidden_channels
        groups.append(WidthGroup(name, hidden, (name,)))
    return groups


def resize(architecture: Architecture, widths: Mapping[str, int]) -> Architecture:
    """Returns the architecture with other channel counts.

    A kernel of width 0 is left out; a residual block that has no kernel left is left
    out as a whole, and the blocks behind it move up.

    Args:
        architecture: What to resize.
        widths: Channels by group path; groups that are not named keep theirs.

    Raises:
        ValueError: If a path is no width group of the architecture, if a count is
            not between 0 (kernels) or 1 (everything else) and the group's channels,
            or if a block without residual connection would lose all its kernels.
    """
    known = {group.path: group for group in width_groups(architecture)}
    for path, count in widths.items():
        if path not in known:
            raise ValueError(
                f"widths must name width groups of {architecture.name}. "
                f"Received: {path!r}"
            )
        group = known[path]
        least = int(not group.is_kernel)
        if count != int(count) or not least <= count <= group.channels:
            raise ValueError(
                f"width of {path} must be an integer from {least} to "
                f"{group.channels}. Received: {count}"
            )
    output_of = output_groups(architecture)
    output_width = {
        group.path: int(widths.get(group.path, group.channels))
        for group in known.values()
    }
    blocks: dict[str, Block] = {}
    in_channels = output_width["stem/output"]
    for path, block, _ in walk_blocks(architecture):
        out_channels = output_width[output_of[path]]
        resized = _resize_block(path, block, widths, in_channels, out_channels)
        if resized is not None:
            blocks[path] = resized
        in_channels = out_channels
    return dataclasses.replace(
        architecture,
        stem=dataclasses.replace(
            architecture.stem, out_channels=output_width["stem/output"]
        ),
        stages=_group_by_stage(architecture, blocks),
        head=_resize_head(architecture.head, output_width),
    )


def _resize_head(
    head: Head | DetectionHead, widths: Mapping[str, int]
) -> Head | DetectionHead:
    if isinstance(head, FpnLiteHead):
        return head
    conv_channels = widths.get("head/conv")
    if isinstance(head, Head):
        return dataclasses.replace(
            head,
            conv_channels=conv_channels,
            hidden_channels=widths.get("head/hidden"),
        )
    extras = tuple(
        ExtraLayer(widths[f"{path}/squeeze"], widths[f"{path}/output"])
        for path in map(extra_path, range(len(head.extras)))
    )
    return dataclasses.replace(head, conv_channels=conv_channels, extras=extras)


def surviving_blocks(
    architecture: Architecture, widths: Mapping[str, int]
) -> dict[str, str]:
    """Returns `{path after resize: path before}` of the blocks that `resize` keeps."""
    sources = {}
    kept_in_stage: dict[str, int] = {}
    for path, block, _ in walk_blocks(architecture):
        if _is_dropped(path, block, widths):
            continue
        stage = path.split("/")[0]
        index = kept_in_stage.get(stage, 0)
        kept_in_stage[stage] = index + 1
        sources[f"{stage}/block{index}"] = path
    return sources


def _group_by_stage(
    architecture: Architecture, blocks: Mapping[str, Block]
) -> tuple[Stage, ...]:
    return tuple(
        Stage(
            tuple(
                blocks[path]
                for path in (
                    f"stage{stage_index}/block{block_index}"
                    for block_index in range(len(stage.blocks))
                )
                if path in blocks
            )
        )
        for stage_index, stage in enumerate(architecture.stages, start=1)
    )


def _kept_branches(path: str, block: InvertedResidual, widths: Mapping[str, int]):
    resized = (
        (
            branch,
            int(widths.get(kernel_path(path, branch.kernel_size), branch.channels)),
        )
        for branch in block.branches
    )
    return tuple(
        dataclasses.replace(branch, channels=count)
        for branch, count in resized
        if count
    )


def _is_dropped(path: str, block: Block, widths: Mapping[str, int]) -> bool:
    if not isinstance(block, InvertedResidual):
        return False
    return block.has_residual and not _kept_branches(path, block, widths)


def _resize_block(
    path: str,
    block: Block,
    widths: Mapping[str, int],
    in_channels: int,
    out_channels: int,
) -> Block | None:
    if isinstance(block, Pooling) or _is_dropped(path, block, widths):
        return block if isinstance(block, Pooling) else None
    if isinstance(block, Convolution):
        return dataclasses.replace(block, out_channels=out_channels)
    if block.has_expansion:
        branches = _kept_branches(path, block, widths)
    else:
        branches = (dataclasses.replace(block.branches[0], channels=in_channels),)
    if not branches:
        raise ValueError(
            f"widths of {path} must keep a channel of some kernel, as nothing leads "
            "around this block. Received: 0 for every kernel"
        )
    squeeze_excite = block.squeeze_excite
    if squeeze_excite is not None:
        hidden = widths.get(f"{path}/squeeze_excite", squeeze_excite.hidden_channels)
        squeeze_excite = dataclasses.replace(
            squeeze_excite, hidden_channels=int(hidden)
        )
    return dataclasses.replace(
        block,
        out_channels=out_channels,
        branches=branches,
        squeeze_excite=squeeze_excite,
    )
