import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilenas_tf.training.classification import classification_objective
from mobilenas_tf.training.trainer import NetworkTrainer
from tests.training.synthetic import (
    NUM_CLASSES,
    all_weights,
    colour_data,
    linear_network,
    softmax,
)


def one_hot(labels):
    return np.eye(NUM_CLASSES, dtype="float32")[labels]


def compiled(network, rate=0.1, label_smoothing=0.0):
    objective = classification_objective(label_smoothing=label_smoothing)
    trainer = NetworkTrainer(network, objective)
    trainer.compile(optimizer=keras.optimizers.SGD(rate, momentum=0.9))
    return trainer


def batch():
    return next(iter(colour_data().train_epoch(0)))


def test_a_step_follows_the_gradient_of_the_loss():
    network = linear_network()
    images, labels, _ = batch()
    weights = np.linspace(0.5, 1.5, len(images)).astype("float32")
    dense = network.layers[-1]
    kernel, bias = np.array(dense.kernel), np.array(dense.bias)
    inputs = np.array(images).reshape(len(images), -1)
    difference = softmax(inputs @ kernel + bias) - (0.9 * np.array(labels) + 0.1 / 3)
    difference *= weights[:, None] / len(images)
    trainer = compiled(network, label_smoothing=0.1)
    trainer.train_step((images, labels, weights))
    np.testing.assert_allclose(
        np.array(dense.kernel), kernel - 0.1 * inputs.T @ difference, atol=1e-6
    )
    np.testing.assert_allclose(
        np.array(dense.bias), bias - 0.1 * difference.sum(axis=0), atol=1e-6
    )


def test_metrics_are_means_over_the_steps():
    network = linear_network()
    trainer = compiled(network, rate=0.0)
    batches = list(colour_data().train_epoch(0))[:3]
    losses, hits = [], []
    for images, labels, weights in batches:
        figures = trainer.train_step((images, labels, weights))
        logits = np.array(network(images))
        entropies = -np.sum(np.array(labels) * np.log(softmax(logits)), axis=-1)
        losses.append(entropies.mean())
        hits.append(np.mean(logits.argmax(-1) == np.array(labels).argmax(-1)))
        assert float(figures["loss"]) == pytest.approx(np.mean(losses), rel=1e-5)
        assert float(figures["accuracy"]) == pytest.approx(np.mean(hits))
    assert list(figures) == ["loss", "accuracy"]
    assert [metric.name for metric in trainer.metrics] == ["loss", "accuracy"]


def test_a_step_in_a_graph_is_the_eager_step():
    results = []
    for wrap in (lambda step: step, tf.function):
        keras.utils.set_random_seed(0)
        trainer = compiled(linear_network())
        figures = wrap(trainer.train_step)(batch())
        results.append((float(figures["loss"]), *all_weights(trainer.network)))
    for eager, graph in zip(*results, strict=True):
        np.testing.assert_allclose(eager, graph, rtol=1e-5, atol=1e-6)


def test_a_checkpoint_restores_everything_exactly(tmp_path):
    def make():
        return compiled(linear_network(dropout_rate=0.5))

    first = make()
    for _ in range(2):
        first.train_step(batch())
    path = tf.train.Checkpoint(**first.checkpoint_items()).write(str(tmp_path / "c"))
    second = make()
    tf.train.Checkpoint(**second.checkpoint_items()).read(path).assert_consumed()
    # Momentum, step and dropout's random state too: the next step is the same.
    for trainer in (first, second):
        trainer.train_step(batch())
    for ours, theirs in zip(
        all_weights(first.network), all_weights(second.network), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert int(second.optimizer.iterations) == 3


def test_calling_the_trainer_is_calling_the_network():
    network = linear_network(dropout_rate=0.5)
    trainer = compiled(network)
    images = batch()[0]
    np.testing.assert_array_equal(np.array(trainer(images)), np.array(network(images)))
    assert np.any(np.array(trainer(images, training=True)) != np.array(network(images)))


def test_plain_fit_trains_it():
    trainer = compiled(linear_network())
    history = trainer.fit(
        colour_data().train_epoch(0), epochs=5, verbose=0, shuffle=False
    ).history
    assert sorted(history) == ["accuracy", "loss"]
    assert history["loss"][-1] < history["loss"][0]
    assert history["accuracy"][-1] > 0.8
