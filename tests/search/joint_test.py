from pathlib import Path

import numpy as np
import pytest

from mobilenas_tf.decisions import choices_at
from mobilenas_tf.search.config import JointConfig
from mobilenas_tf.search.joint import JointSearch
from mobilenas_tf.search.joint_journal import Evaluation, EvaluationJournal
from mobilenas_tf.search.joint_problem import Limits, quasi_random
from mobilenas_tf.search.workers import InProcess, Order
from tests.small_joint_problem import (
    EPOCHS,
    accuracy,
    evaluate,
    fails_where,
    small_joint_problem,
)

PROBLEM = small_joint_problem()
CONFIG = JointConfig(
    evaluations=40, first_round=12, batch=7, pool=256, parents=10, children=40
)
CAP = 500.0


def search(folder: Path, *, cap: float = CAP, config: JointConfig = CONFIG):
    journal = EvaluationJournal(folder / "journal.jsonl", PROBLEM, measure="made up")
    return JointSearch(
        PROBLEM, {"macs": cap}, journal, config=config, epochs=EPOCHS, seed=0
    )


class Counting(InProcess):
    """Notes the orders it gets."""

    def __init__(self, evaluate=evaluate):
        super().__init__(evaluate)
        self.orders: list[Order] = []

    def run(self, orders):
        self.orders += orders
        return super().run(orders)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory):
    done, workers, rounds = search(tmp_path_factory.mktemp("run")), Counting(), []
    done.run(workers, on_round=rounds.append)
    return done, workers, rounds


def test_every_candidate_is_within_the_budget_and_none_is_trained_twice(ended):
    done, workers, _ = ended
    identities = [PROBLEM.identity(order.choices) for order in workers.orders]
    assert len(identities) == len(set(identities)) == CONFIG.evaluations
    for order in workers.orders:
        assert PROBLEM.facts(order.choices).costs["macs"] <= CAP


def test_the_first_round_runs_to_the_end_and_later_ones_stop_early(ended):
    done, workers, rounds = ended
    assert done.stop_epoch == 2  # the first epoch ranks the other way round
    epochs = [order.epochs for order in workers.orders]
    assert epochs == [EPOCHS] * 12 + [2] * 28
    assert [row.stage for row in rounds] == ["first", *["coarse"] * 2, *["fine"] * 2]
    assert [len(row.candidates) for row in rounds] == [12, 7, 7, 7, 7]


def test_it_finds_what_random_candidates_do_not(ended):
    done, _, rounds = ended
    best = done.front("macs")[-1]
    pool = quasi_random(Limits(PROBLEM, {"macs": CAP}), size=400, seed=9)
    ranked = sorted((accuracy(choices) for choices in pool), reverse=True)
    assert accuracy(best.choices) >= ranked[4]
    assert best.choices["recipe/optimizer"] == "adamw"
    by_round = [np.mean([accuracy(c) for c in row.candidates]) for row in rounds]
    assert min(by_round[1:]) > by_round[0]


def test_predictions_are_told_beside_what_was_reached(ended):
    _, _, rounds = ended
    last = rounds[-1]
    reached = [evaluate(Order(c, 2)).curve[1] for c in last.candidates]
    np.testing.assert_allclose(last.accuracies, reached)
    assert np.abs(np.subtract(last.predicted, reached)).mean() < 0.03


def test_the_front_rises_and_its_figures_are_the_journals(ended):
    done, _, _ = ended
    front = done.front("macs")
    costs = [row.costs["macs"] for row in front]
    assert costs == sorted(costs)
    assert [row.accuracy for row in front] == sorted(row.accuracy for row in front)
    for row in front:
        assert row.accuracy == evaluate(Order(row.choices, 2)).curve[1]


def test_effects_name_the_setting_that_matters_and_its_best_value(ended):
    rows = {row["setting"]: row for row in ended[0].effects()}
    assert rows["recipe/optimizer"]["best"] == "adamw"
    assert rows["recipe/optimizer"]["effect"] == pytest.approx(0.1, abs=0.04)
    assert rows["recipe/learning_rate"]["effect"] < 0.05  # it does nothing here


def dies_after(count: int):
    """Returns what evaluates so many candidates, and then does not survive."""
    left = [count]

    def work(order: Order) -> Evaluation:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return evaluate(order)

    return work


