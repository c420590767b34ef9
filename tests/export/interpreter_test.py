import numpy as np
import pytest

from export.interpreter import (
    count_operators,
    dequantize,
    load_interpreter,
    predict,
    quantize,
)


@pytest.mark.parametrize("zero_point", [127, 128])
def test_pixel_p_is_quantised_to_p(zero_point):
    pixels = np.arange(256)
    images = (pixels / 127.5 - 1).astype(np.float32)
    scale = float(np.float32(1 / 127.5))
    unsigned = {"dtype": np.uint8, "quantization": (scale, zero_point)}
    signed = {"dtype": np.int8, "quantization": (scale, zero_point - 128)}
    np.testing.assert_array_equal(quantize(images, unsigned), pixels)
    np.testing.assert_array_equal(quantize(images, signed), pixels - 128)


def test_quantise_rounds_and_stays_inside_the_type():
    tensor = {"dtype": np.int8, "quantization": (0.5, 10)}
    values = np.array([-1e3, -1.2, 0, 1.2, 1e3])
    assert quantize(values, tensor).tolist() == [-128, 8, 10, 12, 127]


def test_dequantise_undoes_scale_and_zero_point():
    tensor = {"dtype": np.uint8, "quantization": (0.5, 10)}
    values = np.array([0, 10, 255], np.uint8)
    assert dequantize(values, tensor).tolist() == [-5, 0, 122.5]


def test_float_tensors_keep_their_values():
    tensor = {"dtype": np.float32, "quantization": (0.0, 0)}
    values = np.array([-1, 0.3], np.float32)
    np.testing.assert_array_equal(quantize(values, tensor), values)
    np.testing.assert_array_equal(dequantize(values, tensor), values)


def test_predict_runs_every_image_alone(int8_file, images):
    interpreter = load_interpreter(int8_file, num_threads=2)
    logits = predict(interpreter, images)
    assert logits.shape == (16, 5) and logits.dtype == np.float32
    np.testing.assert_array_equal(logits[3:4], predict(interpreter, images[3:4]))


def test_no_image_gives_no_logits(int8_file, images):
    assert predict(load_interpreter(int8_file), images[:0]).shape == (0, 5)


def test_images_of_another_size_are_refused(int8_file):
    with pytest.raises(ValueError, match=r"\(1, 16, 16, 3\).*\(2, 8, 8, 3\)"):
        predict(load_interpreter(int8_file), np.zeros((2, 8, 8, 3)))


@pytest.mark.parametrize(
    "content", [b"", b"TFL3", b"not a model at all", b"\x89PNG\r\n\x1a\n"]
)
def test_file_that_is_no_tflite_is_named(tmp_path, content):
    path = tmp_path / "photo.tflite"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="photo.tflite must be a .tflite file") as info:
        load_interpreter(path)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("fraction", [0.001, 0.1, 0.5, 0.9])
def test_truncated_file_is_named(tmp_path, int8_file, fraction):
    path = tmp_path / "half.tflite"
    path.write_bytes(int8_file[: max(8, int(fraction * len(int8_file)))])
    with pytest.raises(
        ValueError, match="half.tflite must be a whole .* truncated"
    ) as info:
        load_interpreter(path)
    assert "\n" not in str(info.value)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.tflite"):
        load_interpreter(tmp_path / "nowhere.tflite")


def test_operators_are_counted_from_a_path_too(tmp_path, float_file):
    path = tmp_path / "model.tflite"
    path.write_bytes(float_file)
    assert count_operators(path)["CONV_2D"] == 3
