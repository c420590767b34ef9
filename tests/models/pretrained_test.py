import dataclasses
import urllib.error

import keras
import numpy as np
import pytest

from mobilenas_tf.models.compact import build_network
from mobilenas_tf.models.pretrained import PRETRAINED, load_imagenet_weights
from mobilenas_tf.zoo import zoo_architecture

_IMAGENET_MEAN = np.array([0.485, 0.456, 0.406])
_IMAGENET_STDDEV = np.array([0.229, 0.224, 0.225])
_SIZE_PX = 40  # maps of 40, 20, 10, 5, 3 and 2 pixels: even and odd borders


def _twin(name: str, **options) -> keras.Model:
    options = {"classifier_activation": None, **options}
    shape = (_SIZE_PX, _SIZE_PX, 3)
    return PRETRAINED[name].build(weights=None, input_shape=shape, **options)


def _images() -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.uniform(-1, 1, (3, _SIZE_PX, _SIZE_PX, 3)).astype("float32")


def _twin_images(name: str) -> np.ndarray:
    """Returns the same images in the range that the twin takes."""
    takes_pixels = not name.startswith("mobilenet_v2")
    return (_images() + 1.0) * 127.5 if takes_pixels else _images()


def _random_twin(name: str) -> keras.Model:
    """Returns a twin with random weights and batch-norm statistics.

    The statistics are those of the images, then shaken: so every layer hands the
    image on, and none of its numbers is a default. The variances gain 0.1, lest dead
    channels blow up.
    """
    twin = _twin(name)
    rng = np.random.default_rng(0)
    norms = []
    for layer in twin.layers:
        shapes = [weight.shape for weight in layer.weights]
        if isinstance(layer, keras.layers.Normalization):
            layer.set_weights([_IMAGENET_MEAN, _IMAGENET_STDDEV**2, np.array(1)])
            layer.finalize_state()
        elif isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
            norms.append(layer)
        elif shapes:
            is_depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
            fan_in = np.prod(shapes[0][:2] if is_depthwise else shapes[0][:-1])
            kernel = rng.normal(0, np.sqrt(2 / fan_in), shapes[0])
            biases = [rng.uniform(-0.3, 0.3, shape) for shape in shapes[1:]]
            layer.set_weights([kernel, *biases])
    twin(_twin_images(name), training=True)
    for layer in norms:
        scale, offset, mean, variance = layer.get_weights()
        layer.set_weights(
            [
                scale * rng.uniform(0.7, 1.3, scale.shape),
                offset + rng.uniform(-0.3, 0.3, scale.shape),
                mean + rng.uniform(-0.1, 0.1, scale.shape),
                variance * rng.uniform(0.7, 1.3, scale.shape) + 0.1,
            ]
        )
    return twin


def _network(name: str, num_classes: int = 1000):
    architecture = zoo_architecture(
        name, num_classes=num_classes, image_size_px=_SIZE_PX
    )
    return architecture, build_network(architecture)


def _weights_unchanged(model, error_type, message, *arguments, **options):
    """Checks the error, and that the model is as it was."""
    before = model.get_weights()
    with pytest.raises(error_type) as error:
        load_imagenet_weights(model, *arguments, **options)
    assert message in str(error.value)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("name", PRETRAINED)
def test_ours_with_the_twins_weights_computes_what_the_twin_does(name):
    twin = _random_twin(name)
    architecture, model = _network(name)
    assert load_imagenet_weights(model, architecture, source=twin) == ()
    expected = np.array(twin(_twin_images(name)))
    actual = np.array(model(_images()))
    # The logits must depend on the image, or the comparison would show nothing.
    assert np.ptp(expected, axis=0).mean() > 0.05
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4)


def test_another_number_of_classes_leaves_the_classifier_alone():
    twin = _random_twin("mobilenet_v2_0.35")
    architecture, model = _network("mobilenet_v2_0.35", num_classes=7)
    classifier = model.get_layer("head.classifier").get_weights()
    skipped = load_imagenet_weights(model, architecture, source=twin)
    assert skipped == ("head.classifier",)
    for old, new in zip(
        classifier, model.get_layer("head.classifier").get_weights(), strict=True
    ):
        np.testing.assert_array_equal(old, new)
    features = keras.Model(model.inputs[0], model.get_layer("head.pool").output)
    twin_features = keras.Model(twin.inputs[0], twin.layers[-2].output)
    np.testing.assert_allclose(
        np.array(features(_images())), np.array(twin_features(_images())), atol=1e-4
    )


def test_a_network_without_imagenet_weights_is_refused_with_those_that_have_them():
    architecture, model = _network("mnasnet_b1")
    with pytest.raises(ValueError) as error:
        load_imagenet_weights(model, architecture)
    message = str(error.value)
    assert "architecture must be one with ImageNet weights (mobilenet_v2, " in message
    assert "efficientnet_b0" in message
    assert message.endswith("Received: architecture='mnasnet_b1'")


def test_another_network_under_the_same_name_is_refused():
    architecture, model = _network("mobilenet_v2_0.35")
    changed = dataclasses.replace(architecture, batch_norm_epsilon=1e-5)
    message = "must be the zoo's mobilenet_v2_0.35 for ImageNet weights, only classes"
    _weights_unchanged(model, ValueError, message, changed)


def test_the_twin_of_another_width_is_refused_by_layer():
    architecture, model = _network("mobilenet_v2_0.35")
    _weights_unchanged(
        model,
        ValueError,
        "source must have the weights of layer stem.conv in the shapes [(3, 3, 3, 16)]."
        " Received: [(3, 3, 3, 24)] in layer Conv1",
        architecture,
        source=_twin("mobilenet_v2_0.75"),
    )


def test_a_twin_without_classifier_is_refused():
    architecture, model = _network("mobilenet_v2_0.35")
    # Stem, 16 full blocks, one without expansion, head: each convolution with its
    # batch norm, then the classifier.
    layers = 2 * (1 + 16 * 3 + 2 + 1) + 1
    _weights_unchanged(
        model,
        ValueError,
        f"source must have the {layers} layers with weights of mobilenet_v2_0.35. "
        f"Received: mobilenetv2_0.35_{_SIZE_PX} with {layers - 1}",
        architecture,
        source=_twin("mobilenet_v2_0.35", include_top=False),
    )


def test_an_efficientnet_without_imagenets_statistics_is_refused():
    architecture, model = _network("efficientnet_b0")
    message = "source must normalize its images by ImageNet's mean and standard"
    source = _twin("efficientnet_b0")
    _weights_unchanged(model, ValueError, message, architecture, source=source)


def test_a_failed_download_says_where_to_put_the_file(monkeypatch, tmp_path):
    def unreachable(*_):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", unreachable)
    monkeypatch.setattr(
        "keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path)
    )
    architecture, model = _network("mobilenet_v2_0.35")
    with pytest.raises(ConnectionError) as error:
        load_imagenet_weights(model, architecture)
    message = str(error.value)
    assert "fetch the file by hand and put it under its own name into" in message
    assert "~/.keras/models" in message
    # No weights were trained at 40 px: those for 224 px are asked for.
    assert "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224.h5" in message
    assert "\n" not in message
