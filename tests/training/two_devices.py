"""Tests that need a machine of two devices; `distribution_test` runs them.

A processor can be divided into devices only before TensorFlow computes, so they have a
process of their own: `pytest -p tests.training.divided_processor FILE`.
"""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from detection.config import DetectionLossConfig
from detection.losses import detection_loss
from detection.targets import AssignedTargets
from mobilenas_tf.layers.gates import LogisticSigmoidGate
from mobilenas_tf.layers.norms import FusedBatchNormalization
from mobilenas_tf.layers.quantizers import StepQuantizer
from mobilenas_tf.models.compact import build_network
from mobilenas_tf.models.one_shot_supernet import OneShotSupernet
from mobilenas_tf.training.classification import classification_objective
from mobilenas_tf.training.config import DistributionConfig, OptimizerConfig
from mobilenas_tf.training.distribution import (
    average_statistics,
    check_batch_size,
    compiled_step,
    make_strategy,
    replica_share,
    replicated,
)
from mobilenas_tf.training.one_shot_trainer import OneShotTrainer
from mobilenas_tf.training.optimizers import build_optimizer, ema_weights
from mobilenas_tf.training.trainer import NetworkTrainer
from tests.search import live_shrinking_test
from tests.small_one_shot_space import small_one_shot_space
from tests.training import loop_test, operator_trainer_test
from tests.training.synthetic import colour_data, small_architecture

STRATEGY = make_strategy(DistributionConfig("mirrored"))
DATA = colour_data()
# Sums of other parts differ in their last bits, and a few steps make more of it.
TOLERANCE = 1e-5


def copies(variable):
    """Returns a variable's values on both devices."""
    return [np.array(x) for x in STRATEGY.experimental_local_results(variable.value)]


def assert_same_copies(trainer):
    """Checks all that a checkpoint holds, to the last bit."""
    for item in trainer.checkpoint_items().values():
        for variable in item if isinstance(item, list) else item.variables:
            first, second = copies(variable)
            np.testing.assert_array_equal(first, second, err_msg=variable.path)


def network_trainer(optimizer="sgd"):
    keras.utils.set_random_seed(0)
    network = build_network(small_architecture())
    trainer = NetworkTrainer(network, classification_objective())
    trainer.compile(
        optimizer=build_optimizer(
            # Gradients are above this norm.
            OptimizerConfig(optimizer, gradient_clip_norm=0.1, ema_decay=0.9),
            network.trainable_variables,
            steps_per_epoch=DATA.steps_per_epoch,
            epochs=2,
            batch_size=DATA.config.batch_size,
        )
    )
    return trainer


def search_batches(epoch):
    return tf.data.Dataset.zip(DATA.train_epoch(epoch), DATA.train_epoch(epoch + 9))


def train(make_trainer, strategy, train_epoch=DATA.train_epoch):
    """Returns a trainer after two epochs, and the loss of every step."""
    with replicated(strategy) if strategy else contextlib.nullcontext():
        trainer = make_trainer()
        step = compiled_step(trainer)
        losses = []
        for epoch in range(2):
            for batch in train_epoch(epoch):
                for metric in trainer.metrics:
                    metric.reset_state()
                losses.append(float(step(batch)["loss"]))
        average_statistics(trainer.network)
    return trainer, losses


def assert_two_are_as_one(make_trainer, **options):
    one, losses_of_one = train(make_trainer, None, **options)
    two, losses_of_two = train(make_trainer, STRATEGY, **options)
    np.testing.assert_allclose(losses_of_two, losses_of_one, atol=TOLERANCE)
    pairs = zip(two.network.variables, one.network.variables, strict=True)
    for ours, theirs in pairs:
        np.testing.assert_allclose(
            copies(ours)[0], np.array(theirs), atol=TOLERANCE, err_msg=ours.path
        )
    assert_same_copies(two)
    assert np.ptp(losses_of_one) > 1000 * TOLERANCE


