import json

import numpy as np
import pytest

from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.search.evolution import Journal, Scored, evolve, pareto_front
from tests.small_one_shot_space import small_one_shot_space

SPACE = small_one_shot_space()


def macs(network):
    return float(network_cost(network).macs)


def value(genotype):
    """Returns a made-up score: more of everything is better, kernels of 3 best."""
    sizes = sum(v for v in genotype.values() if isinstance(v, int))
    kinds = {"identity": 0, "k5_e3": 1, "k3_e2": 3}
    return sizes / 100 + sum(kinds.get(v, 0) for v in genotype.values())


def search(path, *, budget=3e4, score=value, generations=6, seed=0):
    calls = []

    def measure(genotypes):
        for genotype in genotypes:
            calls.append(SPACE.resolve(genotype))
            yield score(genotype)

    found = evolve(
        SPACE,
        measure,
        Journal(path / "journal.jsonl", SPACE),
        {"macs": (macs, budget)},
        population=8,
        generations=generations,
        seed=seed,
    )
    return found, calls


def test_every_network_is_within_the_budget_and_none_is_scored_twice(tmp_path):
    found, calls = search(tmp_path)
    assert all(row.costs["macs"] <= 3e4 for row in found)
    assert len(calls) == len(set(calls)) == len(found)
    for row in found:
        assert row.score == value(row.genotype)
        assert row.costs["macs"] == macs(SPACE.resolve(row.genotype))


def test_later_generations_are_better_than_the_random_first(tmp_path):
    found, _ = search(tmp_path, generations=12)
    assert max(r.score for r in found) > max(r.score for r in found[:8])


def test_a_killed_search_takes_the_same_course(tmp_path):
    whole, _ = search(tmp_path)
    (tmp_path / "again").mkdir()
    left = [11]

    def dying(genotype):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return value(genotype)

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "again", score=dying)
    journal = tmp_path / "again" / "journal.jsonl"
    with journal.open("a") as file:
        file.write('{"space": "small", "genoty')  # died while writing
    resumed, calls = search(tmp_path / "again")
    assert resumed == whole
    assert len(calls) == len(whole) - 11


def test_a_budget_that_no_network_meets_is_refused_with_what_is_in_reach(tmp_path):
    low = macs(SPACE.resolve(SPACE.narrowest()))
    with pytest.raises(ValueError, match=f"max_macs must be at least {low:,.6g}, the"):
        search(tmp_path, budget=low - 1)
    found, _ = search(tmp_path, budget=low)
    assert {SPACE.resolve(row.genotype) for row in found} == {
        SPACE.resolve(SPACE.narrowest())
    }


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            {"space": "other", "genotype": {}, "score": 1},
            "must be the journal of small",
        ),
        ({"space": "small", "genotype": {}}, "line 1, must have the key 'score'"),
        (
            {"space": "small", "genotype": {}, "score": "x"},
            "line 1,/score must be of type float",
        ),
        (
            {"space": "small", "genotype": {"depth": 2}, "score": 0.5},
            "line 1, must be a genotype: genotype must have decisions of small only",
        ),
        ([], "line 1, must be an entry"),
    ],
)
def test_a_journal_that_is_none_of_this_space_is_refused(tmp_path, line, words):
    path = tmp_path / "journal.jsonl"
    path.write_text(json.dumps(line) + "\n")
    with pytest.raises(ValueError, match=words):
        Journal(path, SPACE)


def test_scores_of_another_measure_are_passed_over(tmp_path):
    path, genotype = tmp_path / "journal.jsonl", SPACE.widest()
    for measure, score in (("accuracy", 0.5), ("likelihood", 0.25)):
        journal = Journal(path, SPACE, measure=measure)
        assert not journal.scores
        journal.score([genotype], lambda _, score=score: [score])
    again = Journal(path, SPACE, measure="accuracy")
    assert list(again.scores.values()) == [0.5]


def test_the_front_has_what_none_beats_cheapest_first():
    points = [(3, 0.5), (1, 0.2), (2, 0.5), (4, 0.9), (5, 0.8), (2, 0.4)]
    found = [Scored({"a": i}, s, {"macs": c}) for i, (c, s) in enumerate(points)]
    front = [(row.costs["macs"], row.score) for row in pareto_front(found, "macs")]
    assert front == [(1, 0.2), (2, 0.5), (4, 0.9)]


def test_seeds_differ(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = (search(tmp_path / n, seed=s)[0] for n, s in (("a", 0), ("b", 1)))
    assert [r.genotype for r in first] != [r.genotype for r in second]
    assert np.isfinite([r.score for r in first]).all()
