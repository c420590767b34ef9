"""Supernets: the largest network of a space with a gate on every open width."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
from keras import ops

from mobilenas_tf.layers.gates import Gate
from mobilenas_tf.layers.relaxations import union_probability
from mobilenas_tf.models.compact import build_network, layer_name
from mobilenas_tf.models.layer_set import FUSED, LayerSet
from mobilenas_tf.space import SearchSpace
from mobilenas_tf.widths import WidthGroup, width_groups

Tensor = Any
# (number of channels, layer name, seed) -> a gate layer
GateFactory = Callable[[int, str, int], Gate]


@dataclasses.dataclass(frozen=True)
class Supernet:
    """A gated network with the space that it spans.

    `model` maps images to logits; `masked_model` shares its layers and maps images to
    `(logits, {gate path: mask [C]})`. Gates sample while training.
    """

    space: SearchSpace
    model: keras.Model
    masked_model: keras.Model
    gates: Mapping[str, Gate]

    @property
    def architecture_variables(self) -> list[keras.Variable]:
        """The gates' logits, in the order of `gates`."""
        return [gate.logits for gate in self.gates.values()]

    @property
    def weight_variables(self) -> list[keras.Variable]:
        """All other trained variables."""
        own = {id(variable) for variable in self.architecture_variables}
        return [
            variable
            for variable in self.model.trainable_variables
            if id(variable) not in own
        ]

    def keep_probabilities(self) -> dict[str, Tensor]:
        """Returns `{gate path: P(channel kept) [C]}`."""
        return {path: gate.keep_probabilities() for path, gate in self.gates.items()}

    def expected_widths(self, probabilities: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns `{width path: expected channels []}` for `network_cost`.

        A channel that several blocks write lives while any of them keeps it; a block
        that can vanish is there while any of its kernels' channels is.

        Args:
            probabilities: `{gate path: [C]}`, probabilities or a sample's masks.
        """
        presence = {
            f"{operator}/presence": union_probability(
                ops.concatenate([probabilities[kernel.path] for kernel in kernels])
            )
            for operator, kernels in removable_kernels(self.space).items()
        }
        widths = dict(presence)
        open_paths = {choice.path for choice in self.space.choices}
        for group in width_groups(self.space.supernet):
            if group.path not in open_paths:
                continue
            written = [
                probabilities[gate_path] * presence.get(f"{producer}/presence", 1.0)
                for producer, gate_path in producer_gates(group)
            ]
            kept = written[0]
            if len(written) > 1:
                kept = union_probability(ops.stack(written))
            widths[group.path] = ops.sum(kept)
        return widths


def producer_gates(group: WidthGroup) -> Iterator[tuple[str, str]]:
    """Yields `(producer, gate path)` of a width group; every producer has a gate."""
    for producer in group.producers:
        is_output = group.path.endswith("/output")
        yield producer, f"{producer}/output" if is_output else producer


def removable_kernels(space: SearchSpace) -> dict[str, list[WidthGroup]]:
    """Returns, for every block that can vanish in the space, its kernels' groups."""
    open_paths = {choice.path for choice in space.choices}
    kernels: dict[str, list[WidthGroup]] = {}
    for group in width_groups(space.supernet):
        if group.operator is not None:
            kernels.setdefault(group.operator, []).append(group)
    return {
        operator: groups
        for operator, groups in kernels.items()
        if open_paths.issuperset(group.path for group in groups)
    }


def build_supernet_model(
    space: SearchSpace,
    make_gate: GateFactory,
    *,
    layer_set: LayerSet = FUSED,
    batch_norm_momentum: float = 0.99,
    dropout_rate: float = 0.0,
    seed: int = 0,
) -> Supernet:
    """Builds the supernet of a space.

    Args:
        space: What is open, and the largest network.
        make_gate: Makes the gate of `(channels, layer name, seed)`.
        layer_set: The flavour of the layers.
        batch_norm_momentum: Share of the moving statistics that each step keeps.
        dropout_rate: Before the classifier, while training.
        seed: Seed of all gates' noise.
    """
    open_paths = {choice.path for choice in space.choices}
    gates: dict[str, Gate] = {}
    for group in width_groups(space.supernet):
        if group.path not in open_paths:
            continue
        for _, gate_path in producer_gates(group):
            name = layer_name(gate_path, "gate")
            gates[gate_path] = make_gate(group.channels, name, seed + len(gates))
    masks: dict[str, Tensor] = {}

    def recorded(path: str, gate: Gate) -> Callable[[Tensor], Tensor]:
        def apply(x: Tensor) -> Tensor:
            masks[path] = gate(x)
            return masks[path]

        return apply

    model = build_network(
        space.supernet,
        layer_set=layer_set,
        gates={path: recorded(path, gate) for path, gate in gates.items()},
        dropout_rate=dropout_rate,
        batch_norm_momentum=batch_norm_momentum,
    )
    masked_model = keras.Model(model.inputs[0], (model.outputs[0], masks))
    return Supernet(space, model, masked_model, gates)
