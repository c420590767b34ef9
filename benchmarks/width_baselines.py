"""What a search of widths has to beat: the same space's widths set without learning."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mobilenas_tf.costs.network import cost_function
from mobilenas_tf.models.derive import derived_architecture, select_channels
from mobilenas_tf.space import SearchSpace
from mobilenas_tf.spec import Architecture


def uniform_widths(space: SearchSpace, metric: str, budget: float) -> Architecture:
    """Returns the network whose widths are all the same share of the supernet's."""
    shares = {choice.path: 1.0 for choice in space.choices}
    return _network(space, shares, "uniform", metric, budget)


def random_widths(
    space: SearchSpace, metric: str, budget: float, *, seed: int
) -> Architecture:
    """Returns a network whose widths are drawn, then scaled alike to the budget."""
    rng = np.random.default_rng(seed)
    drawn = rng.uniform(size=len(space.choices))
    shares = {
        choice.path: float(share)
        for choice, share in zip(space.choices, drawn, strict=True)
    }
    return _network(space, shares, "random", metric, budget)


def _network(
    space: SearchSpace,
    shares: Mapping[str, float],
    name: str,
    metric: str,
    budget: float,
) -> Architecture:
    probabilities = {
        choice.path: np.full(choice.values[-1], shares[choice.path])
        for choice in space.choices
    }
    cost = cost_function(space.supernet, metric)
    selection = select_channels(space, probabilities, cost=cost, budget=budget)
    return derived_architecture(space, selection, name=name)
