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
    Pooling,
    Stage,
    walk_blocks,
)
from mobilenas_tf.zoo import ZOO, zoo_architecture

_NUM_CLASSES = 10
_HEADS = (HeadConfig(head="ssdlite"), HeadConfig(head="fpnlite"))
_SMALLEST_DETECTOR_PX = 96  # of the named spaces: the others end before stride 32
_MINIATURE_CHANNELS, _MINIATURE_PX = 8, 64


def classifiers() -> dict[str, Architecture]:
    """Returns the zoo and the largest network of every space, by name."""
    return {
        **{name: zoo_architecture(name, num_classes=_NUM_CLASSES) for name in ZOO},
        **{
            name: named_space(name, num_classes=_NUM_CLASSES).supernet
            for name in TABLES
        },
    }


def detectors() -> dict[str, Architecture]:
    """Returns those of them that a detection head fits, with each, by name."""
    return {
        f"{name}+{config.head}": with_detection_head(
            architecture, config, num_classes=_NUM_CLASSES
        )
        for name, architecture in classifiers().items()
        if architecture.image_size_px >= _SMALLEST_DETECTOR_PX
        for config in _HEADS
    }


def miniature(architecture: Architecture) -> Architecture:
    """Returns a small network with every kind of layer that the classifier has.

    All layers have 8 channels. Blocks with a stride stay, so that a detection head
    still finds its feature maps; of those without, one of each kind does.
    """
    kept: list[Block] = []
    for _, block, _ in walk_blocks(architecture):
        small = _narrow(block)
        if block.stride > 1 or small not in kept:
            kept.append(small)
    if not isinstance(architecture.head, Head):
        raise ValueError(
            "architecture must be a classifier. Received: the detector "
            f"{architecture.name}"
        )
    head = dataclasses.replace(
        architecture.head,
        conv_channels=architecture.head.conv_channels and _MINIATURE_CHANNELS,
        hidden_channels=architecture.head.hidden_channels and _MINIATURE_CHANNELS,
    )
    return dataclasses.replace(
        architecture,
        name="miniature",
        image_size_px=_MINIATURE_PX,
        stem=dataclasses.replace(architecture.stem, out_channels=_MINIATURE_CHANNELS),
        stages=(Stage(tuple(kept)),),
        head=head,
    )


def _narrow(block: Block) -> Block:
    if isinstance(block, Pooling):
        return block
    if isinstance(block, Convolution):
        return dataclasses.replace(block, out_channels=_MINIATURE_CHANNELS)
    squeeze_excite = block.squeeze_excite
    if squeeze_excite is not None:
        squeeze_excite = dataclasses.replace(
            squeeze_excite, hidden_channels=_MINIATURE_CHANNELS
        )
    return dataclasses.replace(
        block,
        out_channels=_MINIATURE_CHANNELS,
        branches=tuple(
            Branch(branch.kernel_size, _MINIATURE_CHANNELS) for branch in block.branches
        ),
        squeeze_excite=squeeze_excite,
    )


def miniatures() -> dict[str, Architecture]:
    """Returns the miniatures of all classifiers, each once, by the first one's name."""
    by_value: dict[Architecture, str] = {}
    for name, architecture in classifiers().items():
        by_value.setdefault(miniature(architecture), name)
    return {name: architecture for architecture, name in by_value.items()}


def miniature_detectors(names: tuple[str, ...]) -> dict[str, Architecture]:
    """Returns miniatures of the named classifiers with each detection head."""
    networks = classifiers()
    return {
        f"{name}+{config.head}": with_detection_head(
            miniature(networks[name]), config, num_classes=_NUM_CLASSES
        )
        for name in names
        for config in _HEADS
    }
