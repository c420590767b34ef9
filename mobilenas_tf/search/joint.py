"""The joint search: coarse rounds on a pool, then fine ones by a genetic algorithm.

Everything is decided anew from all that is known, so that a search that was stopped
goes on, and one that has ended can be asked again under other budgets.

Source: Dai et al., FBNetV3, arXiv:2006.02049, section 3.2 and algorithm 1. Differs:
the candidates of the fine stage are trained too, in rounds, while evaluations are left;
predictions are optimistic by a share of the ensemble's spread.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats

from mobilenas_tf.decisions import Choices, mutated
from mobilenas_tf.search.candidate_predictor import CandidatePredictor
from mobilenas_tf.search.config import JointConfig
from mobilenas_tf.search.joint_journal import (
    Evaluation,
    EvaluationJournal,
    Plan,
)
from mobilenas_tf.search.joint_problem import (
    JointProblem,
    Limits,
    quasi_random,
)
from mobilenas_tf.search.workers import Order, Workers

_SHARE_START = 0.3  # of a child's decisions that are drawn anew
_MAX_GENERATIONS = 50
# Candidates that effects of settings are a mean over, and values of a setting.
_EFFECT_CANDIDATES, _EFFECT_VALUES = 256, 5


@dataclasses.dataclass(frozen=True)
class Round:
    """What a round has brought: of each candidate what was predicted and reached.

    Attributes:
        number: From 0.
        stage: `first`, `coarse` or `fine`.
        candidates: The best first, by what was predicted of them.
        predicted: Accuracies; None where there was no prediction.
        accuracies: At the epoch that all have reached; None where one failed.
    """

    number: int
    stage: str
    candidates: tuple[Choices, ...]
    predicted: tuple[float | None, ...]
    accuracies: tuple[float | None, ...]


@dataclasses.dataclass(frozen=True)
class Found:
    """A candidate of the end: trained, or (with `accuracy` None) predicted only."""

    choices: Choices
    accuracy: float | None
    predicted: float
    costs: Mapping[str, float]


class JointSearch:
    """One search; `run` trains candidates, `ask` only predicts."""

    def __init__(
        self,
        problem: JointProblem,
        budgets: Mapping[str, float],
        journal: EvaluationJournal,
        *,
        config: JointConfig,
        epochs: int,
        seed: int,
    ):
        """Draws the pool and pre-trains the predictor.

        Args:
            problem: What to choose among.
            budgets: By metric.
            journal: Of what is known; grows.
            config: The method's options.
            epochs: Of a training's whole schedule.
            seed: Of everything.

        Raises:
            ValueError: If no network is within the budgets.
        """
        self.problem, self.journal = problem, journal
        self.limits = Limits(problem, budgets)
        self.config, self.epochs, self.seed = config, epochs, seed
        self.pool = quasi_random(self.limits, size=config.pool, seed=seed)
        self.predictor = CandidatePredictor(problem, self.pool, seed=seed)
        self._learned = 0  # candidates

    def run(
        self,
        workers: Workers,
        *,
        on_round: Callable[[Round], None] = lambda _: None,
        on_evaluation: Callable[[Evaluation], None] = lambda _: None,
    ) -> None:
        """Trains candidates until there are as many as were asked for.

        The first round trains for the whole schedule; from it follows at which epoch
        later ones stop (`stop_epoch`). It ends early where the space has no more. A
        search that was stopped ends its round first, and goes on as it would have.

        Args:
            workers: Who trains.
            on_round: Is told of each round that has ended.
            on_evaluation: Is told of each candidate, once it is written down.
        """
        while plan := self._open_round() or self._next_round():
            for evaluation in self._train(workers, plan):
                on_evaluation(evaluation)
            on_round(self.rounds()[-1])

    def _open_round(self) -> Plan | None:
        """Returns the round in which the search was stopped, if it was in one."""
        plans = self.journal.plans
        return plans[-1] if plans and self._missing(plans[-1]) else None

    def _missing(self, plan: Plan) -> list[Order]:
        return [
            Order(choices, plan.epochs)
            for choices in plan.candidates
            if not self.journal.known(choices, epochs=plan.epochs)
        ]

    def _next_round(self) -> Plan | None:
        """Returns a round that was written down; None at the search's end."""
        first = self.pool[: self.config.first_round]
        plan = Plan(0, "first", self.epochs, tuple(first), (None,) * len(first))
        if not self._missing(plan):
            plan = self._later_round()
        if plan is not None:
            self.journal.plan(plan)
        return plan

    def _later_round(self) -> Plan | None:
        left = self.config.evaluations - self.trained
        if left <= 0:
            return None
        share = self.trained / self.config.evaluations
        is_coarse = share < self.config.coarse_share
        for stage in ("coarse", "fine") if is_coarse else ("fine",):
            chosen, predicted = self.propose(stage, min(self.config.batch, left))
            if chosen:
                number = 1 + max(each.round for each in self.journal.evaluations)
                return Plan(number, stage, self.stop_epoch, chosen, predicted)
        return None  # the space has no more candidates

    @property
    def trained(self) -> int:
        """Candidates that were trained, those that failed included."""
        return len(self.journal.evaluations)

    @property
    def stop_epoch(self) -> int:
        """The first epoch whose ranking is nearly that of the last one.

        Spearman's correlation over the candidates of the first round, and no later
        epoch than all candidates have reached. If fewer than half of the first round
        came to the end, the last.

        Source: Dai et al., arXiv:2006.02049, section 3.2 (0.92).
        """
        trained = [each for each in self.journal.evaluations if not each.failed]
        reached = min((len(each.curve) for each in trained), default=self.epochs)
        curves = [
            each.curve
            for each in trained
            if each.round == 0 and len(each.curve) == self.epochs
        ]
        if len(curves) < max(self.config.first_round / 2, 3):
            return reached
        for epoch in range(1, reached):
            now, last = zip(*((c[epoch - 1], c[-1]) for c in curves), strict=True)
            if min(np.ptp(now), np.ptp(last)) == 0:
                continue
            correlation = np.asarray(scipy.stats.spearmanr(now, last))[0]
            if correlation >= self.config.min_rank_correlation:
                return epoch
        return reached

    def rounds(self) -> list[Round]:
        """Returns all rounds, those of before a stop too."""
        epoch, by_number = self.stop_epoch, dict[int, list[Evaluation]]()
        for each in self.journal.evaluations:
            by_number.setdefault(each.round, []).append(each)
        return [
            Round(
                number,
                members[0].stage,
                tuple(each.choices for each in members),
                tuple(each.predicted for each in members),
                tuple(
                    None if each.failed else each.curve[epoch - 1] for each in members
                ),
            )
            for number, members in sorted(by_number.items())
        ]

    def accuracies(self) -> list[tuple[Choices, float]]:
        """Returns candidates and accuracies at the epoch that all have reached.

        Raises:
            ValueError: If all candidates have failed.
        """
        epoch, evaluations = self.stop_epoch, self.journal.evaluations
        reached = [
            (each.choices, each.curve[epoch - 1])
            for each in evaluations
            if not each.failed
        ]
        if not reached:
            reasons = {each.failed for each in evaluations}
            raise ValueError(
                f"{self.journal.path} must have a candidate that did not fail. "
                f"Received: {', '.join(sorted(reasons)) or 'none'}"
            )
        return reached

    def learn(self) -> list[Choices]:
        """Teaches the predictor all that is known; returns the candidates.

        A candidate that failed counts as the worst.
        """
        known = self.accuracies()
        worst = min(accuracy for _, accuracy in known)
        known += [(e.choices, worst) for e in self.journal.evaluations if e.failed]
        candidates, accuracies = map(list, zip(*known, strict=True))
        if len(known) > self._learned:
            self.predictor.fit(candidates, accuracies)
            self._learned = len(known)
        return candidates

    def propose(
        self, stage: str, count: int
    ) -> tuple[tuple[Choices, ...], tuple[float, ...]]:
        """Returns candidates that nobody trained, and what is predicted of them."""
        known = self.learn()
        seen = {self.problem.identity(choices) for choices in known}
        if stage == "coarse":
            candidates = self.pool
        else:
            candidates = self._evolved(known)
        fresh: dict[Hashable, Choices] = {
            identity: choices
            for choices in candidates
            if (identity := self.problem.identity(choices)) not in seen
        }
        if not fresh:
            return (), ()
        rows = list(fresh.values())
        mean, spread = self.predictor.predict(rows)
        order = np.argsort(-(mean + self.config.optimism * spread))[:count]
        return tuple(rows[i] for i in order), tuple(float(mean[i]) for i in order)

    def ask(self) -> Found:
        """Returns what is predicted to be best within the budgets; trains nothing.

        Candidates that were trained take part with what is predicted of them.
        """
        best = self._evolved(self.learn(), optimism=0.0)[0]
        mean, _ = self.predictor.predict([best])
        known = {
            self.problem.identity(choices): accuracy
            for choices, accuracy in self.accuracies()
        }
        return self._found(best, float(mean[0]), known.get(self.problem.identity(best)))

    def front(self, metric: str) -> list[Found]:
        """Returns the trained candidates within the budgets that none beats.

        Cheapest first; of a search under other budgets perhaps none.
        """
        self.learn()
        known = [
            (choices, accuracy)
            for choices, accuracy in self.accuracies()
            if self.limits.admit(choices)
        ]
        if not known:
            return []
        predicted, _ = self.predictor.predict([choices for choices, _ in known])
        rows = [
            self._found(choices, float(mean), accuracy)
            for (choices, accuracy), mean in zip(known, predicted, strict=True)
        ]
        front: list[Found] = []
        for row in sorted(rows, key=lambda r: (r.costs[metric], -(r.accuracy or 0))):
            if not front or (row.accuracy or 0) > (front[-1].accuracy or 0):
                front.append(row)
        return front

    def effects(self) -> list[dict[str, Any]]:
        """Returns what each setting of the recipe does to the predicted accuracy.

        The mean over candidates of the pool with this setting changed to a value and
        the others as they are; `effect` is the best value's lead over the worst.
        """
        candidates = self.pool[:_EFFECT_CANDIDATES]
        rows = []
        for decision in self.problem.recipe:
            shares = (np.arange(_EFFECT_VALUES) + 0.5) / _EFFECT_VALUES
            values = list(dict.fromkeys(decision.at(float(s)) for s in shares))
            means = [
                float(
                    self.predictor.predict(
                        [{**each, decision.path: value} for each in candidates]
                    )[0].mean()
                )
                for value in values
            ]
            rows.append(
                {
                    "setting": decision.path,
                    "values": values,
                    "accuracies": means,
                    "best": values[int(np.argmax(means))],
                    "effect": max(means) - min(means),
                }
            )
        return sorted(rows, key=lambda row: -row["effect"])

    def _found(
        self, choices: Choices, predicted: float, accuracy: float | None = None
    ) -> Found:
        return Found(choices, accuracy, predicted, self.problem.facts(choices).costs)

    def _train(self, workers: Workers, plan: Plan) -> Iterator[Evaluation]:
        """Writes down each candidate as it ends, and gives it."""
        told = {
            self.problem.identity(choices): value
            for choices, value in zip(plan.candidates, plan.predicted, strict=True)
        }
        for evaluation in workers.run(self._missing(plan)):
            identity = self.problem.identity(evaluation.choices)
            evaluation = dataclasses.replace(
                evaluation,
                round=plan.round,
                stage=plan.stage,
                predicted=told[identity],
            )
            self.journal.add(evaluation)
            yield evaluation

    def _evolved(
        self, known: Sequence[Choices], *, optimism: float | None = None
    ) -> list[Choices]:
        """Returns candidates that a genetic algorithm finds on the predictor.

        Parents are the best of what is known and of the pool; children mix two parents
        and are mutated, the less the longer nothing improves; it ends when nothing has
        improved for some generations.

        Source: Dai et al., arXiv:2006.02049, section 3.2 (adaptive genetic algorithm).
        """
        config, limits, problem = self.config, self.limits, self.problem
        rng = np.random.default_rng([self.seed, len(known)])
        optimism = config.optimism if optimism is None else optimism

        def scores(candidates: Sequence[Choices]) -> np.ndarray:
            mean, spread = self.predictor.predict(candidates)
            return mean + optimism * spread

        found: dict[Hashable, tuple[float, Choices]] = {}

        def admit(candidates: Sequence[Choices]) -> None:
            fresh = {problem.identity(each): each for each in candidates}
            fresh = {key: each for key, each in fresh.items() if key not in found}
            if fresh:
                values = scores(list(fresh.values()))
                for (key, each), value in zip(fresh.items(), values, strict=True):
                    found[key] = float(value), each

        def best() -> list[tuple[float, Choices]]:
            ranked = sorted(found.values(), key=lambda pair: -pair[0])
            return ranked[: config.parents]

        admit([each for each in known if limits.admit(each)])
        admit(self.pool)
        share, stale = _SHARE_START, 0
        for _ in range(_MAX_GENERATIONS):
            parents = best()
            admit(
                [
                    limits.pulled_in(self._child(parents, rng, share))
                    for _ in range(config.children)
                ]
            )
            if best()[0][0] > parents[0][0]:
                stale = 0
            else:
                stale, share = stale + 1, max(share / 2, 1 / len(problem.decisions))
            if stale == config.patience:
                break
        return [choices for _, choices in sorted(found.values(), key=lambda p: -p[0])]

    def _child(
        self,
        parents: Sequence[tuple[float, Choices]],
        rng: np.random.Generator,
        share: float,
    ) -> Choices:
        """Returns a mutated mix of two parents."""
        (_, one), (_, other) = (
            parents[int(i)] for i in rng.integers(len(parents), size=2)
        )
        mixed: dict[str, Any] = {
            path: value if rng.random() < 0.5 else other[path]
            for path, value in one.items()
        }
        return mutated(self.problem.decisions, mixed, rng, share=share)
