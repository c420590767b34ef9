"""Which networks of a one-shot supernet a training step takes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.one_shot_space import (
    Decision,
    OneShotGenotype,
    OneShotSpace,
    Value,
)

# Networks drawn to choose a step's from, for each network that an epoch wants, and
# among how many of the nearest in cost one is drawn.
_POOL, _NEAREST = 4, 8
_LEAST_POOL = 512
# How far draws lean towards large or small values, at most.
_TILT = 3.0


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How networks are drawn.

    Attributes:
        networks: Random ones in a step.
        has_sandwich: Whether the widest and the narrowest join them, the widest first.
        is_cost_uniform: Whether random ones are spread evenly over multiply-adds,
            rather than over genotypes, most of which cost about the mean.
        widen_from: Share of the training at which channels begin to be searched;
            before, all are the widest.
        widen_to: Share at which all are.
    """

    networks: int = 2
    has_sandwich: bool = True
    is_cost_uniform: bool = True
    widen_from: float = 0.1
    widen_to: float = 0.4

    def epoch(
        self, space: OneShotSpace, *, steps: int, progress: float, seed: Sequence[int]
    ) -> list[list[OneShotGenotype]]:
        """Returns the networks of each step of an epoch; the same seed, the same ones.

        Args:
            space: Without what was turned off.
            steps: Of the epoch.
            progress: In [0, 1), of the training at the epoch's start.
            seed: Of the training, and the epoch.
        """
        rng = np.random.default_rng(list(seed))
        allowed = self.allowed(space, progress)
        wanted = steps * self.networks
        drawn = (
            _cost_uniform(space, allowed, wanted, rng)
            if self.is_cost_uniform
            else [_draw(space, allowed, 0.0, rng) for _ in range(wanted)]
        )
        ends = []
        if self.has_sandwich:
            narrowest = space.narrowest()
            least = {
                each.path: each.values[0]
                for each in allowed
                if narrowest[each.path] not in each.values
            }
            ends = [space.widest(), {**narrowest, **least}]
        return [
            [*ends, *drawn[step * self.networks : (step + 1) * self.networks]]
            for step in range(steps)
        ]

    def allowed(self, space: OneShotSpace, progress: float) -> tuple[Decision, ...]:
        """Returns the decisions with the values that may be drawn at `progress`.

        Channel counts come one after the other, the widest first.

        Source: warm-up at the widest, then widening downwards, as in the released code
        of Single-Path-One-Shot-NAS-MXNet.
        """
        span = max(self.widen_to - self.widen_from, 1e-9)
        open_share = min(max((progress - self.widen_from) / span, 0.0), 1.0)

        def values(decision: Decision) -> tuple[Value, ...]:
            if not isinstance(decision.values[0], int):
                return decision.values
            others = len(decision.values) - 1
            kept = 1 + math.ceil(open_share * others - 1e-9)
            return decision.values[-kept:]

        return tuple(
            Decision(decision.path, values(decision)) for decision in space.decisions
        )


def _draw(
    space: OneShotSpace,
    allowed: Sequence[Decision],
    tilt: float,
    rng: np.random.Generator,
) -> OneShotGenotype:
    """Returns a genotype; a tilt above 0 favours values that stand later."""
    genotype: OneShotGenotype = {}
    for decision in allowed:
        count = len(decision.values)
        weights = np.exp(tilt * np.linspace(-1, 1, count)) if count > 1 else np.ones(1)
        index = int(rng.choice(count, p=weights / weights.sum()))
        genotype[decision.path] = decision.values[index]
    return space.complete(genotype)


def _cost_uniform(
    space: OneShotSpace,
    allowed: Sequence[Decision],
    wanted: int,
    rng: np.random.Generator,
) -> list[OneShotGenotype]:
    """Returns genotypes spread evenly over multiply-adds."""
    size = max(_POOL * wanted, _LEAST_POOL)
    pool = [
        _draw(space, allowed, float(rng.uniform(-_TILT, _TILT)), rng)
        for _ in range(size)
    ]
    macs = np.array([genotype_macs(space, genotype) for genotype in pool])
    order = np.argsort(macs, kind="stable")
    ranked = macs[order]
    targets = rng.uniform(ranked[0], ranked[-1], wanted)
    found = []
    for target in targets:
        place = int(np.searchsorted(ranked, target))
        start = min(max(place - _NEAREST // 2, 0), size - _NEAREST)
        found.append(pool[order[start + int(rng.integers(_NEAREST))]])
    return found


def genotype_macs(space: OneShotSpace, genotype: Mapping[str, Value]) -> int:
    """Returns the multiply-adds of a genotype's network."""
    return int(network_cost(space.resolve(genotype)).macs)
