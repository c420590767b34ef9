"""From the run folder of a training to a `.tflite` file and its parity report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from export.config import ExportConfig
from export.parity import ParityReport, compare_outputs
from export.tflite import convert_to_tflite
from mobilenas_tf.json_io import write_bytes_atomically, write_json
from mobilenas_tf.models.layer_set import STOCK
from mobilenas_tf.models.network_io import load_network
from mobilenas_tf.options import require
from mobilenas_tf.provenance import describe_provenance
from mobilenas_tf.training.data import ClassificationData


@dataclasses.dataclass(frozen=True)
class ExportedFile:
    """A written `.tflite` file and how far it agrees with its network."""

    path: Path
    num_bytes: int
    parity: ParityReport


def tflite_name(config: ExportConfig) -> str:
    """Returns the file name, e.g. `model_int8_uint8.tflite` (quantisation, I/O)."""
    suffix = "" if config.tensor_type == "float32" else f"_{config.tensor_type}"
    return f"model_{config.quantization}{suffix}.tflite"


def export_run(
    run_path: Path,
    data: ClassificationData,
    config: ExportConfig,
    *,
    command: list[str],
    max_parity_images: int | None = None,
) -> ExportedFile:
    """Converts the trained network of a run, and compares the two on test images.

    Writes the file, beside it a JSON of what made it, and `parity.json`.

    Args:
        run_path: Folder of a finished training.
        data: Calibration images come from its training, parity images from its test
            split.
        config: How to convert.
        command: The command line, for provenance.
        max_parity_images: Of the test images; None takes all.

    Raises:
        ValueError: If the network does not take the data's images or classes.
    """
    require(
        max_parity_images is None or max_parity_images >= 1,
        "at least 1 or not given",
        "max_parity_images",
        max_parity_images,
    )
    architecture, network = load_network(run_path, layer_set=STOCK)
    wanted = (architecture.head.num_classes, architecture.image_size_px)
    if wanted != (data.num_classes, data.config.image_size_px):
        raise ValueError(
            f"data must have the {wanted[0]} classes of {run_path} at {wanted[1]} px. "
            f"Received: {data.num_classes} classes at {data.config.image_size_px} px"
        )
    config = dataclasses.replace(
        config, calibration_images=min(config.calibration_images, data.num_train)
    )
    content = convert_to_tflite(
        network, config, data.calibration_images(config.calibration_images)
    )
    batches = list(data.test())
    images = np.concatenate([images for images, _ in batches])[:max_parity_images]
    labels = np.concatenate([labels for _, labels in batches])[:max_parity_images]
    parity = compare_outputs(network, content, images, labels)
    path = write_file(
        run_path,
        content,
        config,
        {"data": data.config, "parity": parity},
        command=command,
    )
    write_json(run_path / "parity.json", {"model": path.name, **parity.to_json()})
    return ExportedFile(path, len(content), parity)


def export_detector(
    run_path: Path,
    calibration_images: Callable[[int], np.ndarray],
    config: ExportConfig,
    *,
    data_config: Any,
    command: list[str],
) -> Path:
    """Converts the trained detector of a run; returns the written file.

    How good it is, is left to the caller: `detection` evaluates files as well.

    Args:
        run_path: Folder of a finished training.
        calibration_images: `count -> [count, S, S, 3]` images in [-1, 1].
        config: How to convert.
        data_config: Where these images are from, to be noted.
        command: The command line, for provenance.
    """
    _, network = load_network(run_path, layer_set=STOCK)
    images = (
        calibration_images(config.calibration_images)
        if config.quantization == "int8"
        else None
    )
    content = convert_to_tflite(network, config, images)
    return write_file(run_path, content, config, {"data": data_config}, command=command)


def write_file(
    run_path: Path,
    content: bytes,
    config: ExportConfig,
    made_by: Mapping[str, Any],
    *,
    command: list[str],
) -> Path:
    """Writes a `.tflite` file into a run folder, beside it a JSON of what made it.

    Args:
        run_path: Folder of a finished training.
        content: Of the file.
        config: How it was converted.
        made_by: What else to note.
        command: The command line, for provenance.
    """
    path = run_path / tflite_name(config)
    write_bytes_atomically(path, content)
    document = {"export": config, **made_by, **describe_provenance(command)}
    write_json(path.with_suffix(".json"), document)
    return path
