import io
import sys
import zipfile

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from export.float_tail import (
    append_class_scores,
    append_postprocess,
)
from export.interpreter import load_interpreter, predict
from export.mediapipe_modules import import_mediapipe
from export.metadata import (
    BoxDecoding,
    write_classifier_metadata,
    write_detector_metadata,
)
from tests.export.flat_heads import NUM_CLASSES, anchors, raw_file

metadata_schema = import_mediapipe().metadata_schema
detector_schema = import_mediapipe().detector_schema
NAMES = {"name": "Bäume", "description": "Unterscheidet Bäume."}
CLASS_NAMES = ["Eibe", "Föhre", "Weiße Weide", "Zürgelbaum", "日本ツガ"]
DECODING = BoxDecoding(anchors(), score_threshold=0.25)


def detections_file(num_logits=NUM_CLASSES, score_activation="sigmoid"):
    return append_postprocess(
        raw_file(num_logits),
        anchors=anchors(),
        score_activation=score_activation,
        score_threshold=0.3,
        nms_iou_threshold=0.4,
        max_detections=10,
    )


def classifier_metadata(content, class_names=CLASS_NAMES):
    return write_classifier_metadata(content, class_names=class_names, **NAMES)


def detector_metadata(content, decoding, class_names=CLASS_NAMES[:3]):
    return write_detector_metadata(
        content, class_names=class_names, decoding=decoding, **NAMES
    )


def read_metadata(content):
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    (entry,) = [m for m in model.metadata if m.name == b"TFLITE_METADATA"]
    buffer = bytes(model.buffers[entry.buffer].data)
    assert metadata_schema.ModelMetadata.ModelMetadataBufferHasIdentifier(buffer, 0)
    return metadata_schema.ModelMetadataT.InitFromObj(
        metadata_schema.ModelMetadata.GetRootAs(buffer)
    )


