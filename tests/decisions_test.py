import numpy as np
import pytest

from mobilenas_tf.decisions import (
    Integers,
    LogRange,
    Options,
    check_choices,
    choice_features,
    choices_at,
    mutated,
)

OPTIMIZER = Options("optimizer", ("sgd", "adamw", "rmsprop"))
DEPTH = Integers("depth", 2, 10, 4)
RATE = LogRange("learning_rate", 0.01, 1.0)
DECISIONS = (OPTIMIZER, DEPTH, RATE)


def test_shares_fill_every_decision_evenly():
    shares = (np.arange(900) + 0.5) / 900
    assert [sum(OPTIMIZER.at(s) == v for s in shares) for v in OPTIMIZER.values] == [
        300
    ] * 3
    assert [sum(DEPTH.at(s) == v for s in shares) for v in (2, 6, 10)] == [300] * 3
    rates = [RATE.at(s) for s in shares]
    assert 0.01 <= min(rates) < 0.0101 and 0.99 < max(rates) <= 1.0
    assert np.median(rates) == pytest.approx(0.1, rel=0.01)


def test_every_drawn_value_is_contained():
    rng = np.random.default_rng(0)
    for _ in range(200):
        check_choices(DECISIONS, choices_at(DECISIONS, rng.random(3)))


def test_features_are_one_hot_and_shares_of_the_range():
    choices = {"optimizer": "adamw", "depth": 10, "learning_rate": 0.1}
    features = choice_features(DECISIONS, choices)
    np.testing.assert_allclose(features, [0, 1, 0, 1, 0.5], atol=1e-6)


def test_a_mutation_changes_little_and_never_nothing_to_draw():
    rng = np.random.default_rng(0)
    decisions = [Integers(f"d{i}", 0, 10**6) for i in range(10)]
    start = choices_at(decisions, np.full(10, 0.5))
    changes = []
    for _ in range(500):
        new = mutated(decisions, start, rng, share=0.1)
        changes.append(sum(new[path] != value for path, value in start.items()))
    assert min(changes) == 1
    assert np.mean(changes) == pytest.approx(1.9, abs=0.2)  # one, and 0.1 of nine


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"depth": 3}, "depth must be an integer from 2 to 10 in steps of 4. Rec.*: 3"),
        ({"depth": True}, "depth must be an integer"),
        ({"optimizer": "lamb"}, "optimizer must be one of sgd, adamw, rmsprop. Rec"),
        ({"learning_rate": 2.0}, "learning_rate must be a number from 0.01 to 1. Rec"),
        ({"learning_rate": None}, "learning_rate must be a number"),
        ({"colour": "red"}, "colour must be one of depth, learning_rate, optimizer"),
    ],
)
def test_choices_that_are_none_are_refused(changes, words):
    choices = {"optimizer": "sgd", "depth": 6, "learning_rate": 0.1}
    check_choices(DECISIONS, choices)
    with pytest.raises(ValueError, match=words):
        check_choices(DECISIONS, choices | changes)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Options("a", ()), "values of a must be distinct, at least one"),
        (lambda: Options("a", (1, 1)), "values of a must be distinct"),
        (lambda: Integers("a", 0, 5, 2), "a must run from low to high in whole steps"),
        (lambda: LogRange("a", 0.0, 1.0), "low of a must be above 0 and below high"),
    ],
)
def test_decisions_that_cannot_be_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
