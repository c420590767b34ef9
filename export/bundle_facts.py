"""What the texts of a bundle are made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from export.config import ExportConfig
from mobilenas_tf.spec import Architecture

MODEL_FILE = "model.tflite"
DECODING_FILE = "decoding.json"
FileKind = Literal["classifier", "raw_detector", "detector"]


@dataclasses.dataclass(frozen=True)
class BundleFacts:
    """What a `.tflite` file is and where it is from.

    Attributes:
        kind: A classifier; a detector that ends in class scores and encoded boxes; or
            one that ends in finished detections.
        config: How it was converted.
        architecture: What was converted.
        class_names: In the order of its scores.
        data_config: Where training, calibration and test images are from.
        parity: How good network and file are on the test images, by name.
        decoding: How encoded boxes are decoded.
        detections: What counts as one inside a file that ends in finished detections.
    """

    kind: FileKind
    config: ExportConfig
    architecture: Architecture
    class_names: tuple[str, ...]
    data_config: Any
    parity: Mapping[str, Any]
    decoding: Mapping[str, Any] | None = None
    detections: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """Of the folder."""
        return bundle_name(self.config)


def bundle_name(config: ExportConfig) -> str:
    """Returns the name of a bundle's folder, e.g. `int8_uint8` (the input's type)."""
    parts: list[str] = [config.quantization]
    if config.tensor_type != "float32":
        parts.append(config.tensor_type)
    if config.quantizer != "tensorflow":
        parts.append(config.quantizer)
    if config.weight_scales == "tensor":
        parts.append("per_tensor")
    if config.postprocess:
        parts.append("postprocess")
    return "_".join(parts)