def packed_files(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_a_classifiers_metadata_name_it_its_input_and_its_labels(float_file):
    content = classifier_metadata(float_file)
    metadata = read_metadata(content)
    assert metadata.name.decode() == NAMES["name"]
    assert metadata.description.decode() == NAMES["description"]
    assert metadata.minParserVersion == b"1.0.0"
    (graph,) = metadata.subgraphMetadata
    (image,), (score,) = graph.inputTensorMetadata, graph.outputTensorMetadata
    (normalization,) = image.processUnits
    assert (normalization.options.mean, normalization.options.std) == ([127.5], [127.5])
    assert (image.stats.min, image.stats.max) == ([-1], [1])
    (labels,) = score.associatedFiles
    assert labels.name == b"labels.txt"
    assert labels.type == metadata_schema.AssociatedFileType.TENSOR_AXIS_LABELS
    assert packed_files(content) == {"labels.txt": "\n".join(CLASS_NAMES)}


def test_the_normalisation_of_a_uint8_file_is_that_of_its_float_twin(int8_file):
    (graph,) = read_metadata(classifier_metadata(int8_file)).subgraphMetadata
    (image,) = graph.inputTensorMetadata
    (normalization,) = image.processUnits
    assert (normalization.options.mean, normalization.options.std) == ([127.5], [127.5])
    assert (image.stats.min, image.stats.max) == ([0], [255])


@pytest.mark.parametrize(
    ("num_logits", "score_activation"), [(3, "sigmoid"), (4, "softmax")]
)
def test_a_detections_files_outputs_are_told_apart(num_logits, score_activation):
    content = detector_metadata(detections_file(num_logits, score_activation), None)
    metadata = read_metadata(content)
    assert metadata.minParserVersion == b"1.2.0"
    (graph,) = metadata.subgraphMetadata
    outputs = load_interpreter(content).get_output_details()
    by_name = {
        described.name.decode(): output["name"]
        for described, output in zip(graph.outputTensorMetadata, outputs, strict=True)
    }
    assert by_name == {
        "location": "detection_boxes",
        "category": "detection_classes",
        "score": "detection_scores",
        "number of detections": "num_detections",
    }
    (labels,) = graph.outputTensorMetadata[1].associatedFiles
    assert labels.type == metadata_schema.AssociatedFileType.TENSOR_VALUE_LABELS
    assert packed_files(content) == {"labels.txt": "\n".join(CLASS_NAMES[:3])}


@pytest.mark.parametrize("scores", ["class_logits", "class_scores"])
def test_raw_heads_carry_how_they_are_decoded(scores):
    content = raw_file(NUM_CLASSES)
    if scores == "class_scores":
        content = append_class_scores(raw_file(NUM_CLASSES + 1))
    content = detector_metadata(content, DECODING)
    metadata = read_metadata(content)
    assert metadata.minParserVersion == b"1.5.0"
    (graph,) = metadata.subgraphMetadata
    runner = load_interpreter(content).get_signature_runner()
    names = {
        output["name"]: name for name, output in runner.get_output_details().items()
    }
    outputs = load_interpreter(content).get_output_details()
    by_name = {
        described.name.decode(): names[output["name"]]
        for described, output in zip(graph.outputTensorMetadata, outputs, strict=True)
    }
    assert by_name == {"location": "box_encodings", "score": scores}
    (score,) = [m for m in graph.outputTensorMetadata if m.name == b"score"]
    (thresholding,) = score.processUnits
    assert thresholding.options.globalScoreThreshold == 0.25
    (custom,) = graph.customMetadata
    options = detector_schema.ObjectDetectorOptionsT.InitFromObj(
        detector_schema.ObjectDetectorOptions.GetRootAs(bytes(custom.data))
    )
    found = options.ssdAnchorsOptions.fixedAnchorsSchema.anchors
    np.testing.assert_allclose(
        [[a.yCenter, a.xCenter, a.height, a.width] for a in found], anchors(), rtol=1e-6
    )
    decoding = options.tensorsDecodingOptions
    assert (decoding.numClasses, decoding.numBoxes, decoding.numCoords) == (3, 12, 4)
    scales = (decoding.yScale, decoding.xScale, decoding.hScale, decoding.wScale)
    assert scales == (10, 10, 5, 5)
    assert decoding.applyExponentialOnBoxSize
    assert decoding.sigmoidScore == (scores == "class_logits")


def test_without_a_threshold_none_is_written():
    content = detector_metadata(raw_file(NUM_CLASSES), BoxDecoding(anchors()))
    (graph,) = read_metadata(content).subgraphMetadata
    assert not any(output.processUnits for output in graph.outputTensorMetadata)


def test_the_network_is_as_before_and_its_weights_aligned(int8_file, images):
    content = classifier_metadata(int8_file)
    np.testing.assert_array_equal(
        predict(load_interpreter(content), images),
        predict(load_interpreter(int8_file), images),
    )
    model = schema.Model.GetRootAs(content)
    buffers = [model.Buffers(index) for index in range(model.BuffersLength())]
    starts = [
        buffer._tab.Vector(buffer._tab.Offset(4))
        for buffer in buffers
        if not buffer.DataIsNone()
    ]
    assert len(starts) > 8
    assert [start % 16 for start in starts] == [0] * len(starts)


def test_written_twice_the_file_is_the_same(float_file):
    once = classifier_metadata(float_file)
    assert classifier_metadata(once) == once


def test_newer_metadata_replace_older_ones(float_file):
    content = classifier_metadata(classifier_metadata(float_file), list("abcde"))
    assert packed_files(content) == {"labels.txt": "a\nb\nc\nd\ne"}
    assert len(content) < len(classifier_metadata(float_file)) + 100


def test_the_stand_in_for_the_missing_module_does_not_stay(float_file):
    classifier_metadata(float_file)
    assert not [name for name in sys.modules if name.startswith("mediapipe.tasks.cc")]


@pytest.mark.parametrize(
    ("class_names", "words"),
    [
        ([], "each of the file's 3 classes. Received: 0 names"),
        (["a", "b", "c", "d"], "each of the file's 3 classes. Received: 4 names"),
        (["a", "b\nc", "d"], r"class_names must be lines of text.*'b\\nc'"),
        (["a", "", "d"], "class_names must be lines of text.*=''"),
        (["a", "b ", "d"], "class_names must be lines of text.*='b '"),
    ],
)
@pytest.mark.parametrize("is_raw", [False, True])
def test_labels_that_do_not_fit_the_head_are_named(class_names, words, is_raw):
    content, decoding = (
        (raw_file(NUM_CLASSES), DECODING) if is_raw else (detections_file(), None)
    )
    with pytest.raises(ValueError, match=words):
        detector_metadata(content, decoding, class_names)


def test_labels_that_do_not_fit_a_classifier_are_named(float_file):
    with pytest.raises(ValueError, match="the file's 5 classes. Received: 3 names"):
        classifier_metadata(float_file, CLASS_NAMES[:3])


def test_a_background_column_counts_as_a_class_too_many():
    with pytest.raises(ValueError, match="the file's 4 classes. Received: 3 names"):
        detector_metadata(raw_file(NUM_CLASSES + 1), DECODING)


def test_a_decoding_is_for_raw_heads_only(float_file):
    with pytest.raises(ValueError, match="for raw heads.*a decoding for .*detection_b"):
        detector_metadata(detections_file(), DECODING)
    with pytest.raises(ValueError, match="for raw heads.*none for .*class_logits"):
        detector_metadata(raw_file(NUM_CLASSES), None)
    with pytest.raises(ValueError, match="a detector's file.*Received: logits"):
        detector_metadata(float_file, DECODING)


def test_anchors_of_another_network_are_refused():
    with pytest.raises(ValueError, match=r"shape \(12, 4\).*\(5, 4\)"):
        detector_metadata(raw_file(NUM_CLASSES), BoxDecoding(anchors()[:5]))


def test_a_threshold_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"score_threshold must be in \[0, 1\)"):
        BoxDecoding(anchors(), score_threshold=1.5)


def test_a_detector_is_no_classifier():
    with pytest.raises(ValueError, match="a classifier's file.*class_logits"):
        classifier_metadata(raw_file(NUM_CLASSES))


def test_what_is_no_tflite_file_is_refused():
    with pytest.raises(ValueError, match="must be a .tflite file"):
        classifier_metadata(b"PK\x03\x04 no model")
