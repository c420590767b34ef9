import numpy as np
import pytest

from mobilenas_tf.decisions import choices_at
from mobilenas_tf.search.candidate_predictor import CandidatePredictor
from mobilenas_tf.search.joint_problem import (
    Limits,
    quasi_random,
)
from tests.small_joint_problem import accuracy, small_joint_problem

PROBLEM = small_joint_problem()
LARGEST = choices_at(PROBLEM.decisions, [0.99] * 6)


def test_equal_networks_under_equal_recipes_are_one_candidate():
    shallow = {**LARGEST, "depth": 0}
    assert PROBLEM.identity(shallow) == PROBLEM.identity({**shallow, "kernel": 3})
    assert PROBLEM.identity(LARGEST) != PROBLEM.identity({**LARGEST, "kernel": 3})
    other = {**shallow, "recipe/optimizer": "sgd"}
    assert PROBLEM.identity(shallow) != PROBLEM.identity(other)


def test_what_is_within_the_budget_stays_and_what_is_over_it_comes_just_inside():
    limits = Limits(PROBLEM, {"macs": 400.0})
    assert limits.pulled_in(LARGEST | {"depth": 1}) == LARGEST | {"depth": 1}
    pulled = limits.pulled_in(LARGEST)
    assert 200 < PROBLEM.facts(pulled).costs["macs"] <= 400
    recipe = [decision.path for decision in PROBLEM.recipe]
    assert {p: pulled[p] for p in recipe} == {p: LARGEST[p] for p in recipe}


def test_a_budget_below_the_cheapest_network_is_refused():
    with pytest.raises(ValueError, match="max_macs must be at least 10, .* small. Re"):
        quasi_random(Limits(PROBLEM, {"macs": 9.0}), size=4, seed=0)


def test_a_pool_is_distinct_within_the_budget_and_even():
    limits = Limits(PROBLEM, {"params": 1000.0})
    pool = quasi_random(limits, size=500, seed=3)
    assert len({PROBLEM.identity(choices) for choices in pool}) == 500
    assert all(limits.admit(choices) for choices in pool)
    assert pool == quasi_random(limits, size=500, seed=3)
    share = np.mean([choices["recipe/optimizer"] == "sgd" for choices in pool])
    assert share == pytest.approx(0.5, abs=0.02)


def test_a_predictor_ranks_candidates_that_it_has_not_seen():
    pool = quasi_random(Limits(PROBLEM, {}), size=300, seed=0)
    predictor = CandidatePredictor(PROBLEM, pool, seed=0)
    predictor.fit(pool[:60], [accuracy(choices) for choices in pool[:60]])
    mean, spread = predictor.predict(pool[100:])
    true = [accuracy(choices) for choices in pool[100:]]
    assert np.corrcoef(mean, true)[0, 1] > 0.85
    assert (spread > 0).all()
