"""What is known of candidates, in a file: their accuracy after every epoch.

No candidate is trained twice: candidates of equal networks and recipes are one. What
was decided to be trained is in a file beside it, before it is: a search that is stopped
in a round ends that round, and takes the course that it would have taken.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from pathlib import Path

from mobilenas_tf.decisions import Choices
from mobilenas_tf.json_text import shown
from mobilenas_tf.search.joint_problem import JointProblem
from mobilenas_tf.search.journal_file import append_row, read_rows

WORKER_DIED = "its worker died"
ROUNDS = "rounds.jsonl"


@dataclasses.dataclass(frozen=True)
class Plan:
    """A round that was decided on.

    Attributes:
        round: Its number, from 0.
        stage: `first`, `coarse` or `fine`.
        epochs: For which candidates are trained.
        candidates: The best first.
        predicted: Of each, if anything was.
    """

    round: int
    stage: str
    epochs: int
    candidates: tuple[Choices, ...]
    predicted: tuple[float | None, ...]


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A candidate that was trained.

    Attributes:
        choices: Of the candidate.
        curve: Validation accuracy in [0, 1] after each epoch.
        failed: Why there is no accuracy; empty if there is.
        seconds: What it took.
        round: In which it was chosen; -1 outside of a search.
        stage: Of that round: `first`, `coarse` or `fine`.
        predicted: What was predicted of it, if anything was.
    """

    choices: Choices
    curve: tuple[float, ...]
    failed: str = ""
    seconds: float = 0.0
    round: int = -1
    stage: str = ""
    predicted: float | None = None


class EvaluationJournal:
    """Evaluations in a file, a line each, and rounds in another; see `journal_file`."""

    def __init__(self, path: Path, problem: JointProblem, *, measure: str):
        """Reads the file if there is one.

        Args:
            path: Of the file; the rounds are in `rounds.jsonl` beside it.
            problem: Whose candidates it holds.
            measure: How candidates are trained, in words.

        Raises:
            ValueError: If it is the journal of another space or of other training, has
                a candidate that is none, or is damaged elsewhere than at its end.
        """
        self.path, self.problem, self.measure = path, problem, measure
        self._evaluations: dict[Hashable, Evaluation] = {}
        for where, found, evaluation in read_rows(path, Evaluation, space=problem.name):
            if found != measure:
                raise ValueError(
                    f"{path} must be the journal of candidates trained as: {measure}. "
                    f"Received: {found}"
                )
            self._check(evaluation, where)
            # That a worker died is not the candidate's fault.
            if not evaluation.failed.startswith(WORKER_DIED):
                self._keep(evaluation)
        self.plans: list[Plan] = []
        self._places: dict[Hashable, int] = {}  # of candidates in their rounds
        for where, _, plan in read_rows(self._rounds, Plan, space=problem.name):
            for choices in plan.candidates:
                self._check_choices(choices, where)
            self._keep_plan(plan)

    @property
    def _rounds(self) -> Path:
        return self.path.with_name(ROUNDS)

    def _check_choices(self, choices: Choices, where: str) -> None:
        try:
            self.problem.check(choices)
        except ValueError as error:
            raise ValueError(f"{where} must be a candidate: {error}") from error

    def _check(self, evaluation: Evaluation, where: str) -> None:
        self._check_choices(evaluation.choices, where)
        is_told = evaluation.curve or evaluation.failed
        if not is_told or not all(0 <= value <= 1 for value in evaluation.curve):
            raise ValueError(
                f"{where} must have accuracies in [0, 1], or why there are none. "
                f"Received: {shown(list(evaluation.curve))}"
            )

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """All that is known, a candidate once, in the order of the rounds.

        It does not hang on who of several workers was first. What is of no round comes
        before, in the order of the file.
        """
        known = self._evaluations.items()
        ordered = sorted(known, key=lambda pair: self._places.get(pair[0], -1))
        return tuple(evaluation for _, evaluation in ordered)

    def known(self, choices: Choices, *, epochs: int) -> Evaluation | None:
        """Returns a candidate's evaluation if it has so many epochs, or failed."""
        found = self._evaluations.get(self.problem.identity(choices))
        is_enough = found and (found.failed or len(found.curve) >= epochs)
        return found if is_enough else None

    def add(self, evaluation: Evaluation) -> None:
        """Writes one down."""
        row = {
            "space": self.problem.name,
            "measure": self.measure,
            **dataclasses.asdict(evaluation),
        }
        append_row(self.path, row)
        self._keep(evaluation)

    def plan(self, plan: Plan) -> None:
        """Writes a round down, before its candidates are trained."""
        row = {"space": self.problem.name, **dataclasses.asdict(plan)}
        append_row(self._rounds, row)
        self._keep_plan(plan)

    def _keep_plan(self, plan: Plan) -> None:
        self.plans.append(plan)
        for choices in plan.candidates:
            identity = self.problem.identity(choices)
            self._places.setdefault(identity, len(self._places))

    def _keep(self, evaluation: Evaluation) -> None:
        self._evaluations[self.problem.identity(evaluation.choices)] = evaluation
