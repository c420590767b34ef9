import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilenas_tf.training.classification import (
    class_predictor,
    classification_loss,
    classification_objective,
    classification_task,
    evaluate_accuracy,
    predict_classes,
)
from tests.training.synthetic import colour_data, linear_network, softmax


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_the_weighted_mean_cross_entropy(smoothing):
    logits = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]], "float32")
    labels = np.array([[1, 0, 0], [0.3, 0.7, 0]], "float32")
    weights = np.array([0.5, 2.0], "float32")
    # Label smoothing: (1 - s) y + s / K (arXiv:1512.00567, section 7).
    smooth = (1 - smoothing) * labels + smoothing / 3
    entropies = -np.sum(smooth * np.log(softmax(logits)), axis=-1)
    loss = classification_loss(
        tf.constant(labels),
        tf.constant(logits),
        tf.constant(weights),
        label_smoothing=smoothing,
    )
    assert float(loss) == pytest.approx(np.sum(weights * entropies) / 2, rel=1e-6)


def test_the_loss_of_huge_logits_is_finite():
    logits = tf.constant([[100.0, -100.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = classification_loss(
            tf.constant([[0.0, 1.0, 0.0]]), logits, tf.ones(1), label_smoothing=0.1
        )
    assert np.isfinite(float(loss))
    assert np.all(np.isfinite(tape.gradient(loss, logits)))


def test_the_objective_tells_loss_and_accuracy():
    logits = tf.constant([[2.0, 0.0], [0.0, 1.0], [3.0, 1.0], [0.0, 4.0]])
    labels = tf.constant([[1.0, 0.0], [0.0, 1.0], [0.2, 0.8], [0.4, 0.6]])
    objective = classification_objective(label_smoothing=0.1)
    loss, figures = objective.loss(logits, labels, tf.ones(4))
    expected = classification_loss(labels, logits, tf.ones(4), label_smoothing=0.1)
    assert float(loss) == float(expected)
    assert tuple(figures) == objective.figures == ("accuracy",)
    assert float(figures["accuracy"]) == 3 / 4  # the third is told as class 0


def test_the_task_judges_by_validation_accuracy():
    data, network = colour_data(), linear_network()
    task = classification_task(data, label_smoothing=0.0)
    figures = task.evaluator(network)()
    expected = evaluate_accuracy(class_predictor(network), data.validation())
    assert figures == {task.score: expected} == {"validation_accuracy": expected}


def bright_pixel_network():
    """Returns a network whose logits are the first pixel's three channels."""
    image = keras.Input((8, 8, 3))
    return keras.Model(image, image[:, 0, 0])


def test_predictions_and_accuracy_over_batches_of_any_size():
    classes = np.array([0, 1, 2, 2, 1])
    images = np.zeros((5, 8, 8, 3), "float32")
    images[np.arange(5), 0, 0, classes] = 1.0
    labels = np.array([0, 1, 1, 2, 0])
    batches = [(images[:2], labels[:2]), (images[2:], labels[2:])]
    predict = class_predictor(bright_pixel_network())
    found_labels, predicted = predict_classes(predict, batches)
    np.testing.assert_array_equal(found_labels, labels)
    np.testing.assert_array_equal(predicted, classes)
    assert evaluate_accuracy(predict, batches) == pytest.approx(3 / 5)


def test_the_predictor_is_traced_once_and_infers():
    network = linear_network(dropout_rate=0.9)
    predict = class_predictor(network)
    images = np.random.default_rng(0).normal(size=(6, 8, 8, 3)).astype("float32")
    expected = np.array(network(images)).argmax(axis=-1)
    for count in (6, 3, 1):
        np.testing.assert_array_equal(predict(images[:count]), expected[:count])
    # A graph made beforehand: no call can trace another.
    assert isinstance(predict, tf.types.experimental.ConcreteFunction)
