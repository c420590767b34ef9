import numpy as np
import pytest

from mobilenas_tf.search.one_shot_sampling import Sampling, genotype_macs
from mobilenas_tf.search.shrinking import (
    Evidence,
    network_angle,
    operation_evidence,
    random_turn_off,
    to_turn_off,
)
from tests.small_one_shot_space import small_one_shot_space

SPACE = small_one_shot_space()
PATH = "stage1/block1/operation"


def scored(penalty, count=300, noise=0.01):
    rng = np.random.default_rng(0)
    genotypes = [SPACE.sample(rng) for _ in range(count)]
    macs = [genotype_macs(SPACE, genotype) for genotype in genotypes]
    scores = [
        0.1 * np.log(m) - penalty * (g[PATH] == "k3_e2") + rng.normal(0, noise)
        for g, m in zip(genotypes, macs, strict=True)
    ]
    return genotypes, scores, macs


def test_an_operation_that_costs_accuracy_is_told_from_the_noise():
    evidence = operation_evidence(SPACE, *scored(0.05))
    (case, *_) = to_turn_off(evidence, places=1)
    assert (case.path, case.operation) == (PATH, "k3_e2")
    assert case.behind == pytest.approx(0.05, abs=4 * case.standard_error + 0.01)


def test_what_is_cheap_is_not_turned_off_for_that():
    # Scores hang on multiply-adds alone: no operation is behind beyond the noise.
    evidence = operation_evidence(SPACE, *scored(0.0))
    cases = [case for case in evidence if case.behind > 4 * case.standard_error]
    assert cases == []


def test_the_clearest_cases_go_one_a_place():
    cases = [
        Evidence("a", "x", "z", 0.10, 0.01),
        Evidence("a", "y", "z", 0.20, 0.01),
        Evidence("b", "x", "y", 0.30, 0.10),
        Evidence("c", "x", "y", 0.30, 0.20),
    ]
    gone = [(case.path, case.operation) for case in to_turn_off(cases, places=3)]
    assert gone == [("a", "y"), ("b", "x")]
    assert len(to_turn_off(cases, places=1)) == 1


def test_operations_of_too_few_networks_are_not_judged():
    genotypes, scores, macs = scored(0.05)
    few = [i for i, g in enumerate(genotypes) if g[PATH] != "k3_e2"]
    few += [i for i, g in enumerate(genotypes) if g[PATH] == "k3_e2"][:2]
    evidence = operation_evidence(
        SPACE, *([each[i] for i in few] for each in (genotypes, scores, macs))
    )
    assert not any(c.path == PATH and c.operation == "k3_e2" for c in evidence)


def test_three_networks_that_happen_to_agree_are_no_sure_case():
    genotypes, scores, macs = scored(0.0, noise=0.05)
    alike = [i for i, g in enumerate(genotypes) if g[PATH] == "k3_e2"][:3]
    rest = [i for i, g in enumerate(genotypes) if g[PATH] != "k3_e2"]
    for i in alike:
        scores[i] = 0.1 * np.log(macs[i]) - 0.01
    evidence = operation_evidence(
        SPACE, *([each[i] for i in rest + alike] for each in (genotypes, scores, macs))
    )
    (case,) = (c for c in evidence if (c.path, c.operation) == (PATH, "k3_e2"))
    assert case.standard_error == pytest.approx(0.05 / np.sqrt(3), rel=0.2)


def test_chance_never_takes_the_last_operation():
    space, rng = SPACE, np.random.default_rng(0)
    for _ in range(20):
        for case in random_turn_off(space, places=2, rng=rng):
            space = space.without(case.path, case.operation)
    assert all(d.values for d in space.all_decisions)


def test_the_angle_is_that_between_the_vectors():
    first = [np.array([1.0, 0.0]), np.array([[0.0]])]
    assert network_angle(first, first) == pytest.approx(0.0, abs=1e-6)
    turned = [np.array([0.0, 1.0]), np.array([[0.0]])]
    assert network_angle(first, turned) == pytest.approx(np.pi / 2)
    half = [np.array([1.0, 0.0]), np.array([[1.0]])]
    assert network_angle(first, half) == pytest.approx(np.pi / 4)


def epoch(progress, **options):
    return Sampling(**options).epoch(SPACE, steps=20, progress=progress, seed=(0, 0))


def test_a_step_has_the_ends_and_random_networks_the_widest_first():
    for step in epoch(0.9, networks=3):
        assert len(step) == 5
        assert step[0] == SPACE.widest() and step[1] == SPACE.narrowest()
    assert all(len(step) == 2 for step in epoch(0.9, has_sandwich=False))


def test_channels_are_the_widest_at_first_and_open_downwards():
    widths = {d.path: d.values for d in SPACE.decisions if isinstance(d.values[0], int)}
    for step in epoch(0.05):
        for genotype in step:
            assert all(genotype[path] == v[-1] for path, v in widths.items())
    late = [genotype for step in epoch(0.9) for genotype in step]
    for path, values in widths.items():
        assert {genotype[path] for genotype in late} == set(values)


def test_random_networks_are_spread_evenly_over_multiply_adds():
    def quarters(is_cost_uniform):
        steps = Sampling(networks=2, is_cost_uniform=is_cost_uniform).epoch(
            SPACE, steps=200, progress=1.0, seed=(0, 0)
        )
        macs = [genotype_macs(SPACE, g) for step in steps for g in step[2:]]
        low, high = (
            genotype_macs(SPACE, g) for g in (SPACE.narrowest(), SPACE.widest())
        )
        return np.histogram(macs, 4, (low, high))[0] / len(macs)

    assert quarters(True).min() > 0.15
    assert quarters(False).min() < 0.1


def test_an_epoch_repeats_with_its_seed():
    assert epoch(0.5) == epoch(0.5)
    other = Sampling().epoch(SPACE, steps=20, progress=0.5, seed=(0, 1))
    assert epoch(0.5) != other
