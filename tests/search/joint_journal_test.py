import json
import logging
from pathlib import Path

import pytest

from mobilenas_tf.decisions import choices_at
from mobilenas_tf.search.joint_journal import (
    WORKER_DIED,
    Evaluation,
    EvaluationJournal,
    Plan,
)
from tests.small_joint_problem import small_joint_problem

PROBLEM = small_joint_problem()
CHOICES = choices_at(PROBLEM.decisions, [0.5] * 6)


def open_journal(folder: Path, measure: str = "made up") -> EvaluationJournal:
    return EvaluationJournal(folder / "journal.jsonl", PROBLEM, measure=measure)


def row(**changes: object) -> str:
    plain = {"space": "small", "measure": "made up", "choices": CHOICES}
    plain |= {"curve": [0.5], "failed": "", "seconds": 1.0}
    plain |= {"round": 0, "stage": "first", "predicted": None}
    return json.dumps(plain | changes) + "\n"


def test_what_was_written_is_known_again(tmp_path: Path):
    journal, evaluation = (
        open_journal(tmp_path),
        Evaluation(CHOICES, (0.1, 0.2), "", 3.0),
    )
    journal.add(evaluation)
    again = open_journal(tmp_path)
    assert again.evaluations == (evaluation,)
    assert again.known(CHOICES, epochs=2) == evaluation
    assert again.known(CHOICES, epochs=3) is None


def test_a_failed_candidate_is_known_whatever_its_epochs(tmp_path: Path):
    journal = open_journal(tmp_path)
    journal.add(Evaluation(CHOICES, (), "loss must stay finite"))
    assert open_journal(tmp_path).known(CHOICES, epochs=9) is not None


def test_that_a_worker_died_is_not_held_against_a_candidate(tmp_path: Path):
    open_journal(tmp_path).add(Evaluation(CHOICES, (), f"{WORKER_DIED} 3 times"))
    assert open_journal(tmp_path).known(CHOICES, epochs=1) is None


def test_evaluations_stand_in_the_order_of_the_rounds(tmp_path: Path):
    journal = open_journal(tmp_path)
    first, second, third = (
        choices_at(PROBLEM.decisions, [at] * 6) for at in (0.1, 0.5, 0.9)
    )
    plan = Plan(0, "first", 2, (first, second), (None, 0.5))
    journal.plan(plan)
    for choices in (third, second, first):  # one of no round, then the workers' order
        journal.add(Evaluation(choices, (0.5,)))
    for known in (journal, open_journal(tmp_path)):
        assert [e.choices for e in known.evaluations] == [third, first, second]
        assert known.plans == [plan]


def test_a_round_with_a_candidate_that_is_none_is_refused(tmp_path: Path):
    bad = {**CHOICES, "depth": 9}
    open_journal(tmp_path).plan(Plan(0, "first", 2, (CHOICES,), (None,)))
    path = tmp_path / "rounds.jsonl"
    path.write_text(path.read_text().replace(json.dumps(CHOICES), json.dumps(bad)))
    with pytest.raises(ValueError, match="rounds.jsonl, line 1, must be a candidate"):
        open_journal(tmp_path)


@pytest.mark.parametrize("whole", [0, 1, 60])  # 60 rows are more than a block
def test_half_a_last_line_is_left_out_said_and_written_over(
    whole: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = tmp_path / "journal.jsonl"
    torn = row() * whole + row()[:40]
    path.write_text(torn)
    with caplog.at_level(logging.WARNING, logger="absl"):
        journal = open_journal(tmp_path)
    (message,) = caplog.messages
    assert message == f"{path}: its last line was not written whole, and is left out"
    assert len(journal.evaluations) == min(whole, 1)
    assert path.read_text() == torn  # reading changes nothing
    journal.add(Evaluation(CHOICES, (0.7,)))
    lines = path.read_text().splitlines()
    assert len(lines) == whole + 1
    assert [json.loads(line)["curve"] for line in lines] == [[0.5]] * whole + [[0.7]]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (row(space="large"), "must be the journal of small. Received: that of 'large'"),
        (row(measure="other"), "trained as: made up. Received: other"),
        ("{}\n", "line 1, must be an entry of a journal"),
        (row(failed=None), "line 1,/failed must be of type str. Received: None"),
        (row(seed=0), "line 1, must have the keys .* unknown key 'seed'"),
        (row(choices={**CHOICES, "depth": 9}), "line 1, must be a candidate: depth"),
        (row(choices=3), "line 1,/choices must be a JSON object"),
        (row(curve=[float("nan")]), "line 1, must be JSON. Received: NaN, which is no"),
        (row(curve=[1.5]), r"line 1, must have accuracies in \[0, 1\]"),
        (row(curve=[]), "line 1, must have accuracies .*, or why"),
    ],
)
def test_a_journal_that_does_not_fit_is_refused(
    line: str, sentence: str, tmp_path: Path
):
    (tmp_path / "journal.jsonl").write_text(line)
    with pytest.raises(ValueError, match=sentence):
        open_journal(tmp_path)
