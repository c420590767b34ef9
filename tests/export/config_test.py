import dataclasses

import pytest

from export.config import BenchmarkConfig, ExportConfig, QatConfig


@pytest.mark.parametrize("config", [ExportConfig, QatConfig, BenchmarkConfig])
def test_every_field_has_a_default_and_a_help_text(config):
    for field in dataclasses.fields(config):
        assert field.default is not dataclasses.MISSING
        assert field.metadata["help"]


@pytest.mark.parametrize("quantization", ["float32", "float16", "dynamic"])
def test_uint8_io_without_int8_quantization_names_both_options(quantization):
    with pytest.raises(ValueError, match=f"io must be float32.*{quantization}.*uint8"):
        ExportConfig(quantization=quantization, io="uint8")
    assert ExportConfig(quantization=quantization).tensor_type == "float32"


@pytest.mark.parametrize("io", ["float32", "uint8", "int8"])
def test_int8_goes_with_every_io(io):
    assert ExportConfig(io=io).tensor_type == io


@pytest.mark.parametrize("quantization", ["int8", "int8_qat"])
def test_int8_takes_raw_pixels_by_default(quantization):
    assert ExportConfig(quantization=quantization).tensor_type == "uint8"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"quantization": "int4"}, "quantization must be one of float32.*int4"),
        ({"io": "int16"}, "io must be one of auto, float32, uint8, int8.*int16"),
        (
            {"quantization": "float16", "quantizer": "litert"},
            "quantizer must be tensorflow unless quantization=int8.*litert",
        ),
        (
            {"quantizer": "litert", "weight_scales": "tensor"},
            "weight_scales must be channel unless.*int8_qat.*tensor",
        ),
        (
            {"postprocess": True, "io": "int8"},
            "io must be float32, uint8 or auto with postprocess.*int8",
        ),
        ({"calibration_images": 0}, "calibration_images must be at least 1.*=0"),
    ],
)
def test_bad_export_option_is_named(values, words):
    with pytest.raises(ValueError, match=words):
        ExportConfig(**values)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_threads", 0),
        ("runs", 0),
        ("repeats", 0),
        ("warmup_runs", -1),
        ("seed", -1),
    ],
)
def test_bad_benchmark_option_is_named(name, value):
    with pytest.raises(ValueError, match=f"{name} must be at least.*{name}={value}"):
        BenchmarkConfig(**{name: value})
