import keras
import numpy as np

from export.config import ExportConfig
from export.interpreter import count_operators
from export.tflite import convert_to_tflite
from mobilenas_tf.layers.resampling import NearestDoubling
from tests.layers.check_layer import check_layer

IMAGES = np.random.default_rng(0).normal(0, 4, (2, 3, 5, 4)).astype("float32")


def test_the_layer_keeps_the_contract(tmp_path):
    check_layer(NearestDoubling, IMAGES, tmp_path)


def test_every_cell_is_repeated():
    repeated = IMAGES.repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_array_equal(np.array(NearestDoubling()(IMAGES)), repeated)


def test_it_becomes_the_operator_that_phones_know():
    image = keras.Input((4, 4, 3), name="image")
    network = keras.Model(image, {"logits": NearestDoubling()(image)})
    content = convert_to_tflite(network, ExportConfig(quantization="float32"))
    assert count_operators(content) == {"RESIZE_NEAREST_NEIGHBOR": 1}
