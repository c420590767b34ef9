import keras
import numpy as np
import pytest

from mobilenas_tf.layers.norms import FusedBatchNormalization
from mobilenas_tf.models.layer_set import FUSED, STOCK
from tests.reference.network import activate


@pytest.mark.parametrize("kind", FUSED.activations)
def test_activations_follow_their_formula(kind):
    inputs = np.array([-100.0, -4.0, -1.5, 0.0, 0.5, 2.0, 7.0, 100.0])
    layer = FUSED.activations[kind](name="some.name")
    assert layer.name == "some.name"
    with np.errstate(over="ignore"):
        expected = activate(inputs, kind)
    np.testing.assert_allclose(
        layer(inputs.astype("float32")), expected, rtol=2e-6, atol=1e-6
    )


@pytest.mark.parametrize("kind", FUSED.activations)
def test_activations_map_zero_to_zero_but_the_gates_of_squeeze_excite(kind):
    # What lets a mask on the batch norm close a channel for good.
    value = np.array(FUSED.activations[kind](name="a")(np.zeros(1, "float32")))
    assert value == [0.5 if kind.endswith("sigmoid") else 0.0]


def test_the_sets_differ_in_batch_norm_and_convolutions_only():
    assert FUSED.batch_normalization is FusedBatchNormalization
    assert STOCK.batch_normalization is keras.layers.BatchNormalization
    assert issubclass(FUSED.pointwise_convolution, STOCK.pointwise_convolution)
    assert STOCK.pointwise_convolution is keras.layers.Conv2D
    assert issubclass(FUSED.depthwise_convolution, STOCK.depthwise_convolution)
    assert STOCK.depthwise_convolution is keras.layers.DepthwiseConv2D
    assert FUSED.activations is STOCK.activations
    assert FUSED.channel_shuffle is STOCK.channel_shuffle
    assert FUSED.keras is STOCK.keras is keras
