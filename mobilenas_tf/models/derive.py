"""From a trained supernet to one network: which channels stay, and its weights.

What stays follows from the keep probabilities, never from a sample.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mobilenas_tf.costs.space_cost import CostFunction
from mobilenas_tf.layers.gates import HARD_LOGIT, WidthChoiceGate
from mobilenas_tf.models.supernet import Supernet
from mobilenas_tf.space import (
    SearchSpace,
    removable_kernels,
    required_kernels,
    with_presence,
)
from mobilenas_tf.spec import Architecture
from mobilenas_tf.widths import resize

_Step = tuple[float, str, int]  # (value, width path, rung that it starts from)


@dataclasses.dataclass(frozen=True)
class Selection:
    """Which channels of a supernet stay.

    `kept` maps width paths to boolean `[C]`; `width_scale` is the factor on all
    expected widths at which they are what was kept: near 1 where a search met its
    budget.
    """

    kept: Mapping[str, np.ndarray]
    width_scale: float

    @property
    def widths(self) -> dict[str, int]:
        """Channels by width path."""
        return {path: int(kept.sum()) for path, kept in self.kept.items()}


@dataclasses.dataclass(frozen=True)
class _Ladder:
    """One width group's way up: allowed widths, and what each further step is worth.

    `order` sorts the channels by probability, falling. Step i -> i + 1 of `rungs` is
    taken where the expected width, times a factor common to all groups, is nearer to
    rung i + 1: `values[i]`, expected width over the rungs' middle, is 1 / that factor.
    """

    order: np.ndarray
    rungs: tuple[int, ...]
    values: tuple[float, ...]


def select_channels(
    space: SearchSpace,
    probabilities: Mapping[str, np.ndarray],
    *,
    cost: CostFunction | None = None,
    budget: float | None = None,
) -> Selection:
    """Chooses the channels of the final network.

    A group gets its expected width, the sum of its channels' probabilities, rounded to
    what the space allows, and its likeliest channels. With a budget, all expected
    widths are scaled by the largest common factor that fits, then single steps are
    taken while they fit: the cost lands on the budget from below. What keeps the
    network whole is always taken.

    Where gates have decided, the expected width is the number of open ones. Where they
    have not, a common threshold on probabilities would open the groups on one side of
    it and close those on the other, however little they differ.

    Args:
        space: The space of the supernet.
        probabilities: `{width path: [C]}`.
        cost: `{width path: channels} -> cost`, needed with a budget.
        budget: Largest allowed cost.

    Raises:
        ValueError: If even the smallest selection costs more than the budget.
    """
    ladders = _ladders(space, probabilities)
    likeliest = _smallest_levels(
        space, ladders, lambda paths: max(paths, key=lambda p: ladders[p].values[0])
    )
    if budget is None or cost is None:
        taken = [step for step in _steps(ladders, likeliest) if step[0] >= 1.0]
        levels = _climb(likeliest, taken)
    else:

        def fits(candidate: Mapping[str, int]) -> bool:
            widths = {
                path: ladders[path].rungs[level] for path, level in candidate.items()
            }
            return cost(with_presence(space, widths)) <= budget

        smallest = _smallest_levels(space, ladders, lambda paths: paths[0])
        levels = likeliest if fits(likeliest) else smallest
        if not fits(levels):
            raise ValueError(
                f"budget must allow the smallest network of {space.name}. "
                f"Received: budget={budget:,.6g}"
            )
        taken, levels = _fill(levels, _steps(ladders, levels), fits)
    last = min((value for value, _, _ in taken if value > 0.0), default=1.0)
    return Selection(_first_rungs(ladders, levels), 1.0 / last)


def select_live_channels(
    space: SearchSpace, probabilities: Mapping[str, np.ndarray], *, dead_below: float
) -> Selection:
    """Returns what is left of a supernet once surely dead channels are taken out.

    In every group the channels of probability `dead_below` and more stay, and with them
    the likeliest others, up to the next width that the space allows. Every block keeps
    some channels, so that paths stay what they are.

    Args:
        space: The space of the supernet.
        probabilities: `{width path: [C]}`.
        dead_below: Probability under which a channel is surely dead, in (0, 0.5).
    """
    ladders = _ladders(space, probabilities)
    levels = {}
    for path, ladder in ladders.items():
        living = int(np.sum(probabilities[path] >= dead_below))
        levels[path] = int(np.searchsorted(ladder.rungs, living))
    blocks = (*required_kernels(space.supernet), *removable_kernels(space).values())
    for kernels in blocks:
        opened = [kernel.path for kernel in kernels if kernel.path in ladders]
        if len(opened) == len(kernels) and not any(levels[path] for path in opened):
            levels[max(opened, key=lambda path: ladders[path].values[0])] = 1
    return Selection(_first_rungs(ladders, levels), 1.0)


def _steps(ladders: Mapping[str, _Ladder], levels: Mapping[str, int]) -> list[_Step]:
    """Returns all steps above `levels` in falling order of value."""
    steps = (
        (value, path, step)
        for path, ladder in ladders.items()
        for step, value in enumerate(ladder.values)
        if step >= levels[path]
    )
    return sorted(steps, key=lambda item: (-item[0], item[2], item[1]))


def _fill(
    levels: Mapping[str, int],
    steps: Sequence[_Step],
    fits: Callable[[Mapping[str, int]], bool],
) -> tuple[list[_Step], dict[str, int]]:
    """Takes the longest affordable prefix of `steps`, then all that still fit."""
    low, high = 0, len(steps)
    while low < high:
        middle = (low + high + 1) // 2
        if fits(_climb(levels, steps[:middle])):
            low = middle
        else:
            high = middle - 1
    taken, levels = list(steps[:low]), _climb(levels, steps[:low])
    for step in steps[low:]:
        _, path, index = step
        if index != levels[path]:
            continue  # a lower step of this group did not fit
        candidate = {**levels, path: index + 1}
        if fits(candidate):
            taken, levels = [*taken, step], candidate
    return taken, levels


def _climb(levels: Mapping[str, int], steps: Sequence[_Step]) -> dict[str, int]:
    climbed = dict(levels)
    for _, path, step in steps:
        climbed[path] = max(climbed[path], step + 1)
    return climbed


def _ladders(
    space: SearchSpace, probabilities: Mapping[str, np.ndarray]
) -> dict[str, _Ladder]:
    ladders = {}
    for choice in space.choices:
        p = np.asarray(probabilities[choice.path], np.float64)
        order = np.argsort(-p, kind="stable")
        values = tuple(
            float(np.sum(p)) / ((low + high) / 2)
            for low, high in itertools.pairwise(choice.values)
        )
        ladders[choice.path] = _Ladder(order, choice.values, values)
    return ladders


def _smallest_levels(
    space: SearchSpace,
    ladders: Mapping[str, _Ladder],
    choose: Callable[[Sequence[str]], str],
) -> dict[str, int]:
    """Returns the lowest rung of each group that leaves the network whole.

    A block that cannot vanish keeps the kernel that `choose` picks of its paths, which
    are in rising order of kernel size.
    """
    levels = dict.fromkeys(ladders, 0)
    for kernels in required_kernels(space.supernet):
        opened = [kernel.path for kernel in kernels if kernel.path in ladders]
        if len(opened) == len(kernels):
            levels[choose(opened)] = 1
    return levels


def _first_rungs(
    ladders: Mapping[str, _Ladder], levels: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """Returns the channels `[C]` of each group that its level holds."""
    kept = {path: np.zeros(len(ladder.order), bool) for path, ladder in ladders.items()}
    for path, ladder in ladders.items():
        kept[path][ladder.order[: ladder.rungs[levels[path]]]] = True
    return kept


def harden(supernet: Supernet, selection: Selection) -> None:
    """Sets the gates' logits so that masks equal the selection, exactly 0 or 1."""
    for path, gate in supernet.gates.items():
        kept, logit = selection.kept[path], HARD_LOGIT
        if isinstance(gate, WidthChoiceGate):  # of falling probability: a prefix
            kept = np.equal(gate.widths, kept.sum())
            logit = HARD_LOGIT * float(gate.temperature)
        gate.logits.assign(np.where(kept, logit, -logit))


def derived_architecture(
    space: SearchSpace, selection: Selection, *, name: str
) -> Architecture:
    """Returns the network of a selection."""
    return dataclasses.replace(resize(space.supernet, selection.widths), name=name)
