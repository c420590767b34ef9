"""What a search found: the network of a budget, its inherited weights, its record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.costs.ops import Cost
from mobilenas_tf.costs.space_cost import CostFunction, whole_widths
from mobilenas_tf.json_io import write_json
from mobilenas_tf.models.compact import build_network
from mobilenas_tf.models.derive import (
    Selection,
    derived_architecture,
    select_channels,
)
from mobilenas_tf.models.network_io import INHERITED_WEIGHTS, save_network
from mobilenas_tf.models.supernet import Supernet
from mobilenas_tf.models.weight_transfer import transfer_weights
from mobilenas_tf.space import SearchSpace
from mobilenas_tf.spec import Architecture


@dataclasses.dataclass(frozen=True)
class FoundNetwork:
    """A network within a budget; `network` carries the supernet's weights.

    `supernet` is what the search had made of the space's by then.
    """

    supernet: Supernet
    architecture: Architecture
    network: keras.Model
    selection: Selection

    @property
    def cost(self) -> Cost:
        """Cost of the found network."""
        return network_cost(self.architecture)


def derive_network(
    supernet: Supernet, *, cost: CostFunction, budget: float
) -> FoundNetwork:
    """Returns the network of a supernet's likeliest channels within the budget.

    Args:
        supernet: A trained one.
        cost: Of its networks.
        budget: Largest allowed cost.
    """
    space = supernet.space
    selection = select_channels(
        space,
        {path: np.asarray(p) for path, p in supernet.priced_channels().items()},
        cost=cost,
        budget=budget,
    )
    architecture = derived_architecture(space, selection, name=f"{space.name}_found")
    network = build_network(architecture)
    transfer_weights(supernet, selection, network)
    return FoundNetwork(supernet, architecture, network, selection)


def write_found(
    folder: Path,
    found: FoundNetwork,
    space: SearchSpace,
    *,
    metric: str,
    budget: float,
    budget_cost: float,
    figures: Mapping[str, float],
) -> None:
    """Writes `architecture.json`, the inherited weights and `search.json`.

    Args:
        folder: A run folder or a snapshot's in it; made if it is not there.
        found: What was found.
        space: The space with which the search began.
        metric: What the budget counts.
        budget: The budget.
        budget_cost: What the found network costs of it.
        figures: Of the found network with its inherited weights; they are written with
            `inherited_` in front of their names.
    """
    cost, whole = found.cost, network_cost(space.supernet)
    document = {
        "space": space.name,
        "channel_divisor": space.channel_divisor,
        "metric": metric,
        "budget": budget,
        "supernet": space.supernet,
        "supernet_cost": {"macs": whole.macs, "params": whole.params},
        "derived_cost": {
            "macs": cost.macs,
            "params": cost.params,
            metric: budget_cost,
        },
        **{f"inherited_{name}": value for name, value in figures.items()},
        "width_scale": found.selection.width_scale,
        "widths": whole_widths(space, found.selection.widths),
        "probabilities": _summary(space, found.supernet.keep_probabilities()),
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_network(
        folder, found.architecture, found.network, weights_file=INHERITED_WEIGHTS
    )
    write_json(folder / "search.json", document)


def _summary(space: SearchSpace, probabilities: Mapping[str, Any]) -> dict[str, Any]:
    """Returns mean probability and share of undecided channels of each decision.

    Channels that were cut out on the way count with probability 0.
    """
    summary = {}
    for choice in space.choices:
        p = np.asarray(probabilities.get(choice.path, ()))
        undecided = (p > 0.1) & (p < 0.9)
        summary[choice.path] = {
            "mean": float(np.sum(p)) / choice.values[-1],
            "undecided": float(np.sum(undecided)) / choice.values[-1],
        }
    return summary
