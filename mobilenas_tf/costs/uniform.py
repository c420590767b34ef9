"""The plain baselines of every search: one network, scaled to the budget as a whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.spaces import TABLES, build_supernet, named_space
from mobilenas_tf.spec import Architecture, round_channels
from mobilenas_tf.widths import kernel_path, resize, width_groups


def uniform_network(
    name: str, *, num_classes: int, metric: str, budget: float, channel_divisor: int = 8
) -> Architecture:
    """Returns the baseline of a space: its blocks with 3x3 kernels, scaled as a whole.

    A width multiplier scales the channels of stem, stages and head, as MobileNetV2's
    does: the largest one that fits the budget. As rounding to the divisor makes its
    steps coarse, a second factor then widens all expansions alike, and a third one the
    head, each as far as it fits.

    Args:
        name: A named space; of one without a table of stages (a one-shot space) the
            largest network with 3x3 kernels is scaled, see `scaled_network`.
        num_classes: Classes of the head.
        metric: `macs` or `params`.
        budget: Largest allowed cost.
        channel_divisor: What channel counts are multiples of.

    Raises:
        ValueError: If the narrowest network is over the budget.
    """
    if name not in TABLES:
        space = named_space(
            name, num_classes=num_classes, channel_divisor=channel_divisor
        )
        return scaled_network(
            _with_small_kernels(space.supernet, f"{name}_uniform"),
            cost=lambda network: getattr(network_cost(network), metric),
            budget=budget,
            channel_divisor=channel_divisor,
        )
    table = TABLES[name]()

    def scaled(
        multiplier: float, expansion: float = 1.0, head_factor: float = 1.0
    ) -> Architecture:
        rows = tuple(
            dataclasses.replace(
                row,
                kernel_sizes=(3,),
                expansion=row.expansion * expansion if row.expansion > 1 else 1,
                out_channels=round_channels(
                    row.out_channels * multiplier, channel_divisor
                ),
            )
            for row in table.rows
        )
        stem, head = (
            round_channels(channels * multiplier, channel_divisor)
            for channels in (table.stem_channels, table.head_channels * head_factor)
        )
        return build_supernet(
            f"{name}_uniform",
            dataclasses.replace(
                table, rows=rows, stem_channels=stem, head_channels=head
            ),
            num_classes=num_classes,
            channel_divisor=channel_divisor,
        )

    def fits(architecture: Architecture) -> bool:
        return getattr(network_cost(architecture), metric) <= budget

    if not fits(scaled(0.001)):
        raise ValueError(
            f"budget must allow the narrowest uniform network of {name}. "
            f"Received: budget={budget:,.0f} {metric}"
        )
    multiplier = _largest(lambda factor: fits(scaled(factor)), 0.001)
    expansion = _largest(lambda factor: fits(scaled(multiplier, factor)), 1.0)
    head_factor = _largest(
        lambda factor: fits(scaled(multiplier, expansion, factor)), 1.0
    )
    return scaled(multiplier, expansion, head_factor)


def scaled_network(
    architecture: Architecture,
    *,
    cost: Callable[[Architecture], float],
    budget: float,
    channel_divisor: int = 8,
) -> Architecture:
    """Returns a published network made narrower: the widest one within the budget.

    One multiplier scales all channel counts, as MobileNets' does; a second one, as its
    steps are coarse, then widens all expansions alike as far as they fit.

    Args:
        architecture: The full network.
        cost: What a narrower one costs, perhaps under another head.
        budget: Largest allowed cost.
        channel_divisor: What channel counts are multiples of.

    Raises:
        ValueError: If the narrowest network is over the budget.
    """
    groups = width_groups(architecture)

    def scaled(multiplier: float, expansion: float = 1.0) -> Architecture:
        widths = {}
        for group in groups:
            factor = multiplier * (expansion if group.is_kernel else 1.0)
            channels = round_channels(group.channels * factor, channel_divisor)
            widths[group.path] = min(group.channels, channels)
        return resize(architecture, widths)

    def fits(network: Architecture) -> bool:
        return cost(network) <= budget

    if not fits(scaled(0.001)):
        raise ValueError(
            f"budget must allow the narrowest {architecture.name}. "
            f"Received: budget={budget:,.0f}"
        )
    multiplier = _largest(lambda factor: fits(scaled(factor)), 0.001)
    return scaled(
        multiplier, _largest(lambda factor: fits(scaled(multiplier, factor)), 1.0)
    )


def _with_small_kernels(architecture: Architecture, name: str) -> Architecture:
    """Returns a network without the kernels beside its 3x3 ones."""
    left_out = {
        group.path: 0
        for group in width_groups(architecture)
        if group.is_kernel
        and group.path != kernel_path(group.path.rpartition("/")[0], 3)
    }
    return dataclasses.replace(resize(architecture, left_out), name=name)


def _largest(fits: Callable[[float], bool], smallest: float) -> float:
    """Returns the largest factor up to 4 that fits, to within 0.001."""
    low, high = smallest, 4.0
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
