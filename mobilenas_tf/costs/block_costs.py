"""Costs in a space of operators, where every candidate adds its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import scipy.optimize
import scipy.sparse

from mobilenas_tf.block_space import BlockGenotype, BlockSpace
from mobilenas_tf.costs.ops import Count
from mobilenas_tf.spec import Architecture

_LEAST_PROBABILITY = 1e-12
# Share of a budget that a network must make use of, where one can.
_USED = 0.97


@dataclasses.dataclass(frozen=True)
class BlockCosts:
    """`cost = fixed + sum over places of the candidate's cost`, in any unit.

    Attributes:
        fixed: Of stem and head.
        candidates: `{place: [N]}`.
    """

    fixed: float
    candidates: Mapping[str, np.ndarray]

    def of(self, genotype: Mapping[str, int]) -> float:
        """Returns the cost of a network."""
        return self.fixed + sum(
            float(costs[genotype[path]]) for path, costs in self.candidates.items()
        )

    def expected(self, weights: Mapping[str, Any]) -> Count:
        """Returns `fixed + sum_places sum_i w_i cost_i`, `[]`.

        At one-hot weights it is the cost of that network.

        Args:
            weights: `{place: [N]}`, probabilities or a sample, arrays or tensors.
        """
        total = self.fixed
        for path, costs in self.candidates.items():
            for index, cost in enumerate(costs):
                total = total + weights[path][index] * float(cost)
        return total

    @property
    def range(self) -> tuple[float, float]:
        """The costs of the cheapest and of the most expensive network."""
        costs = self.candidates.values()
        low, high = (
            sum(float(end(each)) for each in costs) for end in (np.min, np.max)
        )
        return self.fixed + low, self.fixed + high


def block_costs(space: BlockSpace, cost: Callable[[Architecture], float]) -> BlockCosts:
    """Returns the costs of a space, for a cost that is a sum over layers.

    Args:
        space: Of operators.
        cost: Of a network: multiply-adds, parameters, or a latency table's prediction.
    """
    base = {place.path: 0 for place in space.places}
    whole = cost(space.resolve(base))
    candidates = {}
    for place in space.places:
        others = [
            cost(space.resolve({**base, place.path: index})) - whole
            for index in range(len(place.candidates))
        ]
        # What an identity would add is nothing; without one the cheapest adds nothing.
        blocks = [candidate.block for candidate in place.candidates]
        nothing = others[blocks.index(None)] if None in blocks else min(others)
        candidates[place.path] = np.array(others) - nothing
    fixed = whole - sum(costs[0] for costs in candidates.values())
    return BlockCosts(float(fixed), candidates)


def most_probable(
    probabilities: Mapping[str, np.ndarray], costs: BlockCosts, budget: float
) -> BlockGenotype:
    """Returns the most probable network that makes use of a budget.

    It maximises `sum log p` under `0.97 budget <= cost <= budget`, solved exactly as an
    integer linear programme by scipy. Without the lower end the likeliest candidates
    together are often far cheaper than the expected cost, and the budget is not used.
    Where no network costs so much, there is no lower end.

    Raises:
        ValueError: If no network is within the budget.
    """
    cheapest, dearest = costs.range
    if cheapest > budget:
        raise ValueError(
            f"budget must allow the cheapest network, {cheapest:.6g}. "
            f"Received: budget={budget:.6g}"
        )
    used = _most_probable(probabilities, costs, (_USED * budget, budget))
    if used is None:
        used = _most_probable(probabilities, costs, (cheapest, budget))
    if used is None:
        raise ValueError(
            "budget must allow a network, which scipy finds none for. "
            f"Received: budget={budget:.6g}, networks from {cheapest:.6g} to "
            f"{dearest:.6g}"
        )
    return used


def _most_probable(
    probabilities: Mapping[str, np.ndarray],
    costs: BlockCosts,
    interval: tuple[float, float],
) -> BlockGenotype | None:
    paths = list(costs.candidates)
    sizes = [len(costs.candidates[path]) for path in paths]
    score = np.concatenate(
        [np.log(np.maximum(probabilities[path], _LEAST_PROBABILITY)) for path in paths]
    )
    cost = np.concatenate([costs.candidates[path] for path in paths])
    one_of_each = scipy.sparse.block_diag([np.ones((1, size)) for size in sizes])
    scale = max(float(np.abs(cost).max()), 1e-30)
    low, high = ((end - costs.fixed) / scale for end in interval)
    found = scipy.optimize.milp(
        -score,
        integrality=np.ones_like(score),
        bounds=scipy.optimize.Bounds(0, 1),
        constraints=[
            scipy.optimize.LinearConstraint(one_of_each, 1, 1),
            scipy.optimize.LinearConstraint(cost[None] / scale, low, high),
        ],
    )
    if found.x is None:
        return None
    chosen = np.split(found.x, np.cumsum(sizes)[:-1])
    return {
        path: int(np.argmax(part)) for path, part in zip(paths, chosen, strict=True)
    }
