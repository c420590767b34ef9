import json
from collections import Counter

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from benchmarks.int8_architectures import miniatures
from export import delegates
from export.config import ExportConfig
from export.delegates import DELEGATES
from export.float_tail import (
    DETECTION_POSTPROCESS,
    append_postprocess,
    append_probabilities,
)
from export.interpreter import count_operators
from export.operators import (
    Refusal,
    float_operators,
    format_operator_report,
    operator_report,
)
from export.quantizer_route import quantize_with_litert
from export.tflite import convert_to_tflite
from mobilenas_tf.models.compact import build_network
from mobilenas_tf.spec import (
    Architecture,
    Branch,
    Convolution,
    Head,
    InvertedResidual,
    Pooling,
    Stage,
)
from tests.small_detectors import FPNLITE, SSDLITE, small_detector

SHUFFLED = Architecture(
    "shuffled",
    32,
    Convolution(8, stride=2),
    (
        Stage(
            (
                InvertedResidual(
                    out_channels=8,
                    branches=(Branch(3, 8),),
                    expansion_groups=2,
                    projection_groups=2,
                    has_shuffle=True,
                ),
                Pooling("max", stride=2),
                Convolution(8, activation="swish"),
                Pooling("average", stride=2),
            )
        ),
    ),
    Head(num_classes=5),
)
# Together all kinds of layers that a network may have, those of no named space last.
NETWORKS = {
    **miniatures(),
    "ssdlite": small_detector(SSDLITE),
    "fpnlite": small_detector(FPNLITE),
    "shuffled": SHUFFLED,
}


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """Int8 files by the names of the networks, made as the tests go along."""
    return {}


def _int8_file(files: dict[str, bytes], name: str) -> bytes:
    if name not in files:
        model = build_network(NETWORKS[name])
        images = np.random.default_rng(0).uniform(-1, 1, (2, *model.input_shape[1:]))
        config = ExportConfig(io="int8", calibration_images=2)
        files[name] = convert_to_tflite(model, config, images.astype("f4"))
    return files[name]


def _convert(function, *, as_int8: bool, batch: int | None = 1) -> bytes:
    """Returns the file of a function of an image, in int8 where there is a kernel."""
    signature = tf.TensorSpec((batch, 8, 8, 3), tf.float32, name="image")
    concrete = tf.function(function).get_concrete_function(signature)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    if as_int8:
        images = np.random.default_rng(0).uniform(-1, 1, (4, 1, 8, 8, 3)).astype("f4")
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image] for image in images)
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
            tf.lite.OpsSet.TFLITE_BUILTINS,
        ]
    return converter.convert()


def _wave(image: tf.Tensor) -> tf.Tensor:
    """Two convolutions with a sine between them, which has no int8 kernel."""
    kernel = np.random.default_rng(0).normal(0, 0.3, (3, 3, 3, 3)).astype("f4")
    wave = tf.sin(tf.nn.conv2d(image, kernel, 1, "SAME"))
    return tf.nn.conv2d(wave, kernel, 1, "SAME")


@pytest.fixture(scope="module")
def float_detector() -> bytes:
    """A detector of 2 classes without convolution weights to speak of, float32."""
    image = keras.Input((8, 8, 3))
    outputs = {}
    for name, values in (("box_encodings", 4), ("class_logits", 2)):
        features = keras.layers.Conv2D(values, 3, strides=2, padding="same")(image)
        outputs[name] = keras.layers.Reshape((16, values))(features)
    model = keras.Model(image, outputs)
    return convert_to_tflite(model, ExportConfig(quantization="float32", io="float32"))


