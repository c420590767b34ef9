"""Classification as a task: its loss, top-1 answers and accuracy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mobilenas_tf.training.data import ClassificationData
from mobilenas_tf.training.task import Objective, Task


def classification_task(data: ClassificationData, *, label_smoothing: float) -> Task:
    """Returns the task of telling the data's classes apart."""

    def evaluator(network: keras.Model) -> Callable[[], dict[str, float]]:
        predict = class_predictor(network)
        return lambda: {
            "validation_accuracy": evaluate_accuracy(predict, data.validation())
        }

    objective = classification_objective(label_smoothing=label_smoothing)
    return Task(objective, evaluator, score="validation_accuracy")


def classification_objective(*, label_smoothing: float = 0.0) -> Objective:
    """Returns the cross-entropy of batches `(images, labels [B, K], weights [B])`."""

    def loss(
        logits: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        is_right = tf.argmax(logits, axis=-1) == tf.argmax(labels, axis=-1)
        return (
            classification_loss(
                labels, logits, weights, label_smoothing=label_smoothing
            ),
            {"accuracy": tf.reduce_mean(tf.cast(is_right, tf.float32))},
        )

    return Objective(loss, ("accuracy",))


def classification_loss(
    labels: tf.Tensor, logits: tf.Tensor, weights: tf.Tensor, *, label_smoothing: float
) -> tf.Tensor:
    """Returns the mean cross-entropy `[]` of a batch.

    Args:
        labels: `[B, K]`, probabilities.
        logits: `[B, K]`.
        weights: `[B]`, weight of each example; the sum is divided by B.
        label_smoothing: Share of each label spread evenly over all classes
            (Szegedy et al., arXiv:1512.00567, section 7).
    """
    losses = keras.losses.categorical_crossentropy(
        labels, logits, from_logits=True, label_smoothing=label_smoothing
    )
    return tf.reduce_mean(losses * weights)


def class_predictor(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a compiled function of images `[B, H, W, 3]` to top-1 classes `[B]`.

    Make it once for a model: each call of this function traces anew.
    """
    height, width = model.inputs[0].shape[1:3]

    @tf.function(input_signature=[tf.TensorSpec([None, height, width, 3], tf.float32)])
    def predict(images: tf.Tensor) -> tf.Tensor:
        return tf.argmax(model(images, training=False), axis=-1)

    return predict.get_concrete_function()


def predict_classes(
    predict: Callable[[tf.Tensor], tf.Tensor], batches: Iterable[Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns `(labels [N], predicted classes [N])` over all batches.

    Args:
        predict: From `class_predictor`.
        batches: `(images, integer labels [B])`.
    """
    pairs = [(np.asarray(labels), np.asarray(predict(x))) for x, labels in batches]
    labels, predicted = zip(*pairs, strict=True)
    return np.concatenate(labels), np.concatenate(predicted)


def evaluate_accuracy(
    predict: Callable[[tf.Tensor], tf.Tensor], batches: Iterable[Any]
) -> float:
    """Returns the share of right top-1 answers, in [0, 1]; arguments as above."""
    labels, predicted = predict_classes(predict, batches)
    return float(np.mean(labels == predicted))
