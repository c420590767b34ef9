import numpy as np
import pytest
import tensorflow as tf

from export.batch_norm_folding import fold_batch_norms
from export.config import ExportConfig, QatConfig
from export.float_tail import append_probabilities
from export.interpreter import load_interpreter, output_names, predict
from export.keras_twin import tf_keras_twin
from export.operators import float_operators
from export.qat import convert_quantized, quantize_trained, take_ranges
from export.qat_layers import quantization_aware
from mobilenas_tf.models.network_io import network_weights
from mobilenas_tf.spec import (
    Architecture,
    Branch,
    Convolution,
    Head,
    InvertedResidual,
    Pooling,
    SqueezeExcite,
    Stage,
)
from tests.export.random_networks import (
    CLASSIFIERS,
    normalized,
    random_network,
    random_pixels,
)
from tests.export.stored_scales import num_scales_of_int8

PIXELS = random_pixels(32, 32)
IMAGES = normalized(PIXELS)


def squared_difference(outputs, targets):
    return tf.reduce_mean(tf.square(outputs - targets))


def fine_tuned(architecture, network, targets=None, **options):
    """The network trained on to give its own logits or others, and its losses."""
    if targets is None:
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


# The two that together have nearly everything; single blocks are below.
@pytest.mark.slow
@pytest.mark.parametrize("family", ["mobilenet_v3", "fbnet"])
def test_nothing_of_the_file_is_left_in_float(family):
    architecture = CLASSIFIERS[family]()
    network = random_network(architecture, IMAGES)
    before = {key: np.array(value) for key, value in network_weights(network).items()}
    model, losses = fine_tuned(architecture, network, epochs=2, learning_rate=1e-3)
    assert len(losses) == 8
    content = convert_quantized(model, ExportConfig(quantization="int8_qat"))
    assert float_operators(content) == []
    interpreter = load_interpreter(content)
    (image,) = interpreter.get_input_details()
    assert image["dtype"] == np.uint8
    assert image["quantization"][0] == pytest.approx(2 / 255)
    for key, value in network_weights(network).items():
        np.testing.assert_array_equal(before[key], value)


SQUEEZE_EXCITE = SqueezeExcite(16)
BLOCKS = {
    "hard-swish": InvertedResidual(16, (Branch(3, 32),), activation="hard_swish"),
    "squeeze-excite": InvertedResidual(
        16, (Branch(3, 32),), squeeze_excite=SQUEEZE_EXCITE
    ),
    "sigmoid": InvertedResidual(
        16,
        (Branch(3, 32),),
        activation="swish",
        squeeze_excite=SqueezeExcite(16, "swish", "sigmoid"),
    ),
    "parallel": InvertedResidual(
        16, (Branch(3, 16), Branch(5, 16)), has_residual=True, activation="relu"
    ),
    "shuffle": InvertedResidual(
        16,
        (Branch(3, 32),),
        activation="relu",
        expansion_groups=2,
        projection_groups=2,
        has_shuffle=True,
    ),
    "padding": InvertedResidual(16, (Branch(5, 32),), stride=2, padding_px=1),
    "pooling": Pooling("average", 3, 2),
}


def one_block(block):
    return Architecture(
        name="one_block",
        image_size_px=32,
        stem=Convolution(16, 3, 2, "relu"),
        stages=(Stage((block,)),),
        head=Head(5, conv_channels=32, activation="relu"),
        input_normalization="imagenet",
    )


def quantized_without_training(architecture, network, weight_scales="channel"):
    folded = fold_batch_norms(tf_keras_twin(architecture, network))
    model = quantization_aware(folded, range_decay=0.9, weight_scales=weight_scales)
    take_ranges(model, tf.data.Dataset.from_tensors((IMAGES,)), 1)
    return model


def signal_to_noise_db(expected, found):
    noise = np.mean(np.square(expected - found))
    return 10 * np.log10(np.mean(np.square(expected)) / noise)


@pytest.mark.slow
@pytest.mark.parametrize("kind", BLOCKS)
def test_the_file_computes_what_was_trained(kind):
    # One block: deeper networks of random weights make noise of every rounding.
    architecture = one_block(BLOCKS[kind])
    network = random_network(architecture, IMAGES)
    model = quantized_without_training(architecture, network)
    trained = np.asarray(model(IMAGES, training=False))
    content = convert_quantized(
        model, ExportConfig(quantization="int8_qat", io="float32")
    )
    assert float_operators(content) == []
    found = predict(load_interpreter(content), IMAGES)
    assert signal_to_noise_db(trained, found) > 22
    assert signal_to_noise_db(np.asarray(network(IMAGES)), found) > 22


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["parallel", "squeeze-excite"])
def test_the_file_computes_what_was_trained_with_one_scale_a_tensor(kind):
    architecture = one_block(BLOCKS[kind])
    network = random_network(architecture, IMAGES)
    model = quantized_without_training(architecture, network, "tensor")
    config = ExportConfig(quantization="int8_qat", weight_scales="tensor", io="float32")
    content = convert_quantized(model, config)
    assert num_scales_of_int8(content) == {1}
    trained = np.asarray(model(IMAGES, training=False))
    found = predict(load_interpreter(content), IMAGES)
    assert signal_to_noise_db(trained, found) > 22


@pytest.mark.slow
def test_training_brings_the_file_nearer_to_its_targets():
    architecture = one_block(BLOCKS["parallel"])
    network = random_network(architecture, IMAGES)
    targets = np.asarray(network(IMAGES, training=False))
    rng = np.random.default_rng(0)
    for weight in network.trainable_weights:
        weight.assign(weight * rng.normal(1, 0.3, weight.shape))

    def agreement(model):
        content = convert_quantized(
            model, ExportConfig(quantization="int8_qat", io="float32")
        )
        return signal_to_noise_db(targets, predict(load_interpreter(content), IMAGES))

    untrained = agreement(quantized_without_training(architecture, network))
    trained, _ = fine_tuned(
        architecture, network, targets, epochs=15, learning_rate=0.02
    )
    assert agreement(trained) > untrained + 6


@pytest.mark.slow
def test_a_tail_makes_the_outputs_float():
    architecture = CLASSIFIERS["fbnet"]()
    model, _ = fine_tuned(architecture, random_network(architecture, IMAGES), epochs=1)
    content = convert_quantized(
        model, ExportConfig(quantization="int8_qat"), tail=append_probabilities
    )
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
