"""Supernets: the largest network of a space with a gate on every open width."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops

from mobilenas_tf.layers.gates import BatchNormScaleGate, Gate
from mobilenas_tf.layers.relaxations import union_probability
from mobilenas_tf.models.compact import connect_network
from mobilenas_tf.models.layer_maker import GateFunction, layer_name
from mobilenas_tf.models.layer_set import FUSED, Layer, LayerSet
from mobilenas_tf.space import Choice, SearchSpace, removable_kernels

Tensor = Any
# (the decision, layer name, seed) -> a gate layer for its channels
GateFactory = Callable[[Choice, str, int], Gate]


@dataclasses.dataclass(frozen=True)
class Supernet:
    """A gated network with the space that it spans.

    `model` maps images to the head's outputs; `masked_model` shares its layers and maps
    images to `(outputs, {width path: mask [C]})`. Gates sample while training.

    Every open width group has one gate; the blocks of a residual chain share theirs.
    Differs: FiGS' reference code (morph_net) gates each producer of a shared channel,
    which dies only when all are closed. The penalty on one of them then has the factor
    `1 - p` of the other, which is next to nothing while both are open.
    """

    space: SearchSpace
    model: keras.Model
    masked_model: keras.Model
    gates: Mapping[str, Gate]

    @property
    def architecture_variables(self) -> list[keras.Variable]:
        """The gates' logits, in the order of `gates`."""
        return [v for gate in self.gates.values() for v in gate.trainable_variables]

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
        """Returns `{width path: P(channel kept) [C]}`."""
        return {path: gate.keep_probabilities() for path, gate in self.gates.items()}

    def priced_channels(self) -> dict[str, Tensor]:
        """Returns `{width path: [C]}`: what the penalty counts, differentiable."""
        return {path: gate.priced_channels() for path, gate in self.gates.items()}

    def expected_widths(self, probabilities: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns `{width path: expected channels []}` for `network_cost`.

        A block that can vanish is there while any of its kernels' channels is.

        Args:
            probabilities: `{width path: [C]}`, probabilities or a sample's masks.
        """
        widths = {path: ops.sum(p) for path, p in probabilities.items()}
        for operator, kernels in removable_kernels(self.space).items():
            widths[f"{operator}/presence"] = union_probability(
                ops.concatenate([probabilities[kernel.path] for kernel in kernels])
            )
        return widths


def build_supernet_model(
    space: SearchSpace,
    make_gate: GateFactory,
    *,
    layer_set: LayerSet = FUSED,
    batch_norm_momentum: float = 0.99,
    dropout_rate: float = 0.0,
    drop_path_rate: float = 0.0,
    seed: int = 0,
) -> Supernet:
    """Builds the supernet of a space.

    Args:
        space: What is open, and the largest network.
        make_gate: Makes the gate of `(decision, layer name, seed)`.
        layer_set: The flavour of the layers.
        batch_norm_momentum: Share of the moving statistics that each step keeps.
        dropout_rate: Before the classifier, while training.
        drop_path_rate: Of the last block, while training.
        seed: Seed of all gates' noise.
    """
    gates = {
        choice.path: make_gate(choice, layer_name(choice.path, "gate"), seed + index)
        for index, choice in enumerate(space.choices)
    }
    masks: dict[str, Tensor] = {}

    def shared(path: str, gate: Gate) -> GateFunction:
        norms: list[Layer | None] = []
        if isinstance(gate, BatchNormScaleGate):
            gate.follow(lambda: norms)

        def apply(x: Tensor, norm: Layer | None) -> Tensor:
            norms.append(norm)
            if path not in masks:
                masks[path] = gate(x)
            return masks[path]

        return apply

    image, outputs = connect_network(
        space.supernet,
        layer_set=layer_set,
        gates={path: shared(path, gate) for path, gate in gates.items()},
        dropout_rate=dropout_rate,
        drop_path_rate=drop_path_rate,
        batch_norm_momentum=batch_norm_momentum,
    )
    model = keras.Model(image, outputs, name=space.supernet.name)
    masked_model = keras.Model(image, (outputs, masks))
    return Supernet(space, model, masked_model, gates)
