import dataclasses
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilenas_tf.costs.block_costs import block_costs
from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.models.block_supernet import BlockSupernet
from mobilenas_tf.training.budget import BudgetSchedule
from mobilenas_tf.training.classification import classification_objective
from mobilenas_tf.training.operator_trainer import (
    CostTerm,
    OperatorTrainer,
    expected_loss,
)
from tests.small_block_space import small_block_space

SPACE = small_block_space()
BUDGET = CostTerm()
COSTS = block_costs(SPACE, lambda network: network_cost(network).macs)


def batch(count, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.uniform(-1, 1, (count, 8, 8, 3)).astype("float32")
    labels = np.eye(3, dtype="float32")[rng.integers(3, size=count)]
    return tf.constant(images), tf.constant(labels), tf.ones(count)


def make_trainer(
    *,
    budget=None,
    warmup=0.0,
    total_steps=20,
    sampling="mixture",
    cost_term=BUDGET,
    num_paths=None,
):
    keras.utils.set_random_seed(0)
    supernet = BlockSupernet(SPACE, sampling=sampling, temperature=1.0)
    supernet(tf.zeros((1, 8, 8, 3)))
    low, high = COSTS.range
    trainer = OperatorTrainer(
        supernet,
        classification_objective(),
        costs=COSTS,
        schedule=BudgetSchedule(
            start_cost=float(COSTS.expected(supernet.probabilities())),
            budgets=(budget or (low + high) / 2,),
            warmup=warmup,
            settle=0.5,
        ),
        temperature=lambda progress: 2.0 - progress,
        total_steps=total_steps,
        cost_term=cost_term,
        num_paths=num_paths,
    )
    trainer.compile(keras.optimizers.SGD(0.1), keras.optimizers.Adam(0.5))
    return trainer


def values(variables):
    return [np.array(variable) for variable in variables]


@pytest.mark.parametrize(
    ("sampling", "num_paths"), [("mixture", None), ("path", None), ("path", 4)]
)
def test_weights_and_choices_learn_from_batches_of_their_own(sampling, num_paths):
    trainer = make_trainer(warmup=0.1, sampling=sampling, num_paths=num_paths)
    supernet = trainer.supernet
    step = tf.function(trainer.train_step)
    weights, logits = (
        values(supernet.weight_variables),
        values(supernet.architecture_variables),
    )
    for _ in range(2):  # the warm-up
        step((batch(8), batch(4)))
    for before, after in zip(
        logits, values(supernet.architecture_variables), strict=True
    ):
        np.testing.assert_array_equal(before, after)
    changed = [
        np.any(a != b)
        for a, b in zip(weights, values(supernet.weight_variables), strict=True)
    ]
    assert np.mean(changed) > (0.9 if sampling == "mixture" else 0.3)
    step((batch(8), batch(4)))
    for before, after in zip(
        logits, values(supernet.architecture_variables), strict=True
    ):
        assert np.any(before != after)
    for choice in supernet.choices.values():
        assert float(choice.temperature) == pytest.approx(2.0 - 2 / 20)


@pytest.mark.parametrize("sampling", ["mixture", "path"])
def test_a_checkpoint_restores_everything_exactly(tmp_path, sampling):
    # Candidates stand in lists, where TensorFlow alone misses their moving statistics.
    first, second = make_trainer(sampling=sampling), make_trainer(sampling=sampling)
    step = tf.function(first.train_step)
    for _ in range(3):
        step((batch(8), batch(4)))
    path = tf.train.Checkpoint(**first.checkpoint_items()).write(str(tmp_path / "c"))
    tf.train.Checkpoint(**second.checkpoint_items()).read(path).assert_consumed()
    for ours, theirs in zip(
        first.network.variables, second.network.variables, strict=True
    ):
        np.testing.assert_array_equal(np.array(ours), np.array(theirs), ours.path)
    means = [v for v in second.network.variables if v.path.endswith("moving_mean")]
    assert sum(bool(np.any(np.array(mean))) for mean in means) > 4  # more than the ends


@pytest.mark.parametrize("share", [0.1, 0.9])
def test_the_expected_cost_comes_to_the_budget(share):
    low, high = COSTS.range
    budget = low + share * (high - low)
    trainer = make_trainer(budget=budget, total_steps=60)
    step = tf.function(trainer.train_step)
    pairs = [(batch(8, seed), batch(4, seed)) for seed in range(4)]
    costs = []
    for index in range(60):
        step(pairs[index % 4])
        costs.append(float(COSTS.expected(trainer.supernet.probabilities())))
    # Steps as large as these swing about the target, which is held in the mean.
    assert np.mean(costs[-20:]) == pytest.approx(budget, rel=0.1)


@pytest.mark.parametrize(
    ("sampling", "num_paths"), [("mixture", None), ("path", None), ("path", 4)]
)
def test_stem_and_head_keep_the_statistics_of_the_weights_images(sampling, num_paths):
    statistics = []
    for scale in (1.0, 20.0):
        trainer = make_trainer(sampling=sampling, num_paths=num_paths)
        images, *targets = batch(4, seed=1)
        tf.function(trainer.train_step)((batch(8), (scale * images, *targets)))
        statistics.append(values(trainer._shared_statistics()))
    assert len(statistics[0]) >= 4
    for ours, theirs in zip(*statistics, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_cost_joins_the_loss_by_the_papers_formulas():
    loss, cost, target, strength = map(tf.constant, (2.0, 30.0, 20.0, 0.1))
    assert float(CostTerm("budget").join(loss, cost, target, strength)) == 5.0
    product = CostTerm("product", alpha=0.2, beta=0.6)
    assert float(product.join(loss, cost, target, strength)) == pytest.approx(
        2.0 * 0.2 * np.log(30.0) ** 0.6
    )
    by_unit = dataclasses.replace(product, unit=1e-3)
    assert float(by_unit.join(loss, cost / 1e3, target, strength)) == pytest.approx(
        2.0 * 0.2 * np.log(30.0) ** 0.6
    )
    total = CostTerm("sum", alpha=0.5)
    assert float(total.join(loss, cost, target, strength)) == pytest.approx(2.25)


def test_a_product_with_costs_whose_logarithm_is_not_above_0_is_refused():
    low, _ = COSTS.range
    with pytest.raises(ValueError, match=f"more than {low:g}; give budget or sum"):
        make_trainer(cost_term=CostTerm("product", unit=low))


def test_compared_losses_have_the_gradient_of_the_expected_loss_in_the_mean():
    # Every triple of candidates of one place, weighted by its probability.
    logits = tf.Variable([0.3, -0.5, 1.0])
    candidate_loss = np.array([1.0, 3.0, 2.0], np.float32)
    p = tf.nn.softmax(logits).numpy()
    mean = np.zeros(3)
    for triple in itertools.product(range(3), repeat=3):
        drawn = tf.one_hot(triple, 3)
        with tf.GradientTape() as tape:
            loss = expected_loss(
                tf.constant(candidate_loss[list(triple)]),
                {"place": drawn},
                {"place": tf.nn.softmax(logits)},
            )
        assert float(loss) == pytest.approx(candidate_loss[list(triple)].mean())
        mean += np.prod(p[list(triple)]) * np.array(tape.gradient(loss, logits))
    # d/dlogit_i sum_j p_j L_j = p_i (L_i - sum_j p_j L_j)
    np.testing.assert_allclose(mean, p * (candidate_loss - p @ candidate_loss), 1e-5)


def test_equal_losses_move_no_choice():
    logits = tf.Variable([0.3, -0.5])
    with tf.GradientTape() as tape:
        p = {"place": tf.nn.softmax(logits)}
        loss = expected_loss(tf.constant([2.0, 2.0]), {"place": tf.eye(2)}, p)
    np.testing.assert_array_equal(tape.gradient(loss, logits), [0.0, 0.0])