def test_a_killed_search_takes_the_course_of_one_that_was_not(ended, tmp_path: Path):
    for count in (5, 11):  # within the first round, and after 16 within the second
        with pytest.raises(KeyboardInterrupt):
            search(tmp_path).run(InProcess(dies_after(count)))
    again, workers = search(tmp_path), Counting()
    assert again.trained == 16
    again.run(workers)
    assert len(workers.orders) == CONFIG.evaluations - 16
    assert again.rounds() == ended[0].rounds()
    assert again.ask() == ended[0].ask()


def test_workers_that_end_in_another_order_change_nothing(ended, tmp_path: Path):
    class Backwards(InProcess):
        def run(self, orders):
            return super().run(orders[::-1])

    done = search(tmp_path)
    done.run(Backwards(evaluate))
    assert done.rounds() == ended[0].rounds()


def test_candidates_that_fail_are_recorded_and_avoided(tmp_path: Path):
    def diverges(order: Order) -> Evaluation:
        if fails_where(order.choices):
            return Evaluation(order.choices, (0.2,), "loss must stay finite")
        return evaluate(order)

    done = search(tmp_path)
    done.run(InProcess(diverges))
    failed = [each for each in done.journal.evaluations if each.failed]
    shares = [
        np.mean([value is None for value in row.accuracies]) for row in done.rounds()
    ]
    assert failed and shares[0] > 0.1
    assert np.mean(shares[-2:]) < shares[0]
    assert not fails_where(done.front("macs")[-1].choices)


def test_all_candidates_failing_is_an_error_that_says_why(tmp_path: Path):
    done = search(tmp_path)
    with pytest.raises(ValueError, match="did not fail. Received: no good"):
        done.run(InProcess(lambda order: Evaluation(order.choices, (), "no good")))


def test_a_finished_search_answers_for_another_budget_without_training(ended):
    done, _, _ = ended
    other = JointSearch(
        PROBLEM, {"macs": 200.0}, done.journal, config=CONFIG, epochs=EPOCHS, seed=0
    )
    found = other.ask()
    assert found.accuracy is None and found.costs["macs"] <= 200.0
    pool = quasi_random(Limits(PROBLEM, {"macs": 200.0}), size=200, seed=9)
    ranked = sorted((accuracy(choices) for choices in pool), reverse=True)
    assert accuracy(found.choices) >= ranked[20]
    assert found.predicted == pytest.approx(
        evaluate(Order(found.choices, 2)).curve[1], abs=0.15
    )


def test_a_budget_below_all_that_was_trained_is_answered_too(ended, tmp_path: Path):
    done, _, _ = ended
    journal = EvaluationJournal(tmp_path / "dear.jsonl", PROBLEM, measure="made up")
    for each in done.journal.evaluations:
        if PROBLEM.costs(each.choices)["macs"] > 100:
            journal.add(each)
    other = JointSearch(
        PROBLEM, {"macs": 100.0}, journal, config=CONFIG, epochs=EPOCHS, seed=0
    )
    assert other.ask().costs["macs"] <= 100
    assert other.front("macs") == []


def test_what_was_trained_is_told_with_its_accuracy(ended):
    done, _, _ = ended
    found = done.ask()
    known = {PROBLEM.identity(c): accuracy for c, accuracy in done.accuracies()}
    assert found.accuracy == known.get(PROBLEM.identity(found.choices))


def test_a_pool_that_is_used_up_goes_on_with_fine_rounds(tmp_path: Path):
    config = JointConfig(evaluations=40, first_round=12, batch=8, pool=20)
    done = search(tmp_path, config=config)
    done.run(Counting())
    stages = [row.stage for row in done.rounds()]
    assert stages == ["first", "coarse", "fine", "fine", "fine"]
    assert done.trained == 40


def test_a_space_with_few_candidates_ends_early(tmp_path: Path):
    problem = small_joint_problem(recipe=())
    fixed = choices_at(small_joint_problem().recipe, [0.5] * 3)

    def work(order: Order) -> Evaluation:
        found = evaluate(Order(order.choices | fixed, order.epochs))
        return Evaluation(order.choices, found.curve)

    journal = EvaluationJournal(tmp_path / "journal.jsonl", problem, measure="made up")
    config = JointConfig(evaluations=200, first_round=10, batch=30, pool=200)
    done = JointSearch(problem, {}, journal, config=config, epochs=EPOCHS, seed=0)
    done.run(InProcess(work))
    assert done.trained == 8 + 4 * 8 * 2  # without depth the kernel does not matter
