"""One candidate is trained, on digits."""

from __future__ import annotations

import dataclasses

import pytest

from mobilenas_tf.costs.width_latency import network_width_parts
from mobilenas_tf.decisions import Choices
from mobilenas_tf.joint_space import JointSpace, JointStage
from mobilenas_tf.search.candidate_training import (
    CandidateSettings,
    CandidateTrainer,
    joint_problem,
)
from mobilenas_tf.search.joint_recipe import DEFAULT_RECIPE, PREFIX, recipe_of
from mobilenas_tf.search.workers import Order
from mobilenas_tf.training.config import (
    AugmentationConfig,
    DataConfig,
    OptimizerConfig,
    TrainingConfig,
)
from tests.costs.operator_latencies import CALL_MS, table_of_macs

SPACE = JointSpace(
    name="tiny",
    resolution=(16, 20, 4),
    stem_channels=(8, 8),
    stages=(JointStage((8, 24), (1, 2), 2, (1, 4), (1, 4), kernel_sizes=(3,)),),
    head_expansion=4,
    head_channels=None,
    num_classes=10,
)
SETTINGS = CandidateSettings(
    DataConfig(dataset="digits", max_train_images=1024, batch_size=16),
    AugmentationConfig(),
    OptimizerConfig(),
    TrainingConfig(epochs=3, batch_norm_momentum=0.8),
)


def candidate(**recipe: object) -> Choices:
    """Returns the largest network under the default recipe with changes."""
    network = {decision.path: decision.values[-1] for decision in SPACE.decisions}
    changes = {f"{PREFIX}{name}": value for name, value in recipe.items()}
    choices = network | DEFAULT_RECIPE | changes
    joint_problem(SPACE).check(choices)
    return choices


GOOD = candidate(optimizer="adamw", learning_rate=4.0)


@pytest.fixture(scope="module")
def train() -> CandidateTrainer:
    return CandidateTrainer(SPACE, SETTINGS)


def test_it_learns_and_repeats_and_a_shorter_order_is_its_beginning(
    train: CandidateTrainer,
):
    whole = train(Order(GOOD, 3))
    assert not whole.failed and len(whole.curve) == 3 and whole.seconds > 0
    assert whole.curve[-1] > 0.3 and whole.curve[-1] > whole.curve[0]
    assert train(Order(GOOD, 3)).curve == pytest.approx(whole.curve, abs=0.02)
    assert train(Order(GOOD, 2)).curve == pytest.approx(whole.curve[:2], abs=0.02)


def test_a_recipe_that_diverges_has_failed():
    wild = dataclasses.replace(SETTINGS.training, batch_norm_momentum=0.0)
    settings = dataclasses.replace(SETTINGS, training=wild)
    train = CandidateTrainer(SPACE, settings)
    choices = candidate(optimizer="sgd", learning_rate=8.0) | {
        f"{PREFIX}learning_rate": 1e30  # far out of the range
    }
    failed = train(Order(choices, 2))
    assert "loss must stay finite" in failed.failed and len(failed.curve) < 2


def test_with_a_table_networks_cost_milliseconds_too():
    table = table_of_macs(network_width_parts([SPACE.resolve(GOOD)]))
    costs = joint_problem(SPACE, table).costs(GOOD | {"stage1/channels": 16})
    assert costs["ms"] == pytest.approx(CALL_MS + 1e-6 * costs["macs"], rel=1e-5)
    assert "ms" not in joint_problem(SPACE).costs(GOOD)


def test_the_default_recipe_is_that_of_a_training():
    recipe, optimizer = recipe_of(DEFAULT_RECIPE), OptimizerConfig()
    training = TrainingConfig()
    assert recipe.put_into(training) == training
    assert recipe.put_into(AugmentationConfig()) == AugmentationConfig()
    assert recipe.put_into(optimizer) == dataclasses.replace(
        optimizer, learning_rate=0.1
    )