def test_a_batch_norm_takes_the_statistics_of_the_whole_batch():
    images = np.random.default_rng(0).normal(3, 2, (8, 3, 5, 4)).astype("float32")
    wanted = np.random.default_rng(1).normal(size=images.shape).astype("float32")
    mask = tf.constant([0.5, 1.0, 0.0, 2.0])

    def outputs_and_gradients(layer, images, wanted):
        variables = layer.trainable_variables
        with tf.GradientTape() as tape:
            tape.watch([images, mask])
            outputs = layer(images, training=True, channel_scale=mask)
            loss = tf.reduce_sum(outputs**2 * wanted)
        of_all = tape.gradient(loss, [images, mask, *variables])
        return outputs, *of_all

    def make():
        layer = FusedBatchNormalization(momentum=0.9, gamma_initializer="ones")
        layer.build(images.shape)
        return layer

    one = make()
    expected = outputs_and_gradients(one, tf.constant(images), wanted)
    with replicated(STRATEGY):
        two = make()

        @tf.function
        def run():
            return STRATEGY.run(
                lambda: outputs_and_gradients(
                    two, *replica_share((tf.constant(images), tf.constant(wanted)))
                )
            )

        found = [STRATEGY.experimental_local_results(each) for each in run()]
    for index in (0, 1):  # outputs, and the gradient of the images
        joined = np.concatenate([np.array(x) for x in found[index]])
        np.testing.assert_allclose(joined, expected[index], rtol=1e-4, atol=1e-5)
    for mine, theirs in zip(found[2:], expected[2:], strict=True):
        total = np.sum([np.array(x) for x in mine], axis=0)
        np.testing.assert_allclose(total, theirs, rtol=1e-4, atol=1e-4)
    for ours, theirs in zip(two.weights, one.weights, strict=True):
        for copy in copies(ours):
            np.testing.assert_allclose(copy, np.array(theirs), rtol=1e-5)


def test_statistics_of_parts_become_their_mean():
    rng = np.random.default_rng(0)
    images = tf.constant(rng.normal(3, 2, (8, 3, 3, 4)), "float32")
    with replicated(STRATEGY):
        layer = FusedBatchNormalization(momentum=0.9, synchronized=False)
        network = keras.Sequential([keras.Input((3, 3, 4)), layer])

        @tf.function
        def run():
            STRATEGY.run(lambda: layer(replica_share(images), training=True))

        run()
        parts = [copies(variable) for variable in network.non_trainable_variables]
        average_statistics(network)
    for variable, (first, second) in zip(
        network.non_trainable_variables, parts, strict=True
    ):
        assert np.any(first != second)
        for copy in copies(variable):
            np.testing.assert_allclose(copy, (first + second) / 2, rtol=1e-6)


def test_gates_draw_alike_on_all_replicas_and_anew_at_every_step():
    with replicated(STRATEGY):
        gate = LogisticSigmoidGate(5, seed=3)
        gate.build()

        @tf.function
        def draw():
            return STRATEGY.run(lambda: gate(None, training=True))

        samples = [
            [np.array(x) for x in STRATEGY.experimental_local_results(draw())]
            for _ in range(3)
        ]
    for first, second in samples:
        np.testing.assert_array_equal(first, second)
    assert len({tuple(first) for first, _ in samples}) == 3
    alone = LogisticSigmoidGate(5, seed=3)
    alone.build()
    for first, _ in samples:
        np.testing.assert_array_equal(first, np.array(alone(None, training=True)))


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adamw"])
def test_a_network_trains_as_on_one_device(optimizer):
    assert_two_are_as_one(lambda: network_trainer(optimizer))


@pytest.mark.slow
def test_averaged_weights_are_those_of_one_device():
    found = []
    for strategy in (None, STRATEGY):
        trainer, _ = train(network_trainer, strategy)
        variables = trainer.network.trainable_variables
        trained = loop_test.weights_of(trainer)
        with (
            replicated(strategy) if strategy else contextlib.nullcontext(),
            ema_weights(trainer.optimizer, variables),
        ):
            found.append(loop_test.weights_of(trainer))
        for before, after in zip(trained, loop_test.weights_of(trainer), strict=True):
            np.testing.assert_array_equal(before, after)
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(two, one, atol=TOLERANCE)


@pytest.mark.slow
def test_a_search_of_widths_trains_as_on_one_device():
    assert_two_are_as_one(loop_test.search_trainer)


@pytest.mark.slow
def test_a_search_of_mixed_operators_trains_as_on_one_device():
    assert_two_are_as_one(
        lambda: operator_trainer_test.make_trainer(warmup=0.1),
        train_epoch=search_batches,
    )


