"""Named spaces and networks as a latency table sees them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping

import numpy as np

from mobilenas_tf.block_space import BlockSpace
from mobilenas_tf.block_spaces import TABLES as BLOCK_TABLES
from mobilenas_tf.block_spaces import named_block_space
from mobilenas_tf.costs.latency_parts import Part, network_parts, space_parts
from mobilenas_tf.costs.latency_table import LatencyTable
from mobilenas_tf.costs.network import layer_costs
from mobilenas_tf.costs.space_cost import genotype_cost
from mobilenas_tf.costs.width_latency import (
    network_latency,
    network_width_parts,
    width_latency,
    width_parts,
)
from mobilenas_tf.decisions import Options, Value, choices_at
from mobilenas_tf.joint_space import JointSpace
from mobilenas_tf.joint_spaces import SPACES as JOINT_SPACES
from mobilenas_tf.joint_spaces import named_joint_space
from mobilenas_tf.names import lookup
from mobilenas_tf.one_shot_space import OneShotSpace
from mobilenas_tf.one_shot_spaces import SPACES as ONE_SHOT_SPACES
from mobilenas_tf.one_shot_spaces import named_one_shot_space
from mobilenas_tf.space import SearchSpace
from mobilenas_tf.spaces import TABLES as WIDTH_TABLES
from mobilenas_tf.spaces import named_space
from mobilenas_tf.spec import Architecture
from mobilenas_tf.zoo import ZOO, zoo_architecture

# Spaces whose tables have operators, at some widths, instead of blocks.
_OF_OPERATORS = (*WIDTH_TABLES, *ONE_SHOT_SPACES, *JOINT_SPACES)
# Spaces of bit widths are not among them: what is measured are int8 or float kernels.
SPACES = (
    *(name for name in BLOCK_TABLES if not name.startswith("bits_")),
    *_OF_OPERATORS,
)


@dataclasses.dataclass(frozen=True)
class PredictedNetwork:
    """A network of a space, and `table -> ms`: what a table says of it."""

    architecture: Architecture
    predict: Callable[[LatencyTable], float]


@dataclasses.dataclass(frozen=True)
class MeasuredSpace:
    """What of a space is measured, and networks to judge a table by.

    Attributes:
        name: Of the space.
        parts: To measure, by key.
        sample: Draws a network.
    """

    name: str
    parts: Mapping[str, Part]
    sample: Callable[[np.random.Generator], PredictedNetwork]


def measured_space(name: str, *, num_classes: int) -> MeasuredSpace:
    """Returns a named space, of operators or of widths, or that of a zoo network alone.

    Raises:
        ValueError: If there is none of that name; the message has the nearest ones.
    """
    if name in BLOCK_TABLES:
        return _of_operators(named_block_space(name, num_classes=num_classes))
    if name in ONE_SHOT_SPACES:
        return _of_one_shot(named_one_shot_space(name, num_classes=num_classes))
    if name in JOINT_SPACES:
        return _of_joint(named_joint_space(name, num_classes=num_classes))
    if name in ZOO:
        return _of_network(zoo_architecture(name, num_classes=num_classes))
    lookup("space", name, dict.fromkeys((*SPACES, *ZOO)))
    return _of_widths(named_space(name, num_classes=num_classes))


def _of_operators(space: BlockSpace) -> MeasuredSpace:
    def sample(rng: np.random.Generator) -> PredictedNetwork:
        architecture = space.resolve(space.sample(rng))
        return PredictedNetwork(
            architecture, lambda table: table.network_ms(architecture)
        )

    return MeasuredSpace(space.name, space_parts(space), sample)


def _of_one_shot(space: OneShotSpace) -> MeasuredSpace:
    def sample(rng: np.random.Generator) -> PredictedNetwork:
        architecture = space.resolve(space.sample(rng))
        return PredictedNetwork(
            architecture, lambda table: network_latency(table)(architecture)
        )

    # The widest network, with one operation wherever it may stand; and the same space
    # with its kernels side by side, as a search by gates has it.
    widest = space.widest()
    values = {each.path: each.values for each in space.all_decisions}
    names = {v for each in values.values() for v in each if isinstance(v, str)}
    networks = [
        space.resolve(
            {
                path: name if name in values[path] else value
                for path, value in widest.items()
            }
        )
        for name in sorted(names)
    ]
    gated = named_space(space.name, num_classes=space.num_classes)
    parts = {**network_width_parts(networks), **width_parts(gated)}
    return MeasuredSpace(space.name, parts, sample)


def _of_joint(space: JointSpace) -> MeasuredSpace:
    def sample(rng: np.random.Generator) -> PredictedNetwork:
        shares = rng.random(len(space.decisions))
        architecture = space.resolve(choices_at(space.decisions, shares.tolist()))
        return PredictedNetwork(
            architecture, lambda table: network_latency(table)(architecture)
        )

    # The widest network of every resolution, with each kernel, squeeze-excite and
    # activation wherever it may stand.
    values = {each.path: each.values for each in space.all_decisions}
    options = {"resolution": dict.fromkeys(values["resolution"])}
    for decision in space.all_decisions:
        if isinstance(decision, Options):
            known = options.setdefault(_kind(decision.path), {})
            known.update(dict.fromkeys(decision.values))

    def widest(chosen: Mapping[str, Value]) -> Architecture:
        return space.resolve(
            {
                path: chosen[_kind(path)]
                if chosen.get(_kind(path)) in possible
                else possible[-1]
                for path, possible in values.items()
            }
        )

    networks = [
        widest(dict(zip(options, combination, strict=True)))
        for combination in itertools.product(*options.values())
    ]
    return MeasuredSpace(space.name, network_width_parts(networks), sample)


def _kind(path: str) -> str:
    """Returns what a decision is about: a stage's kernels are all of one kind."""
    return path.rpartition("/")[2].removeprefix("first_")


def _of_network(architecture: Architecture) -> MeasuredSpace:
    def sample(_: np.random.Generator) -> PredictedNetwork:
        raise ValueError(
            "latency_table must be of a search space, whose random networks judge it. "
            f"Received: that of the network {architecture.name}"
        )

    parts = {part.key: part for part in network_parts(architecture)}
    return MeasuredSpace(architecture.name, parts, sample)


def _of_widths(space: SearchSpace) -> MeasuredSpace:
    def sample(rng: np.random.Generator) -> PredictedNetwork:
        genotype = space.sample(rng)
        return PredictedNetwork(
            space.resolve(genotype),
            lambda table: genotype_cost(space, width_latency(space, table), genotype),
        )

    return MeasuredSpace(space.name, width_parts(space), sample)


def predicted_ms(architecture: Architecture, table: LatencyTable) -> float:
    """Returns the latency of a network by a table of a space that it is in.

    Raises:
        ValueError: If the table lacks a part of it.
    """
    if table.space in _OF_OPERATORS:
        return network_latency(table)(architecture)
    return float(table.network_ms(architecture))


def layers_ms(architecture: Architecture, table: LatencyTable) -> dict[str, float]:
    """Returns the latency of each layer by path; nothing by a table of operators."""
    if table.space in _OF_OPERATORS:
        return {}
    paths = [layer.path for layer in layer_costs(architecture)]
    parts = map(table.part_ms, network_parts(architecture))
    return dict(zip(paths, parts, strict=True))
