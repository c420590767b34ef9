import dataclasses
import shutil

import keras
import numpy as np
import pytest

from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.json_io import read_architecture, read_json
from mobilenas_tf.models.network_io import INHERITED_WEIGHTS, load_network
from mobilenas_tf.models.one_shot_weights import inherit_weights
from mobilenas_tf.search.config import OneShotBudgetConfig, OneShotConfig
from mobilenas_tf.search.one_shot import one_shot_budgets, search_supernet
from mobilenas_tf.search.one_shot_supernets import (
    _Shrinking,
    network_scorer,
    read_supernet,
    train_supernet,
)
from mobilenas_tf.training.classification import class_predictor, evaluate_accuracy
from mobilenas_tf.training.config import OptimizerConfig, TrainingConfig
from mobilenas_tf.training.repetition import run_in_order
from mobilenas_tf.training.run_dir import RunDir
from tests.small_one_shot_space import small_one_shot_space
from tests.training.synthetic import SIZE_PX, colour_data

SPACE = small_one_shot_space(image_size_px=SIZE_PX)
DATA = colour_data(96, 16)
CONFIG = OneShotConfig(
    space="small",
    calibration_images=32,
    population=6,
    generations=3,
    shrink_networks=30,
    shrink_by="random",
    shrink_rounds=2,
    shrink_places=1,
)
BUDGETS = one_shot_budgets(OneShotBudgetConfig(max_macs=6e4), None, space="small")
EPOCHS = 4


