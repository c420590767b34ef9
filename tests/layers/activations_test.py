import numpy as np
import pytest

from mobilenas_tf.layers.activations import ChannelShuffle, HardSigmoid, HardSwish
from tests.layers.check_layer import check_layer
from tests.reference.network import activate, channel_shuffle

IMAGES = np.random.default_rng(0).normal(0, 4, (2, 3, 5, 12)).astype("float32")


@pytest.mark.parametrize(
    "make_layer",
    [
        HardSwish,
        HardSigmoid,
        lambda **options: ChannelShuffle(4, **options),
    ],
)
def test_the_layer_keeps_the_contract(make_layer, tmp_path):
    check_layer(make_layer, IMAGES, tmp_path)


@pytest.mark.parametrize(
    ("layer", "kind"), [(HardSwish(), "hard_swish"), (HardSigmoid(), "hard_sigmoid")]
)
def test_hard_activations_follow_their_formula(layer, kind):
    inputs = np.concatenate([IMAGES.ravel(), [-100.0, -3.0, 0.0, 3.0, 100.0]])
    outputs = np.array(layer(inputs.astype("float32")))
    np.testing.assert_allclose(outputs, activate(inputs, kind), rtol=2e-6, atol=1e-6)


def test_hard_activations_at_their_corners():
    corners = np.array([-100.0, -3.0, 0.0, 3.0, 100.0], "float32")
    np.testing.assert_allclose(HardSwish()(corners), [0, 0, 0, 3, 100], rtol=1e-6)
    np.testing.assert_allclose(HardSigmoid()(corners), [0, 0, 0.5, 1, 1], rtol=1e-6)


@pytest.mark.parametrize("groups", [1, 2, 3, 4, 12])
def test_shuffle_interleaves_the_groups(groups):
    outputs = np.array(ChannelShuffle(groups)(IMAGES))
    np.testing.assert_array_equal(outputs, channel_shuffle(IMAGES, groups))


def test_shuffle_of_six_channels_in_two_groups():
    images = np.arange(6.0, dtype="float32").reshape(1, 1, 1, 6)
    outputs = np.array(ChannelShuffle(2)(images)).ravel()
    np.testing.assert_array_equal(outputs, [0, 3, 1, 4, 2, 5])


def test_shuffle_undone_by_the_other_number_of_groups():
    np.testing.assert_array_equal(
        np.array(ChannelShuffle(4)(ChannelShuffle(3)(IMAGES))), IMAGES
    )


def test_groups_that_do_not_divide_the_channels_are_refused():
    images = np.zeros((1, 2, 2, 6), np.float32)
    with pytest.raises(ValueError, match="groups must divide the 6 channels"):
        ChannelShuffle(4)(images)
