import numpy as np
import pytest
import scipy.stats

from mobilenas_tf.search.acquisition import (
    AcquisitionConfig,
    Examples,
    NeuralAcquisition,
)

QUICK = AcquisitionConfig(
    members=4, pretraining_steps=300, frozen_steps=100, released_steps=100
)


def problem(count, seed=0):
    """Returns examples of 10 binary decisions, and what hangs on them and a recipe."""
    rng = np.random.default_rng(seed)
    x = rng.integers(2, size=(count, 10)).astype(np.float32)
    size = x @ np.linspace(0.2, 2.0, 10)
    recipe = rng.random((count, 1)).astype(np.float32)
    statistics = ((size - 5.5) / 2)[:, None].astype(np.float32)
    quality = 0.3 * size - 4 * (recipe[:, 0] - 0.2 - 0.06 * size) ** 2
    return Examples(x, statistics, recipe), quality + 70


@pytest.fixture(scope="module")
def trained():
    acquisition = NeuralAcquisition((10, 1, 1), config=QUICK)
    free, _ = problem(1000, seed=1)
    error = acquisition.pretrain(free.architectures, free.statistics)
    return acquisition, error


def ranked(acquisition, count):
    known, accuracies = problem(count, seed=2)
    others, truth = problem(300, seed=3)
    acquisition.fit(known, accuracies)
    mean, _ = acquisition.predict(others)
    return float(np.asarray(scipy.stats.kendalltau(mean, truth))[0]), mean


def test_the_encoder_learns_the_statistics(trained):
    assert trained[1] < 0.02  # of a variance of about 1


def test_more_examples_rank_better(trained):
    acquisition, _ = trained
    few, many = (ranked(acquisition, count)[0] for count in (15, 150))
    assert many > 0.55 and many > few + 0.1


def test_the_same_examples_give_the_same_answers_whatever_was_fitted_before(trained):
    acquisition, _ = trained
    _, first = ranked(acquisition, 40)
    ranked(acquisition, 90)
    _, again = ranked(acquisition, 40)
    np.testing.assert_allclose(first, again, atol=1e-3)


def test_it_is_less_sure_of_what_it_has_not_seen(trained):
    acquisition, _ = trained
    known, accuracies = problem(60, seed=4)
    acquisition.fit(known, accuracies)
    _, seen = acquisition.predict(known)
    others, _ = problem(300, seed=5)
    _, unseen = acquisition.predict(others)
    assert np.mean(unseen) > 1.5 * np.mean(seen)


def test_too_few_examples_are_refused(trained):
    one, accuracies = problem(1)
    with pytest.raises(ValueError, match="must be of all examples, at least 2. Rec"):
        trained[0].fit(one, accuracies)
