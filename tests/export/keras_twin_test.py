import numpy as np
import pytest

from export.batch_norm_folding import fold_batch_norms
from export.keras_twin import tf_keras_twin
from mobilenas_tf.models.compact import build_network
from mobilenas_tf.models.network_io import network_weights
from tests.export.random_networks import (
    CLASSIFIERS,
    detector,
    normalized,
    random_network,
    random_pixels,
)
from tests.small_block_space import small_bit_space

NETWORKS = {
    **CLASSIFIERS,
    "ssdlite": lambda: detector("ssdlite", "sigmoid"),
    "fpnlite": lambda: detector("fpnlite", "softmax"),
}


def as_dict(outputs):
    return outputs if isinstance(outputs, dict) else {"logits": outputs}


@pytest.mark.slow
@pytest.mark.parametrize("family", NETWORKS)
def test_twin_and_folded_twin_compute_what_the_network_does(family):
    architecture = NETWORKS[family]()
    images = normalized(random_pixels(4, architecture.image_size_px))
    network = random_network(architecture, images)
    before = {key: np.array(value) for key, value in network_weights(network).items()}
    twin = tf_keras_twin(architecture, network)
    folded = fold_batch_norms(twin)
    expected = as_dict(network(images, training=False))
    for other in (twin, folded):
        found = as_dict(other(images, training=False))
        assert set(found) == set(expected)
        for name, values in expected.items():
            # Of standard deviation 2; sums of float32 in another order.
            np.testing.assert_allclose(found[name], values, atol=1e-3)
    assert not any("BatchNorm" in type(layer).__name__ for layer in folded.layers)
    for key, value in network_weights(network).items():
        np.testing.assert_array_equal(before[key], value)


def test_the_network_of_another_architecture_is_refused():
    images = normalized(random_pixels(4, 32))
    network = random_network(CLASSIFIERS["fbnet"](), images)
    with pytest.raises(ValueError, match="network must have the layers of mobilenet"):
        tf_keras_twin(CLASSIFIERS["mobilenet_v2"](), network)


def test_a_twin_leaves_8_bits_to_quantisation_aware_training():
    space = small_bit_space()
    int8 = space.resolve({place.path: 4 for place in space.places})
    images = normalized(random_pixels(4, int8.image_size_px))
    network = build_network(int8, batch_norm_momentum=0.5)
    network(images, training=True)
    twin = tf_keras_twin(int8, network)
    assert not any("step" in weight.name for weight in twin.weights)
    found, expected = (
        np.array(each(images, training=False)) for each in (twin, network)
    )
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
    fewer = space.resolve({place.path: 3 for place in space.places})
    with pytest.raises(
        ValueError, match="stage1/block0 must be w8a8, .* Received: w4a8"
    ):
        tf_keras_twin(fewer, build_network(fewer))
