"""What the networks of a space of widths cost, in the unit of a budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mobilenas_tf.costs.latency_table import LatencyTable, required_table
from mobilenas_tf.costs.network import cost_function
from mobilenas_tf.costs.ops import Count
from mobilenas_tf.costs.width_latency import width_latency
from mobilenas_tf.space import Genotype, SearchSpace, with_presence

# `{width path: channels} -> cost`
CostFunction = Callable[[Mapping[str, Count]], Count]


def space_cost(
    space: SearchSpace, metric: str, table: LatencyTable | None = None
) -> CostFunction:
    """Returns `widths -> cost` for the networks of a space.

    Args:
        space: Of widths.
        metric: `macs`, `params` or `ms`.
        table: Measured latencies; `ms` needs them.

    Raises:
        ValueError: If there is no table for `ms`, or it lacks an operator.
    """
    if metric != "ms":
        return cost_function(space.supernet, metric)
    return width_latency(space, required_table(table, space.name))


def genotype_cost(space: SearchSpace, cost: CostFunction, genotype: Genotype) -> float:
    """Returns the cost of a network of the space."""
    return float(cost(with_presence(space, genotype)))


def narrowed_cost(
    space: SearchSpace, cost: CostFunction, narrowed: SearchSpace
) -> CostFunction:
    """Returns the cost function of a space's part, in which some widths are fixed.

    Args:
        space: The whole space.
        cost: Of the whole space.
        narrowed: Its part.
    """
    fixed = whole_widths(space, narrowed.largest())
    return lambda widths: cost({**fixed, **widths})


def whole_widths(space: SearchSpace, widths: Mapping[str, int]) -> dict[str, int]:
    """Returns widths for every decision of a space; one that has vanished is 0."""
    return {choice.path: widths.get(choice.path, 0) for choice in space.choices}