@pytest.mark.slow
@pytest.mark.parametrize("num_paths", [None, 2])
def test_replicas_of_a_search_of_drawn_operators_stay_alike(num_paths):
    trainer, losses = train(
        lambda: operator_trainer_test.make_trainer(
            warmup=0.1, sampling="path", num_paths=num_paths
        ),
        STRATEGY,
        search_batches,
    )
    assert_same_copies(trainer)
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_replicas_of_a_one_shot_supernet_stay_alike():
    space = small_one_shot_space()

    def make():
        keras.utils.set_random_seed(0)
        supernet = OneShotSupernet(space, name="supernet")
        trainer = OneShotTrainer(
            supernet, classification_objective(), has_distillation=True
        )
        trainer.compile(keras.optimizers.SGD(0.05))
        return trainer

    def train_epoch(epoch):
        plan_of = OneShotSupernet(space).plan_of
        plans = np.array([plan_of(space.widest()), plan_of(space.narrowest())])
        return DATA.train_epoch(epoch).map(lambda *batch: (batch, plans))

    trainer, losses = train(make, STRATEGY, train_epoch)
    assert_same_copies(trainer)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("class_loss", ["focal", "hard_negative_mining"])
def test_a_detection_loss_is_that_of_the_whole_batch(class_loss):
    rng = np.random.default_rng(0)
    classes = rng.integers(-1, 3, (4, 20)).astype("int32")
    classes[:2, 3:] = -1  # the first half has fewer objects
    is_object = classes >= 0
    assigned = AssignedTargets(
        classes=classes,
        encodings=rng.normal(size=(4, 20, 4)).astype("float32"),
        class_weights=np.ones((4, 20), "float32"),
        box_weights=is_object.astype("float32"),
        num_matches=is_object.sum(axis=1).astype("int32"),
    )
    outputs = {
        "class_logits": rng.normal(size=(4, 20, 3)).astype("float32"),
        "box_encodings": rng.normal(size=(4, 20, 4)).astype("float32"),
    }

    def loss(outputs, assigned):
        return detection_loss(
            outputs,
            assigned,
            score_activation="sigmoid",
            config=DetectionLossConfig(class_loss=class_loss),
        )[0]

    batch = tf.nest.map_structure(tf.constant, (outputs, assigned))

    @tf.function
    def run():
        return STRATEGY.run(lambda: loss(*replica_share(batch)))

    parts = [float(x) for x in STRATEGY.experimental_local_results(run())]
    assert np.mean(parts) == pytest.approx(float(loss(*batch)), rel=1e-5)


@pytest.mark.slow
def test_one_device_goes_on_with_a_run_of_two(tmp_path):
    whole = loop_test.search_trainer()
    loop_test.train(whole, tmp_path / "whole", 3)
    with replicated(STRATEGY):
        loop_test.train(loop_test.search_trainer(), tmp_path / "shared", 2)
    resumed = loop_test.search_trainer()
    loop_test.train(resumed, tmp_path / "shared", 3)
    np.testing.assert_allclose(
        loop_test.rows_of(tmp_path / "shared"),
        loop_test.rows_of(tmp_path / "whole"),
        atol=TOLERANCE,
    )
    for ours, theirs in zip(
        loop_test.weights_of(resumed), loop_test.weights_of(whole), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=TOLERANCE)


@pytest.mark.slow
def test_a_supernet_shrinks_as_on_one_device(tmp_path):
    rng = np.random.default_rng(0)
    whole = live_shrinking_test.small_space().supernet
    size_px, num_classes = whole.image_size_px, whole.head.num_classes
    images = rng.uniform(-1, 1, (8, size_px, size_px, 3)).astype("float32")
    labels = np.eye(num_classes, dtype="float32")[rng.integers(num_classes, size=8)]
    batch = tf.constant(images), tf.constant(labels), tf.ones(8)

    def losses_after_a_cut(name):
        keras.utils.set_random_seed(0)
        folder = tmp_path / name
        folder.mkdir()
        shrinking = live_shrinking_test.live_shrinking(folder)
        trainer = shrinking.trainer
        before = [float(compiled_step(trainer)(batch)["loss"])]
        live_shrinking_test.set_probabilities(
            trainer.supernet,
            live_shrinking_test.dead_and_alive(shrinking.space, seed=0),
        )
        assert shrinking.after_epoch(1)
        step = compiled_step(trainer)
        return trainer, before + [float(step(batch)["loss"]) for _ in range(3)]

    _, of_one = losses_after_a_cut("one")
    with replicated(STRATEGY):
        trainer, of_two = losses_after_a_cut("two")
    np.testing.assert_allclose(of_two, of_one, atol=TOLERANCE)
    assert_same_copies(trainer)


def test_a_batch_must_be_one_for_all_replicas():
    with replicated(STRATEGY), pytest.raises(ValueError, match="multiple of 2"):
        check_batch_size(15)


def test_few_bits_are_refused():
    with (
        replicated(STRATEGY),
        pytest.raises(ValueError, match="distribute must be none"),
    ):
        StepQuantizer(4).build((None, 8, 8, 3))