def _detections(content: bytes) -> bytes:
    return append_postprocess(
        content,
        anchors=np.full((16, 4), 0.5, np.float32),
        score_activation="sigmoid",
        score_threshold=0.1,
        nms_iou_threshold=0.5,
        max_detections=3,
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_int8_files_of_all_kinds_of_layers_have_no_float_inside(files, name):
    content = _int8_file(files, name)
    assert float_operators(content) == []
    # Not because nothing was found: every network has convolutions.
    assert count_operators(content)["CONV_2D"] > 1


def test_all_operators_of_a_float_file_are_in_float(float_file):
    names = Counter(name for name, _ in float_operators(float_file))
    assert names == count_operators(float_file)


def test_narrow_weights_alone_leave_operators_in_float(classifier):
    config = ExportConfig(quantization="float16", io="float32")
    names = {name for name, _ in float_operators(convert_to_tflite(classifier, config))}
    assert {"CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "HARD_SWISH"} <= names


# The images of the calibration say them.
@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs were expected")
def test_an_operator_without_int8_kernel_is_found_with_its_conversions():
    content = _convert(_wave, as_int8=True)
    assert count_operators(content) == {
        "CONV_2D": 2,
        "QUANTIZE": 2,  # of the input, and behind the sine
        "DEQUANTIZE": 2,  # before the sine, and of the output
        "SIN": 1,
    }
    found = float_operators(content)
    assert [name for name, _ in found] == ["DEQUANTIZE", "SIN", "QUANTIZE"]
    ((into,), (before, behind), (out,)) = [tensors for _, tensors in found]
    assert (into, behind) == (before, out) and before != behind


def test_conversions_at_the_borders_are_not_inside(classifier, images, int8_file):
    config = ExportConfig(io="float32", calibration_images=len(images))
    with_float_borders = convert_to_tflite(classifier, config, images)
    assert {"QUANTIZE", "DEQUANTIZE"} <= count_operators(with_float_borders).keys()
    assert float_operators(with_float_borders) == []
    assert count_operators(int8_file)["QUANTIZE"] == 2
    assert float_operators(int8_file) == []


def test_the_float_tail_is_not_inside(float_file, images):
    content = quantize_with_litert(
        float_file, images, io="uint8", tail=append_probabilities
    )
    assert {"DEQUANTIZE", "SOFTMAX"} <= count_operators(content).keys()
    assert float_operators(content) == []


def test_detections_are_a_tail_and_a_float_network_before_them_is_not(float_detector):
    content = _detections(float_detector)
    assert {"LOGISTIC", "CUSTOM", "RELU"} <= count_operators(content).keys()
    names = {name for name, _ in float_operators(content)}
    assert names == count_operators(float_detector).keys()


def test_a_file_that_is_no_tflite_is_refused():
    for function in (float_operators, operator_report):
        with pytest.raises(ValueError, match="must be a .tflite file"):
            function(b"not a model at all")


def _refusals(content: bytes, operator: str) -> dict[str, Refusal]:
    return {
        refusal.delegate: refusal
        for refusal in operator_report(content).refusals
        if refusal.operator == operator
    }


def test_counts_are_those_of_the_file(int8_file):
    report = operator_report(int8_file)
    assert report.counts == count_operators(int8_file)
    assert report.num_operators == 10
    assert report.float_counts == {}


def test_a_plain_int8_network_is_refused_by_no_delegate(files):
    assert operator_report(_int8_file(files, "mobilenet_v2")).refusals == ()


def test_five_axes_are_too_many_for_the_gpu(files):
    content = _int8_file(files, "shuffled")
    assert _refusals(content, "TRANSPOSE").keys() == {"GPU delegate"}
    refusal = _refusals(content, "TRANSPOSE")["GPU delegate"]
    assert refusal.count == 1
    assert "5 axes" in refusal.reason
    assert refusal.origin == "source code"


def test_no_delegate_takes_the_suppression_of_boxes(float_detector):
    refusals = _refusals(_detections(float_detector), DETECTION_POSTPROCESS)
    assert refusals.keys() == {delegate.name for delegate in DELEGATES}


def test_dense_layers_with_int8_weights_alone_are_too_new_for_the_gpu():
    # github.com/google-ai-edge/LiteRT/issues/2146: "FULLY_CONNECTED: Max version
    # supported: 9. Requested version 12." The converter leaves less than 1,024 weights
    # in float.
    layers = [keras.layers.Flatten(), keras.layers.Dense(10)]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    config = ExportConfig(quantization="dynamic", io="float32")
    content = convert_to_tflite(model, config)
    assert "FULLY_CONNECTED" in dict(float_operators(content))
    refusals = _refusals(content, "FULLY_CONNECTED")
    assert refusals.keys() == {"GPU delegate"}
    assert refusals["GPU delegate"].reason == (
        "version 12, where it takes up to version 9"
    )


def test_shapes_computed_at_run_time_are_refused_by_the_gpu():
    def flatten(image: tf.Tensor) -> tf.Tensor:
        return tf.reshape(tf.nn.relu(image), (tf.shape(image)[0], -1))

    content = _convert(flatten, as_int8=False, batch=None)
    reasons = {
        refusal.operator: refusal.reason
        for refusal in operator_report(content).refusals
        if refusal.delegate == "GPU delegate"
    }
    assert reasons["SHAPE"] == "not among the operators that it takes"
    assert reasons["RESHAPE"].startswith("2 inputs computed at run time")


def test_a_batch_that_becomes_another_is_named():
    content = _convert(lambda x: tf.reshape(x, (8, 8, 3)) * 2.0, as_int8=False)
    refusal = _refusals(content, "RESHAPE")["GPU delegate"]
    assert refusal.reason.startswith("first axes of 1 and 8")


def test_xnnpack_leaves_out_what_it_has_no_kernel_for(float_detector):
    assert operator_report(float_detector).left_by_xnnpack == {}
    report = operator_report(_detections(float_detector))
    assert report.left_by_xnnpack == {DETECTION_POSTPROCESS: 1}


def test_the_report_is_plain_json(files):
    report = operator_report(_int8_file(files, "shuffled"))
    plain = json.loads(json.dumps(report.to_json()))
    assert plain["counts"] == report.counts
    assert plain["refusals"][0]["source"] == report.refusals[0].source


def test_the_terminal_shows_counts_reasons_and_sources(files):
    text = format_operator_report(operator_report(_int8_file(files, "shuffled")))
    lines = text.splitlines()
    assert lines[0].startswith(f"{sum(_counts(files).values())} operators: ")
    assert lines[1] == "In float inside the body: none"
    (refused,) = [line for line in lines if line.startswith("GPU delegate is known")]
    assert "1 TRANSPOSE" in refused and "2 RESHAPE" in refused
    assert any("5 axes" in line and "model_builder.cc" in line for line in lines)
    assert "Google Tensor NPU is known not to take: none" in lines


def _counts(files: dict[str, bytes]) -> dict[str, int]:
    return count_operators(_int8_file(files, "shuffled"))


def test_the_tables_name_operators_of_the_schema():
    tables = (
        delegates.GPU_VERSIONS,
        delegates.GPU_OTHER_TYPES,
        delegates.GPU_ONE_INPUT,
        delegates.QUALCOMM_OPERATORS,
        delegates.MEDIATEK_OPERATORS,
        delegates.GOOGLE_TENSOR_REFUSED,
        {name for name in delegates.GPU_ANY_VERSION if name.isupper()},
    )
    known = vars(schema.BuiltinOperator).keys()
    assert [name for table in tables for name in table if name not in known] == []


def test_every_rule_says_where_it_is_written():
    sources = [rule.source for delegate in DELEGATES for rule in delegate.rules]
    assert all(source.text.startswith("github.com/") for source in sources)
    assert all("/" in source.text.partition("LiteRT")[2] for source in sources)
