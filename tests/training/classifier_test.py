import dataclasses
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilenas_tf.models.network_io import load_network
from mobilenas_tf.training.classifier import (
    Evaluation,
    evaluate_classifier,
    evaluate_predictions,
    train_classifier,
)
from mobilenas_tf.training.config import OptimizerConfig, TrainingConfig
from mobilenas_tf.training.run_dir import RunDir
from tests.training.synthetic import all_weights, colour_data, small_architecture

OPTIMIZER = OptimizerConfig(learning_rate=0.5, warmup_epochs=1.0)
TRAINING = TrainingConfig(
    epochs=8, dropout_rate=0.1, label_smoothing=0.1, batch_norm_momentum=0.8
)


def rows(path):
    return RunDir(path).read_metrics()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished training with averaged weights."""
    path = tmp_path_factory.mktemp("run")
    keras.utils.set_random_seed(5)
    network = train_classifier(
        small_architecture(),
        colour_data(num_train=128),
        RunDir(path),
        optimizer=dataclasses.replace(OPTIMIZER, ema_decay=0.8),
        training=TRAINING,
        phase="uniform",
    )
    return path, network


@pytest.mark.slow
def test_a_small_network_learns_the_colours(finished):
    path, network = finished
    evaluation = evaluate_classifier(network, colour_data())
    assert evaluation.accuracy > 0.9
    assert evaluation.confusion.sum() == 40
    last = rows(path)[-1]
    assert (last["phase"], last["epoch"], last["step"]) == ("uniform", 8, 8 * 8)
    assert last["validation_accuracy"] > 0.9


@pytest.mark.slow
def test_the_folder_holds_the_network_that_is_returned(finished):
    path, network = finished
    architecture, loaded = load_network(path)
    assert architecture == small_architecture()
    for ours, theirs in zip(all_weights(network), all_weights(loaded), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_a_finished_training_is_not_repeated(finished):
    path, network = finished
    before = rows(path)
    again = train_classifier(
        small_architecture(),
        colour_data(num_train=128),
        RunDir(path),
        optimizer=dataclasses.replace(OPTIMIZER, ema_decay=0.8),
        training=TRAINING,
        phase="uniform",
    )
    assert rows(path) == before
    # Also the averaged weights are those of the checkpoint.
    for ours, theirs in zip(all_weights(network), all_weights(again), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_initial_weights_are_set_before_the_first_step(tmp_path):
    seen = []

    def initialize(network):
        for weight in network.weights:
            weight.assign(np.full(weight.shape, 0.5))
        seen.append(network)

    network = train_classifier(
        small_architecture(),
        colour_data(),
        RunDir(tmp_path),
        optimizer=OptimizerConfig(learning_rate=1e-9, weight_decay=0.0),
        training=dataclasses.replace(TRAINING, epochs=1),
        initialize=initialize,
    )
    assert seen == [network]
    for variable in network.trainable_variables:
        np.testing.assert_allclose(np.array(variable), 0.5, atol=1e-5)
    assert rows(tmp_path)[0]["phase"] == "train"


@pytest.mark.slow
def test_steps_too_few_for_batch_norms_are_said(tmp_path, caplog):
    training = dataclasses.replace(TRAINING, epochs=1, batch_norm_momentum=0.97)
    with caplog.at_level(logging.WARNING, logger="absl"):
        train_classifier(
            small_architecture(),
            colour_data(num_train=128),
            RunDir(tmp_path),
            optimizer=OptimizerConfig(warmup_epochs=0.0),
            training=training,
        )
    (message,) = (text for text in caplog.messages if "batch_norm_momentum" in text)
    assert message.startswith(
        "8 steps are few for batch_norm_momentum=0.97, which needs about 76"
    )


def test_the_confusion_counts_true_classes_by_row():
    data = colour_data()
    labels = np.concatenate([batch_labels for _, batch_labels in data.test()])

    def always_green(images):
        return tf.ones(len(images), tf.int64)

    evaluation = evaluate_predictions(always_green, data)
    counts = np.bincount(labels, minlength=3)
    expected = np.zeros((3, 3))
    expected[:, 1] = counts
    np.testing.assert_array_equal(evaluation.confusion, expected)
    assert evaluation.accuracy == pytest.approx(counts[1] / 40)


def test_right_answers_stand_on_the_diagonal():
    data = colour_data()

    def strongest(images):
        return tf.argmax(tf.reduce_mean(images, axis=(1, 2)), axis=-1)

    evaluation = evaluate_predictions(strongest, data)
    assert evaluation.accuracy == 1.0
    assert np.trace(evaluation.confusion) == 40
    assert isinstance(evaluation, Evaluation)
