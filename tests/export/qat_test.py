import numpy as np
import pytest
import tensorflow as tf

from export.config import QatConfig
from export.float_tail import append_probabilities
from export.interpreter import load_interpreter, output_names, predict
from export.operators import float_operators
from export.qat import convert_quantized, quantize_trained
from mobilenas_tf.models.network_io import network_weights
from tests.export.random_networks import (
    CLASSIFIERS,
    normalized,
    random_network,
    random_pixels,
)

PIXELS = random_pixels(32, 32)
IMAGES = normalized(PIXELS)


def squared_difference(outputs, targets):
    return tf.reduce_mean(tf.square(outputs - targets))


def fine_tuned(architecture, network, **options):
    """The network trained on to give its own logits, and its losses."""
    targets = np.asarray(network(IMAGES, training=False))
    losses = []
    model = quantize_trained(
        architecture,
        network,
        lambda epoch: tf.data.Dataset.from_tensor_slices((IMAGES, targets)).batch(8),
        squared_difference,
        QatConfig(**options),
        steps_per_epoch=4,
        progress=lambda step, loss: losses.append(loss),
    )
    return model, losses


@pytest.mark.slow
@pytest.mark.parametrize("family", CLASSIFIERS)
def test_nothing_of_the_file_is_left_in_float(family):
    architecture = CLASSIFIERS[family]()
    network = random_network(architecture, IMAGES)
    before = {key: np.array(value) for key, value in network_weights(network).items()}
    model, losses = fine_tuned(architecture, network, epochs=2, learning_rate=1e-3)
    assert len(losses) == 8
    content = convert_quantized(model, "uint8")
    assert float_operators(content) == []
    interpreter = load_interpreter(content)
    (image,) = interpreter.get_input_details()
    assert image["dtype"] == np.uint8
    assert image["quantization"][0] == pytest.approx(2 / 255)
    for key, value in network_weights(network).items():
        np.testing.assert_array_equal(before[key], value)


@pytest.mark.slow
def test_a_tail_makes_the_outputs_float():
    architecture = CLASSIFIERS["fbnet"]()
    model, _ = fine_tuned(architecture, random_network(architecture, IMAGES), epochs=1)
    content = convert_quantized(model, "uint8", tail=append_probabilities)
    interpreter = load_interpreter(content)
    assert output_names(interpreter) == ["probabilities"]
    np.testing.assert_allclose(predict(interpreter, IMAGES).sum(axis=1), 1, atol=1e-5)


@pytest.mark.slow
def test_training_that_runs_away_is_named():
    architecture = CLASSIFIERS["fbnet"]()
    network = random_network(architecture, IMAGES)
    with pytest.raises(ValueError, match="loss must stay a finite number; lower"):
        fine_tuned(
            architecture, network, learning_rate=1e30, gradient_clip_norm=0, epochs=9
        )
