from __future__ import annotations

import keras
import numpy as np
import pytest

from benchmarks.framework_steps import Task, our_step, stock_keras_step
from mobilenas_tf.costs.network import network_cost
from tests.training.synthetic import NUM_CLASSES, SIZE_PX, small_architecture

# 0 threads: as many as TensorFlow likes; another number could be set only once.
TASK = Task(small_architecture(), batch_size=16, threads=0, seed=3)


def test_a_batch_repeats_with_its_seed() -> None:
    images, labels = TASK.data()
    assert images.shape == (16, SIZE_PX, SIZE_PX, 3)
    assert -1 <= images.min() < images.max() <= 1
    np.testing.assert_array_equal(labels.sum(axis=1), np.ones(16))
    assert labels.shape == (16, NUM_CLASSES)
    assert set(np.unique(labels)) == {0.0, 1.0}
    np.testing.assert_array_equal(images, TASK.data()[0])


def test_the_settings_name_the_networks_cost() -> None:
    settings = TASK.settings()
    assert settings["macs"] == network_cost(small_architecture()).macs
    assert settings["batch_size"] == 16


def test_ours_and_stock_keras_have_the_same_loss_with_the_same_weights() -> None:
    losses = []
    for build in (our_step, lambda task: stock_keras_step(task, jit_compile=False)):
        keras.utils.set_random_seed(0)
        losses.append(build(TASK)())
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0] > 0
