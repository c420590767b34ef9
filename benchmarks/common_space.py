"""One space that all four methods search: blocks of two kernels and two widths.

MobileNetV2's block at every place of a network for images of 32 px, its kernel 3x3 or
5x5, its expansion 3 or 6, or (not at the first place of a stage) nothing at all; what
stages put out is fixed. One definition, and what each method sees of it:

- BS-NAS takes the space itself;
- DNAS has the operations of a place as its candidates;
- JointNAS has the places as decisions, and the recipe's beside them;
- FiGS has both kernels of a place side by side, at the largest expansion, with a gate
  on each channel. Differs: its blocks may have channels of both kernels, and any
  multiple of 8 of them, so that its space holds the others' and more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from mobilenas_tf.block_space import BlockSpace, Candidate
from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.costs.uniform import scaled_network
from mobilenas_tf.decisions import Options, Value
from mobilenas_tf.one_shot_space import (
    OneShotGenotype,
    OneShotSpace,
    OneShotStage,
    Operation,
    operation_name,
    operation_path,
)
from mobilenas_tf.one_shot_spaces import MOBILE_OPERATIONS, ROWS_32
from mobilenas_tf.space import SearchSpace, width_space
from mobilenas_tf.spaces import one_shot_supernet
from mobilenas_tf.spec import Architecture, Convolution, Head

STEM_CHANNELS, HEAD_CHANNELS, NUM_CLASSES = 16, 256, 10

SPACE = OneShotSpace(
    name="blocks_32",
    image_size_px=32,
    stem_channels=(STEM_CHANNELS,),
    stem_stride=2,
    stages=tuple(
        OneShotStage((channels,), depth, stride, MOBILE_OPERATIONS)
        for channels, depth, stride in ROWS_32
    ),
    head_channels=(HEAD_CHANNELS,),
    num_classes=NUM_CLASSES,
)


def macs(architecture: Architecture) -> float:
    """Returns the multiply-adds of a network."""
    return float(network_cost(architecture).macs)


def for_figs() -> SearchSpace:
    """Returns the space of the kernels' channels."""
    return width_space(SPACE.name, one_shot_supernet(SPACE), open_widths="kernels")


def for_dnas() -> BlockSpace:
    """Returns the space of operators."""
    stages, channels = [], STEM_CHANNELS
    for stage in SPACE.stages:
        (out_channels,) = stage.out_channels
        places = []
        for index in range(stage.depth):
            stride = stage.stride if index == 0 else 1
            places.append(
                tuple(
                    Candidate(
                        operation_name(each),
                        SPACE.block_of(each, channels, out_channels, stride, index),
                    )
                    for each in stage.operations_at(index)
                )
            )
            channels = out_channels
        stages.append(tuple(places))
    return BlockSpace(
        name=SPACE.name,
        image_size_px=SPACE.image_size_px,
        stem=Convolution(STEM_CHANNELS, 3, SPACE.stem_stride, SPACE.activation),
        stages=tuple(stages),
        head=Head(
            NUM_CLASSES, conv_channels=HEAD_CHANNELS, activation=SPACE.activation
        ),
    )


@dataclasses.dataclass(frozen=True)
class PlacesAsDecisions:
    """The space as a joint search sees it."""

    name: str = SPACE.name

    @property
    def decisions(self) -> tuple[Options, ...]:
        """One for each place."""
        return tuple(Options(each.path, each.values) for each in SPACE.decisions)

    def resolve(self, choices: Mapping[str, Value]) -> Architecture:
        """Returns the network of choices, those of a recipe perhaps beside them."""
        own = {each.path: choices[each.path] for each in SPACE.decisions}
        return SPACE.resolve({path: str(value) for path, value in own.items()})


def operations_of(indices: Mapping[str, int]) -> OneShotGenotype:
    """Returns the genotype of a network of `for_dnas`, told by its candidates."""
    return {
        operation_path(number, index): operation_name(
            stage.operations_at(index)[indices[f"stage{number}/block{index}"]]
        )
        for number, stage in enumerate(SPACE.stages, start=1)
        for index in range(stage.depth)
    }


def uniform_network(max_macs: float) -> Architecture:
    """Returns MobileNetV2's block at all places, all widths scaled to the budget.

    3x3 kernels and an expansion of 6 throughout; see `scaled_network`.
    """
    usual = operation_name(Operation(3, 6))
    full = SPACE.resolve(
        {each.path: usual for each in SPACE.decisions}, name=f"{SPACE.name}_uniform"
    )
    return scaled_network(full, cost=macs, budget=max_macs)
