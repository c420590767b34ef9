import keras
import numpy as np
import pytest

from export.config import ExportConfig
from export.float_tail import append_probabilities
from export.interpreter import (
    count_operators,
    load_interpreter,
    output_names,
    predict,
    predict_outputs,
)
from export.operators import float_operators
from export.quantizer_route import IO_TYPES, quantize_with_litert
from export.tflite import convert_to_tflite
from tests.export.tflite_test import IO_OPERATORS, OPERATORS


@pytest.fixture(scope="module")
def quantized_files(float_file, images) -> dict[str, bytes]:
    return {io: quantize_with_litert(float_file, images, io=io) for io in IO_TYPES}


def _signal_to_noise_db(signal: np.ndarray, received: np.ndarray) -> float:
    noise = np.square(received - signal).sum()
    return float(10 * np.log10(np.square(signal).sum() / noise))


@pytest.mark.parametrize("io", IO_TYPES)
def test_files_agree_with_keras_and_have_no_float_inside(
    classifier, images, quantized_files, io
):
    content = quantized_files[io]
    expected = classifier.predict(images, verbose=0)
    # As in tflite_test: 40 dB a tensor and 17 of them in a row.
    found = predict(load_interpreter(content), images)
    assert _signal_to_noise_db(expected, found) > 28
    assert count_operators(content) == OPERATORS | IO_OPERATORS[io]
    assert float_operators(content) == []


@pytest.mark.parametrize("io", IO_TYPES)
def test_input_and_output_have_the_type_asked_for(quantized_files, io):
    interpreter = load_interpreter(quantized_files[io])
    (image,), (logits,) = (
        interpreter.get_input_details(),
        interpreter.get_output_details(),
    )
    assert image["dtype"] == logits["dtype"] == np.dtype(io).type


@pytest.mark.parametrize("io", IO_TYPES)
def test_signature_is_that_of_the_float_file(float_file, quantized_files, io):
    assert (
        load_interpreter(quantized_files[io]).get_signature_list()
        == load_interpreter(float_file).get_signature_list()
    )


@pytest.mark.parametrize(
    ("io", "zero_points"), [("uint8", {127, 128}), ("int8", {-1, 0})]
)
def test_input_scale_is_one_pixel_however_dim_the_images(
    quantized_files, io, zero_points
):
    # The images are dim but for two values of the first one: a moving average over
    # images would end up with a smaller scale.
    (image,) = load_interpreter(quantized_files[io]).get_input_details()
    scale, zero_point = image["quantization"]
    assert scale == np.float32(1 / 127.5)
    assert zero_point in zero_points


def test_raw_pixels_give_the_logits_of_the_float_image(classifier, quantized_files):
    pixels = np.random.default_rng(1).integers(0, 256, (1, 16, 16, 3), np.uint8)
    runner = load_interpreter(quantized_files["uint8"]).get_signature_runner()
    scale, zero_point = runner.get_output_details()["logits"]["quantization"]
    logits = (runner(image=pixels)["logits"].astype(np.float32) - zero_point) * scale
    expected = classifier.predict((pixels / 127.5 - 1).astype("f4"), verbose=0)
    assert _signal_to_noise_db(expected, logits) > 28


def test_weights_have_one_scale_per_output_channel(quantized_files):
    num_scales = sorted(
        len(tensor["quantization_parameters"]["scales"])
        for tensor in load_interpreter(quantized_files["int8"]).get_tensor_details()
        if tensor["dtype"] == np.int8
        and len(tensor["quantization_parameters"]["scales"]) > 1
    )
    # dense, stem, projection, expansion, depthwise
    assert num_scales == [5, 8, 8, 16, 16]


def test_a_float_tail_is_put_behind_the_int8_body(classifier, images, float_file):
    content = quantize_with_litert(
        float_file, images, io="uint8", tail=append_probabilities
    )
    interpreter = load_interpreter(content)
    assert output_names(interpreter) == ["probabilities"]
    assert interpreter.get_input_details()[0]["dtype"] == np.uint8
    assert interpreter.get_output_details()[0]["dtype"] == np.float32
    assert float_operators(content) == []
    expected = keras.ops.softmax(classifier.predict(images, verbose=0))
    found = predict_outputs(interpreter, images)["probabilities"]
    assert _signal_to_noise_db(np.asarray(expected), found) > 28


def test_two_outputs_keep_their_names_and_have_scales_of_their_own(images):
    image = keras.Input((16, 16, 3))
    features = keras.layers.Conv2D(8, 3, strides=4, activation="relu")(image)
    model = keras.Model(
        image,
        {
            "wide": keras.layers.Conv2D(4, 1)(features) * 100.0,
            "narrow": keras.layers.Conv2D(4, 1)(features),
        },
    )
    float_file = convert_to_tflite(
        model, ExportConfig(quantization="float32", io="float32")
    )
    content = quantize_with_litert(float_file, images, io="int8")
    details = load_interpreter(content).get_signature_runner().get_output_details()
    scales = {name: output["quantization"][0] for name, output in details.items()}
    outputs = model.predict(images, verbose=0)
    for name, scale in scales.items():
        low, high = min(outputs[name].min(), 0), max(outputs[name].max(), 0)
        assert scale == pytest.approx((high - low) / 255, rel=1e-3)


def test_what_the_quantizer_does_not_know_stays_in_float(images):
    image = keras.Input((16, 16, 3))
    doubled = keras.layers.UpSampling2D()(keras.layers.Conv2D(4, 3)(image))
    model = keras.Model(image, keras.layers.Conv2D(4, 3)(doubled))
    config = ExportConfig(quantization="float32", io="float32")
    float_file = convert_to_tflite(model, config)
    num_tiles = count_operators(float_file)["TILE"]
    names = [
        name
        for name, _ in float_operators(
            quantize_with_litert(float_file, images, io="int8")
        )
    ]
    assert sorted(names) == sorted(num_tiles * ["DEQUANTIZE", "TILE", "QUANTIZE"])


def test_nothing_is_printed(float_file, images, capsys):
    quantize_with_litert(float_file, images, io="int8")
    assert capsys.readouterr() == ("", "")


def test_another_type_is_refused(float_file, images):
    with pytest.raises(ValueError, match="io must be one of .*Received: io=int16"):
        quantize_with_litert(float_file, images, io="int16")


def test_a_file_that_is_int8_already_is_refused(int8_file, images):
    with pytest.raises(ValueError, match="must be a float32 file.*type INT8"):
        quantize_with_litert(int8_file, images, io="int8")


def test_a_file_that_is_no_tflite_is_refused(images):
    with pytest.raises(ValueError, match="must be a .tflite file"):
        quantize_with_litert(b"not a model at all", images, io="int8")


def test_images_of_another_size_are_refused(float_file):
    with pytest.raises(ValueError, match=r"\(1, 16, 16, 3\).*\(2, 8, 8, 3\)"):
        quantize_with_litert(float_file, np.zeros((2, 8, 8, 3)), io="int8")


def test_no_images_are_refused(float_file, images):
    with pytest.raises(ValueError, match="0 images"):
        quantize_with_litert(float_file, images[:0], io="int8")


def test_pixels_that_are_not_normalised_are_refused(float_file):
    with pytest.raises(ValueError, match=r"must be in \[-1, 1\]"):
        quantize_with_litert(float_file, np.full((2, 16, 16, 3), 255.0), io="int8")
