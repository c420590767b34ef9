"""Every network whose int8 file must have no operator in float, whole and in miniature.

The zoo, the largest network of every named space, and detectors of both heads.
"""

from __future__ import annotations

import dataclasses

from detection.config import HeadConfig
from detection.heads import with_detection_head
from mobilenas_tf.spaces import TABLES, named_space
from mobilenas_tf.spec import (
    Architecture,
    Block,
    Branch,
    Convolution,
    Head,
    InvertedResidual,
    Pooling,
    Stage,
    walk_blocks,
)
from mobilenas_tf.zoo import ZOO, zoo_architecture

_NUM_CLASSES = 10
_HEADS = (HeadConfig(head="ssdlite"), HeadConfig(head="fpnlite"))
_SMALLEST_DETECTOR_PX = 96  # of the named spaces: the others end before stride 32
_CHANNELS, _IMAGE_SIZE_PX = 8, 64  # of miniatures


def classifiers() -> dict[str, Architecture]:
    """Returns the zoo and the largest network of every space, by name."""
    zoo = {name: zoo_architecture(name, num_classes=_NUM_CLASSES) for name in ZOO}
    spaces = {
        name: named_space(name, num_classes=_NUM_CLASSES).supernet for name in TABLES
    }
    return zoo | spaces


def detectors() -> dict[str, Architecture]:
    """Returns those of them that a detection head fits, with each head, by name."""
    return {
        f"{name}+{config.head}": with_detection_head(
            architecture, config, num_classes=_NUM_CLASSES
        )
        for name, architecture in classifiers().items()
        if architecture.image_size_px >= _SMALLEST_DETECTOR_PX
        for config in _HEADS
        if config.head == "ssdlite" or _halves_evenly(architecture)
    }


def _halves_evenly(architecture: Architecture) -> bool:
    """Returns whether each level of a pyramid is half the one below."""
    return architecture.image_size_px % 32 == 0 and not any(
        isinstance(block, InvertedResidual) and block.padding_px is not None
        for _, block, _ in walk_blocks(architecture)
    )


def miniatures() -> dict[str, Architecture]:
    """Returns small networks that together have every kind of layer of the classifiers.

    All layers have 8 channels. Classifiers that differ in their blocks only share a
    miniature, which has one block of each kind; it has the name of the first of them. A
    block that a miniature has is left out of those behind it.
    """
    shells: dict[Architecture, str] = {}
    blocks_of: dict[str, list[Block]] = {}
    seen: set[Block] = set()
    for name, architecture in classifiers().items():
        kept = blocks_of.setdefault(shells.setdefault(_shell(architecture), name), [])
        for _, block, _ in walk_blocks(architecture):
            small = _narrow(block)
            if small not in seen:
                seen.add(small)
                kept.append(small)
    return {
        name: dataclasses.replace(
            shell, name=name, stages=(Stage(tuple(_strides_last(blocks_of[name]))),)
        )
        for shell, name in shells.items()
    }


def _shell(architecture: Architecture) -> Architecture:
    """Returns what is around the blocks: input, stem and head."""
    if not isinstance(architecture.head, Head):
        raise ValueError(
            "architecture must be a classifier. Received: the detector "
            f"{architecture.name}"
        )
    head = dataclasses.replace(
        architecture.head,
        conv_channels=architecture.head.conv_channels and _CHANNELS,
        hidden_channels=architecture.head.hidden_channels and _CHANNELS,
    )
    return dataclasses.replace(
        architecture,
        name="shell",
        image_size_px=_IMAGE_SIZE_PX,
        stem=dataclasses.replace(architecture.stem, out_channels=_CHANNELS),
        stages=(),
        head=head,
    )


def _narrow(block: Block) -> Block:
    if isinstance(block, Pooling):
        return block
    if isinstance(block, Convolution):
        return dataclasses.replace(block, out_channels=_CHANNELS)
    squeeze_excite = block.squeeze_excite
    if squeeze_excite is not None:
        squeeze_excite = dataclasses.replace(squeeze_excite, hidden_channels=_CHANNELS)
    padding_px = block.padding_px
    if padding_px is not None:  # as SAME pads: maps of a few pixels stay
        padding_px = block.branches[0].kernel_size // 2
    return dataclasses.replace(
        block,
        out_channels=_CHANNELS,
        padding_px=padding_px,
        branches=tuple(
            Branch(branch.kernel_size, _CHANNELS) for branch in block.branches
        ),
        squeeze_excite=squeeze_excite,
    )


def _strides_last(blocks: list[Block]) -> list[Block]:
    """Returns the blocks so that most of them see large feature maps."""
    return sorted(blocks, key=lambda block: block.stride)
