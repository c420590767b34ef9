"""What the networks of a step learn from."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilenas_tf.models.one_shot_supernet import OneShotSupernet
from mobilenas_tf.training.classification import classification_objective
from mobilenas_tf.training.one_shot_trainer import OneShotTrainer
from tests.small_one_shot_space import small_one_shot_space

SPACE = small_one_shot_space()
SMOOTHING = 0.1


def entropy(labels, logits):
    return float(np.mean(-np.sum(labels * np.array(tf.nn.log_softmax(logits)), -1)))


@pytest.mark.slow
@pytest.mark.parametrize("has_distillation", [False, True])
def test_labels_are_smoothed_and_the_teachers_answers_are_not(has_distillation):
    keras.utils.set_random_seed(0)
    supernet = OneShotSupernet(SPACE, name="supernet")
    trainer = OneShotTrainer(
        supernet,
        classification_objective(),
        has_distillation=has_distillation,
        label_smoothing=SMOOTHING,
    )
    trainer.compile(optimizer=keras.optimizers.SGD(0.1))
    rng = np.random.default_rng(0)
    size = SPACE.image_size_px
    images = tf.constant(rng.uniform(-3, 3, (8, size, size, 3)), tf.float32)
    labels = np.eye(SPACE.num_classes, dtype=np.float32)[
        rng.integers(SPACE.num_classes, size=8)
    ]
    plan = supernet.plan_of(SPACE.widest())
    logits = supernet(images, tf.constant(plan))
    smooth = (1 - SMOOTHING) * labels + SMOOTHING / SPACE.num_classes
    others = np.array(tf.nn.softmax(logits)) if has_distillation else smooth
    figures = trainer.train_step(
        ((images, tf.constant(labels), tf.ones(8)), tf.constant([plan, plan]))
    )
    assert float(figures["loss"]) == pytest.approx(entropy(smooth, logits), rel=1e-4)
    assert float(figures["sampled_loss"]) == pytest.approx(
        entropy(others, logits), rel=1e-4
    )
