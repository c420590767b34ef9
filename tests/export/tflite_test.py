import keras
import numpy as np
import pytest

from export.config import ExportConfig
from export.interpreter import count_operators, load_interpreter, predict
from export.tflite import convert_to_tflite
from mobilenas_tf.models.compact import build_network
from mobilenas_tf.spec import (
    Architecture,
    Branch,
    Convolution,
    Head,
    InvertedResidual,
    SqueezeExcite,
    Stage,
)
from tests.export.small_classifier import build_classifier
from tests.export.stored_scales import num_scales_of_int8

# The network of conftest.py with batch norm and ReLU6 inside the convolutions, one
# hard-swish and one residual sum.
OPERATORS = {
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 1,
    "HARD_SWISH": 1,
    "ADD": 1,
    "MEAN": 1,
    "FULLY_CONNECTED": 1,
}
# The input and output conversions of each kind of input and output.
IO_OPERATORS = {
    "uint8": {"QUANTIZE": 2},
    "int8": {},
    "float32": {"QUANTIZE": 1, "DEQUANTIZE": 1},
}


def _signal_to_noise_db(signal: np.ndarray, received: np.ndarray) -> float:
    noise = np.square(received - signal).sum()
    return float(10 * np.log10(np.square(signal).sum() / noise))


def _int8_config(io: str = "uint8") -> ExportConfig:
    return ExportConfig(io=io, calibration_images=16)


def _tensors_in_use(tflite: bytes) -> list[dict]:
    # Tensors without a name are the interpreter's own scratch space.
    return [
        tensor
        for tensor in load_interpreter(tflite).get_tensor_details()
        if tensor["name"]
    ]


@pytest.mark.parametrize(
    ("quantization", "least_db"),
    # float32: rounding alone, 2**-23 = 138 dB a value. float16: weights rounded by up
    # to 2**-12, 72 dB. int8: 8 bits over a range of about 6 standard deviations is
    # 40 dB a tensor; 17 quantised tensors in a row leave at least 40 - 12 dB.
    [("float32", 100), ("float16", 55), ("dynamic", 28)],
)
def test_float_input_files_agree_with_keras(classifier, images, quantization, least_db):
    config = ExportConfig(quantization=quantization, io="float32")
    interpreter = load_interpreter(convert_to_tflite(classifier, config))
    expected = classifier.predict(images, verbose=0)
    assert _signal_to_noise_db(expected, predict(interpreter, images)) > least_db


@pytest.mark.parametrize("io", ["uint8", "int8", "float32"])
def test_int8_files_agree_with_keras_and_have_no_float_inside(classifier, images, io):
    tflite = convert_to_tflite(classifier, _int8_config(io), images)
    expected = classifier.predict(images, verbose=0)
    assert _signal_to_noise_db(expected, predict(load_interpreter(tflite), images)) > 28
    assert count_operators(tflite) == OPERATORS | IO_OPERATORS[io]
    types = [np.dtype(tensor["dtype"]).name for tensor in _tensors_in_use(tflite)]
    assert types.count("float32") == (2 if io == "float32" else 0)
    assert types.count("uint8") == (2 if io == "uint8" else 0)


def test_batch_norm_and_relu6_fold_into_float_convolutions(float_file):
    assert count_operators(float_file) == OPERATORS


def test_stock_keras_batch_norm_folds_too(images):
    model = build_classifier(keras.layers.BatchNormalization)
    tflite = convert_to_tflite(model, _int8_config(), images)
    assert count_operators(tflite) == OPERATORS | IO_OPERATORS["uint8"]


def test_parallel_kernels_with_squeeze_excite_stay_in_int8(images):
    block = InvertedResidual(
        out_channels=8,
        branches=(Branch(3, 8), Branch(5, 16)),
        has_residual=True,
        activation="hard_swish",
        squeeze_excite=SqueezeExcite(4),
    )
    architecture = Architecture(
        "block", 16, Convolution(8, stride=2), (Stage((block,)),), Head(num_classes=5)
    )
    model = build_network(architecture)
    tflite = convert_to_tflite(model, _int8_config(), images)
    assert count_operators(tflite) == {
        "CONV_2D": 6,  # stem, 2 expansions, squeeze, excite, projection
        "HARD_SWISH": 4,  # after both convolutions of both kernels
        "DEPTHWISE_CONV_2D": 2,
        "CONCATENATION": 1,
        "MUL": 2,  # 1/6 of the hard sigmoid, whose relu6 is in excite; the gate
        "ADD": 1,
        "MEAN": 2,
        "FULLY_CONNECTED": 1,
        "QUANTIZE": 2,
    }
    expected = model.predict(images, verbose=0)
    assert _signal_to_noise_db(expected, predict(load_interpreter(tflite), images)) > 28


def test_weights_have_one_scale_per_output_channel(int8_file):
    num_scales = sorted(
        len(tensor["quantization_parameters"]["scales"])
        for tensor in _tensors_in_use(int8_file)
        if tensor["dtype"] == np.int8
        and len(tensor["quantization_parameters"]["scales"]) > 1
    )
    assert num_scales == [
        5,
        8,
        8,
        16,
        16,
    ]  # dense, stem, projection, expansion, depthwise


def test_weights_have_one_scale_if_asked(classifier, images):
    content = convert_to_tflite(
        classifier, ExportConfig(weight_scales="tensor", calibration_images=8), images
    )
    assert num_scales_of_int8(content) == {1}
    expected = classifier.predict(images, verbose=0)
    found = predict(load_interpreter(content), images)
    assert _signal_to_noise_db(expected, found) > 20


def test_signature_names_image_and_logits(int8_file):
    assert load_interpreter(int8_file).get_signature_list() == {
        "serving_default": {"inputs": ["image"], "outputs": ["logits"]}
    }


@pytest.mark.parametrize(
    ("io", "zero_points"), [("uint8", {127, 128}), ("int8", {-1, 0})]
)
def test_input_scale_is_one_pixel_however_dim_the_calibration_images(
    classifier, images, io, zero_points
):
    tflite = convert_to_tflite(classifier, _int8_config(io), images)
    scale, zero_point = load_interpreter(tflite).get_input_details()[0]["quantization"]
    assert scale == np.float32(1 / 127.5)
    assert zero_point in zero_points


def test_raw_pixels_give_the_logits_of_the_float_image(classifier, int8_file):
    pixels = np.random.default_rng(1).integers(0, 256, (1, 16, 16, 3), np.uint8)
    runner = load_interpreter(int8_file).get_signature_runner()
    output = runner.get_output_details()["logits"]
    scale, zero_point = output["quantization"]
    logits = (runner(image=pixels)["logits"].astype(np.float32) - zero_point) * scale

    image = (pixels / 127.5 - 1).astype(np.float32)
    expected = classifier.predict(image, verbose=0)
    assert _signal_to_noise_db(expected, logits) > 28
    np.testing.assert_array_equal(logits, predict(load_interpreter(int8_file), image))


def test_model_without_fixed_size_is_refused():
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Flatten()])
    with pytest.raises(ValueError, match="fixed.*None, None, None, 3"):
        convert_to_tflite(model, ExportConfig(quantization="float32", io="float32"))


def test_int8_without_images_says_so(classifier):
    with pytest.raises(ValueError, match="representative_images must be given.*None"):
        convert_to_tflite(classifier, ExportConfig())


def test_images_of_another_size_are_refused(classifier):
    with pytest.raises(ValueError, match=r"16, 16, 3.*\(8, 32, 32, 3\)"):
        convert_to_tflite(classifier, _int8_config(), np.zeros((8, 32, 32, 3)))
