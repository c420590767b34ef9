"""How an Android app loads an exported file: the text of `ANDROID.md`.

What the file is (its input, its outputs) is filled in; the calls are those of the
Android guides of MediaPipe Tasks and of LiteRT (ai.google.dev/edge).
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from export.bundle_facts import MODEL_FILE, BundleFacts

MEDIAPIPE_LIBRARY = "com.google.mediapipe:tasks-vision:latest.release"
LITERT_LIBRARY = "com.google.ai.edge.litert:litert:1.4.2"  # the newest with Interpreter


def android_guide(
    facts: BundleFacts, output_shapes: Mapping[str, tuple[int, ...]]
) -> str:
    """Returns the text for a file.

    Args:
        facts: What it is.
        output_shapes: Of each output by its name.
    """
    return "\n".join(
        [
            f"# {MODEL_FILE} in an Android app\n",
            "The file was run with LiteRT's interpreter on a computer; files made this "
            "way were run\nwith MediaPipe Tasks for Python. Nothing on this page was "
            "tried on a phone.\n",
            f"Put `{MODEL_FILE}` into `app/src/main/assets`.\n",
            "## MediaPipe Tasks\n",
            _mediapipe(facts),
            "## LiteRT's interpreter\n",
            _gradle(LITERT_LIBRARY),
            _litert(facts, output_shapes),
        ]
    )


def _gradle(library: str) -> str:
    return _kotlin(f'dependencies {{ implementation("{library}") }}')


def _kotlin(text: str) -> str:
    return f"```kotlin\n{textwrap.dedent(text).strip()}\n```\n"


def _mediapipe(facts: BundleFacts) -> str:
    if facts.config.tensor_type == "int8":
        return "It refuses an int8 input; export with `--io=uint8` for it.\n"
    inside = "Labels and the scaling of pixels are inside the file"
    decoding = ", and how boxes are decoded" * (facts.kind == "raw_detector")
    use = _CLASSIFIER if facts.kind == "classifier" else _DETECTOR
    code = _kotlin(use.replace("FILE_NAME", MODEL_FILE))
    remark = _RAW_REMARK * (facts.kind == "raw_detector")
    return f"{_gradle(MEDIAPIPE_LIBRARY)}\n{inside}{decoding}.{remark}\n\n{code}"


# Found with MediaPipe Tasks 1.2.2.
_RAW_REMARK = (
    " MediaPipe drops a box whose IoU with a\nbetter one, of any class, is above 0.3, "
    "and moves boxes that stick out of the image\ninto it; a file exported with "
    "`--postprocess` has neither."
)

_CLASSIFIER = """
    val options = ImageClassifier.ImageClassifierOptions.builder()
        .setBaseOptions(BaseOptions.builder().setModelAssetPath("FILE_NAME").build())
        .setMaxResults(3)
        .build()
    val classifier = ImageClassifier.createFromOptions(context, options)
    val result = classifier.classify(BitmapImageBuilder(bitmap).build())
    for (category in result.classificationResult().classifications()[0].categories()) {
        Log.i("classifier", "${category.categoryName()} ${category.score()}")
    }
    """

_DETECTOR = """
    val options = ObjectDetector.ObjectDetectorOptions.builder()
        .setBaseOptions(BaseOptions.builder().setModelAssetPath("FILE_NAME").build())
        .setScoreThreshold(0.3f)
        .build()
    val detector = ObjectDetector.createFromOptions(context, options)
    val result = detector.detect(BitmapImageBuilder(bitmap).build())
    for (detection in result.detections()) {
        val category = detection.categories()[0]
        val box = detection.boundingBox()  // in pixels of the bitmap
        Log.i("detector", "${category.categoryName()} ${category.score()} $box")
    }
    """

# How a channel of a pixel, 0 to 255, is written, and the bytes that it takes.
_WRITERS = {
    "float32": ("buffer.putFloat(channel / 127.5f - 1f)", 4),
    "uint8": ("buffer.put(channel.toByte())", 1),
    "int8": ("buffer.put((channel - 128).toByte())", 1),
}

_MEANING = {
    "classifier": "The largest value is the answer; its index is the line of "
    "`labels.txt`, counted from 0.\n",
    "raw_detector": "The values are those of each anchor; `decoding.json` has the "
    "anchors, how boxes are decoded\nand what is left to do with the scores. MediaPipe "
    "does that, and drops boxes that overlap.\n",
    "detector": "Boxes are `y_min, x_min, y_max, x_max` in shares of height and width, "
    "the best score\nfirst; classes are lines of `labels.txt`, counted from 0; "
    "`num_detections` of them count.\n",
}


def _litert(facts: BundleFacts, output_shapes: Mapping[str, tuple[int, ...]]) -> str:
    size, tensor_type = facts.architecture.image_size_px, facts.config.tensor_type
    write, num_bytes = _WRITERS[tensor_type]
    outputs = "\n".join(
        f"- `{name}`, {' x '.join(map(str, shape))}"
        for name, shape in output_shapes.items()
    )
    code = _kotlin(
        f"""
        val model = FileUtil.loadMappedFile(context, "{MODEL_FILE}")
        val interpreter = Interpreter(model)
        val pixels = IntArray({size} * {size})
        Bitmap.createScaledBitmap(bitmap, {size}, {size}, true)
            .getPixels(pixels, 0, {size}, 0, 0, {size}, {size})
        val buffer = ByteBuffer.allocateDirect({size} * {size} * 3 * {num_bytes})
            .order(ByteOrder.nativeOrder())
        for (pixel in pixels) {{
            for (shift in intArrayOf(16, 8, 0)) {{  // red, green, blue
                val channel = (pixel shr shift) and 0xFF
                {write}
            }}
        }}
        val outputs = HashMap<String, Any>()
        for (name in interpreter.getSignatureOutputs("serving_default")) {{
            val tensor =
                interpreter.getOutputTensorFromSignature(name, "serving_default")
            outputs[name] = ByteBuffer.allocateDirect(tensor.numBytes())
                .order(ByteOrder.nativeOrder())
        }}
        interpreter.runSignature(mapOf("image" to buffer), outputs, "serving_default")
        """
    )
    scale = (
        "\nAn output is int8: a value stands for `(value - zeroPoint) * scale`, see "
        "`tensor.quantizationParams()`.\n"
    )
    return (
        f"The input is `image`, 1 x {size} x {size} x 3, {tensor_type}, RGB. The "
        f"outputs of the signature:\n\n{outputs}\n\n{code}\n{_MEANING[facts.kind]}"
        f"{scale * (tensor_type == 'int8')}"
    )
