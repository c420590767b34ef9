"""Shrinking: which operations of a one-shot space are turned off, and why.

Source: Shen et al., BS-NAS, arXiv:2003.09821 (abstract: "a shrinking strategy gradually
turning off those underperforming operations"). Differs: a reconstruction. What
underperforms is told by scored networks at equal multiply-adds, so that an operation
is not turned off for being cheap.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mobilenas_tf.one_shot_space import OneShotGenotype, OneShotSpace

# Standard errors by which an operation must be behind the best one of its place.
_NOTABLE = 2.0
# Networks that an operation must have been in to be judged.
_FEWEST = 3


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What speaks against an operation.

    `behind` is by how much networks with it score less than with the best one of its
    place at equal multiply-adds, `standard_error` that of this difference.
    """

    path: str
    operation: str
    best: str
    behind: float
    standard_error: float


def operation_evidence(
    space: OneShotSpace,
    genotypes: Sequence[OneShotGenotype],
    scores: Sequence[float],
    macs: Sequence[float],
) -> list[Evidence]:
    """Returns the evidence against every operation that is not its place's best.

    What a score is above a parabola in the logarithm of the multiply-adds, averaged
    over the networks that have the operation; the other places, drawn at random, are
    noise. An operation of fewer than three networks has no evidence against it.

    Args:
        space: The operations that are left.
        genotypes: Of scored networks, drawn at random.
        scores: Of each, the larger the better.
        macs: Of each.
    """
    size, y = np.log(np.asarray(macs, np.float64)), np.asarray(scores, np.float64)
    above = y - np.polyval(np.polyfit(size - size.mean(), y, 2), size - size.mean())
    found = []
    for decision in space.decisions:
        groups = {
            str(value): above[[g[decision.path] == value for g in genotypes]]
            for value in decision.values
            if isinstance(value, str)
        }
        known = {n: group for n, group in groups.items() if len(group) >= _FEWEST}
        if not known:
            continue
        best = max(known, key=lambda name, known=known: float(known[name].mean()))
        spread = _spread_within(list(known.values()))
        for name, group in known.items():
            if name != best:
                error = spread * np.sqrt(1 / len(group) + 1 / len(known[best]))
                behind = float(known[best].mean() - group.mean())
                found.append(Evidence(decision.path, name, best, behind, float(error)))
    return found


def _spread_within(groups: Sequence[np.ndarray]) -> float:
    """Returns the standard deviation inside groups, pooled: of few networks, too."""
    squares = sum(float(np.sum((group - group.mean()) ** 2)) for group in groups)
    return float(np.sqrt(squares / (sum(map(len, groups)) - len(groups))))


def to_turn_off(evidence: Sequence[Evidence], *, places: int) -> list[Evidence]:
    """Returns what is to go: the clearest cases, one a place, beyond the noise."""

    def clearness(case: Evidence) -> float:
        return case.behind / max(case.standard_error, 1e-12)

    worst: dict[str, Evidence] = {}
    for case in evidence:
        if case.behind > _NOTABLE * case.standard_error and (
            case.path not in worst or clearness(case) > clearness(worst[case.path])
        ):
            worst[case.path] = case
    return sorted(worst.values(), key=clearness, reverse=True)[:places]


def random_turn_off(
    space: OneShotSpace, *, places: int, rng: np.random.Generator
) -> list[Evidence]:
    """Returns operations by chance, one a place, without evidence: a baseline."""
    decisions = [each for each in space.decisions if isinstance(each.values[0], str)]
    chosen = rng.permutation(len(decisions))[:places]
    found = []
    for number in chosen:
        values = [str(value) for value in decisions[number].values]
        name = values[int(rng.integers(len(values)))]
        found.append(Evidence(decisions[number].path, name, "", 0.0, 0.0))
    return found


def network_angle(
    initial: Sequence[np.ndarray], current: Sequence[np.ndarray]
) -> float:
    """Returns the angle between a network's weights at the start and now, in radians.

    Source: Hu et al., Angle-based search space shrinking, arXiv:2004.13431, section
    3.2. A network whose weights have turned more has learnt more.

    Args:
        initial: Its kernels when training began.
        current: Its kernels now, of the same shapes.
    """
    dot = sum(float(np.sum(a * b)) for a, b in zip(initial, current, strict=True))
    norms = [
        np.sqrt(sum(float(np.sum(each**2)) for each in kernels))
        for kernels in (initial, current)
    ]
    return float(np.arccos(np.clip(dot / max(norms[0] * norms[1], 1e-12), -1, 1)))