def train(path, *, data=DATA, config=CONFIG):
    return train_supernet(
        SPACE,
        data,
        RunDir(path),
        config=config,
        optimizer=OptimizerConfig(learning_rate=0.2),
        training=TrainingConfig(epochs=EPOCHS, dropout_rate=0.0),
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("one_shot")
    supernet, left = train(path)
    return path, supernet, left


def search(path, supernet, left):
    return search_supernet(
        supernet, left, DATA, RunDir(path), config=CONFIG, budgets=BUDGETS, seed=0
    )


@pytest.mark.slow
def test_the_supernet_learns_and_sheds_operations(trained):
    path, supernet, left = trained
    scorer = network_scorer(supernet, DATA, CONFIG)
    assert scorer.accuracy(left.widest()) > 0.6  # chance is a third
    events = read_json(path / "turned_off.json")
    assert [(e["path"], e["operation"]) for e in events] == list(left.turned_off)
    assert len(events) == 2


@pytest.mark.slow
def test_a_score_is_that_of_the_recalibrated_network(trained):
    _, supernet, left = trained
    genotype = left.sample(np.random.default_rng(3))
    config = dataclasses.replace(CONFIG, score_by="accuracy")
    by_accuracy = network_scorer(supernet, DATA, config)
    by_likelihood = network_scorer(supernet, DATA, CONFIG)
    network = inherit_weights(supernet, genotype, by_accuracy.calibration)
    accuracy = evaluate_accuracy(class_predictor(network), DATA.validation())
    assert by_accuracy(genotype) == by_likelihood.accuracy(genotype)
    assert by_accuracy(genotype) == pytest.approx(accuracy, abs=0.03)
    logits, labels = zip(
        *((network(x, training=False), y) for x, y in DATA.validation()), strict=True
    )
    entropy = keras.losses.sparse_categorical_crossentropy(
        np.concatenate(labels), np.concatenate(logits), from_logits=True
    )
    likelihood = np.exp(-np.mean(entropy))
    assert by_likelihood(genotype) == pytest.approx(likelihood, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("score_by", ["likelihood", "accuracy"])
def test_a_network_whose_outputs_are_not_finite_scores_0(trained, score_by):
    _, supernet, left = trained
    config = dataclasses.replace(CONFIG, score_by=score_by)
    scorer = network_scorer(supernet, DATA, config)
    outputs = scorer._outputs
    scorer._outputs = lambda genotype: np.nan * outputs(genotype)
    score = scorer(left.widest())
    assert score == 0.0 if score_by == "likelihood" else 0.0 <= score <= 1.0


@pytest.mark.slow
def test_threads_score_before_operators_run_in_order(trained):
    # What a thread traced was not fit for order: "does not support switch op".
    _, supernet, left = trained
    genotypes = [left.narrowest(), left.widest()]
    try:
        run_in_order(True)
        scorer = network_scorer(supernet, DATA, CONFIG)
        scores = list(scorer.scores(genotypes))
        assert scores == [scorer(each) for each in genotypes]
    finally:
        run_in_order(False)


@pytest.mark.slow
def test_the_front_is_within_the_budget_and_ready_to_be_trained(trained, tmp_path):
    _, supernet, left = trained
    result = search(tmp_path, supernet, left)
    assert network_cost(result.architecture).macs <= 6e4
    assert read_architecture(tmp_path / "architecture.json") == result.architecture
    document = read_json(tmp_path / "one_shot.json")
    assert len(document["generations"]) == 3
    assert len(document["front"]) == len(result.front)
    for rank in range(len(result.front)):
        folder = tmp_path / "front" / str(rank)
        architecture, network = load_network(folder, weights_file=INHERITED_WEIGHTS)
        assert network_cost(architecture).macs <= 6e4
        assert network.output_shape == (None, 3)
    again = search(tmp_path, supernet, left)  # from its journal
    assert again == result


class StoppedData:
    """The data of a training that is killed at the start of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def __getattr__(self, name):
        return getattr(DATA, name)

    def train_epoch(self, epoch):
        if epoch == self.epoch:
            raise KeyboardInterrupt
        return DATA.train_epoch(epoch)


@pytest.mark.slow
@pytest.mark.parametrize("are_checkpoints_lost", [False, True])
def test_a_killed_training_ends_as_one_that_was_not(
    trained, tmp_path, are_checkpoints_lost
):
    path, supernet, left = trained
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, data=StoppedData(3))
    if are_checkpoints_lost:  # the log of the shrinking is not
        shutil.rmtree(tmp_path / "checkpoints")
    again, left_again = train(tmp_path)
    assert left_again == left
    events = [read_json(each / "turned_off.json") for each in (path, tmp_path)]
    assert events[0] == events[1]
    for a, b in zip(supernet.weights, again.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-2)  # sums of threads


@pytest.mark.slow
def test_a_supernet_is_read_as_it_was_written(trained):
    path, supernet, left = trained
    again, left_again = read_supernet(path, SPACE)
    assert left_again == left
    for a, b in zip(supernet.weights, again.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="must be of num_classes=5. Received: num_cla"):
        read_supernet(path, small_one_shot_space(SIZE_PX, num_classes=5))


def test_shrinking_leaves_a_network_for_the_budgets(tmp_path):
    def smallest_left(folder, budgets):
        folder.mkdir()
        shrinking = _Shrinking(
            SPACE,
            None,
            dataclasses.replace(CONFIG, shrink_rounds=4, shrink_places=3),
            epochs=EPOCHS,
            seed=0,
            log_path=folder / "turned_off.json",
            initial=[],
            budgets=budgets,
        )
        for epoch in range(1, EPOCHS + 1):
            shrinking.after_epoch(epoch)
        left = shrinking.space
        assert left.turned_off
        return network_cost(left.resolve(left.narrowest())).macs

    cost, _ = BUDGETS["macs"]
    smallest = cost(SPACE.resolve(SPACE.narrowest()))
    assert smallest_left(tmp_path / "free", {}) > smallest
    bound = {"macs": (cost, smallest)}
    assert smallest_left(tmp_path / "bound", bound) == smallest


def test_a_budget_in_milliseconds_needs_a_table():
    with pytest.raises(ValueError, match="given with max_ms; .* --space=one_shot_32 "):
        one_shot_budgets(OneShotBudgetConfig(max_ms=1.0), None, space="one_shot_32")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"population": 3}, "population must be at least 4"),
        ({"sampled_networks": 0}, "sampled_networks must be at least 1"),
        ({"widen_from": 0.5, "widen_to": 0.4}, "widen_from must be from 0 to widen_to"),
        ({"shrink_by": "luck"}, "shrink_by must be one of"),
    ],
)
def test_options_that_cannot_be_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        OneShotConfig(**options)


def test_no_budget_is_refused():
    with pytest.raises(ValueError, match="max_macs or max_ms must be given, above 0"):
        OneShotBudgetConfig()
