"""The budgets of a search of widths, with what its networks cost."""

from __future__ import annotations

import dataclasses

from mobilenas_tf.costs.latency_table import LatencyTable
from mobilenas_tf.costs.space_cost import CostFunction, genotype_cost, space_cost
from mobilenas_tf.search.config import BudgetConfig
from mobilenas_tf.space import SearchSpace


@dataclasses.dataclass(frozen=True)
class WidthBudget:
    """Budgets of one kind, in falling order, and the cost of the space's networks.

    `metric` is `macs`, `params` or `ms`; `budgets` and `cost` are in its unit.
    """

    metric: str
    budgets: tuple[float, ...]
    cost: CostFunction


def width_budget(
    space: SearchSpace, config: BudgetConfig, table: LatencyTable | None = None
) -> WidthBudget:
    """Returns the budgets of a space.

    Args:
        space: Of widths.
        config: What the networks may cost.
        table: Measured latencies of the space, for a budget in milliseconds.

    Raises:
        ValueError: If the table is missing or lacks an operator, or no network of the
            space can be just within a budget.
    """
    cost = space_cost(space, config.metric, table)
    smallest, largest = (
        genotype_cost(space, cost, genotype)
        for genotype in (space.smallest(), space.largest())
    )
    for value in config.budgets:
        if not smallest <= value <= largest:
            raise ValueError(
                f"max_{config.metric} must be from {_number(smallest)} to "
                f"{_number(largest)}, what the space {space.name} can reach. "
                f"Received: {_number(value)}"
            )
    return WidthBudget(config.metric, config.budgets, cost)


def _number(cost: float) -> str:
    """Returns a count in full, milliseconds to four digits."""
    return f"{cost:,.0f}" if cost == int(cost) else f"{cost:.4g}"
