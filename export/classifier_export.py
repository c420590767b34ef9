"""From the run folder of a classifier's training to a bundle."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from export.bundle import ExportedFile, check_drop, write_bundle
from export.bundle_facts import BundleFacts
from export.config import ExportConfig
from export.conversion import FineTuned, convert_network
from export.float_tail import append_probabilities
from export.metadata import write_classifier_metadata
from export.parity import ParityReport, compare_outputs
from mobilenas_tf.models.layer_set import STOCK
from mobilenas_tf.models.network_io import load_network
from mobilenas_tf.options import require
from mobilenas_tf.training.data import ClassificationData


@dataclasses.dataclass(frozen=True)
class ExportedClassifier:
    """A bundle's file and the report on its accuracy."""

    file: ExportedFile
    parity: ParityReport


def export_classifier(
    run_path: Path,
    data: ClassificationData,
    config: ExportConfig,
    *,
    command: list[str],
    max_parity_images: int | None = None,
    fine_tuned: FineTuned | None = None,
) -> ExportedClassifier:
    """Converts the trained network of a run, compares the two, and writes the bundle.

    The file ends in probabilities, in float32; with an int8 input in int8 logits.

    Args:
        run_path: Folder of a finished training.
        data: Calibration images come from its training, parity images from its test
            split.
        config: How to convert.
        command: The command line, for provenance.
        max_parity_images: Of the test images; None takes all.
        fine_tuned: Makes the file of `int8_qat`.

    Raises:
        ValueError: If the network does not take the data's images or classes, or the
            file loses more accuracy than it may.
    """
    require(
        max_parity_images is None or max_parity_images >= 1,
        "at least 1 or not given",
        "max_parity_images",
        max_parity_images,
    )
    require(not config.postprocess, "off for a classifier", "postprocess", True)
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
    content = convert_network(
        network,
        config,
        data.calibration_images(config.calibration_images),
        tail=None if config.tensor_type == "int8" else append_probabilities,
        fine_tuned=fine_tuned,
    )
    content = write_classifier_metadata(
        content,
        class_names=data.class_names,
        name=architecture.name,
        description=f"Tells {data.num_classes} classes of images apart.",
    )
    batches = list(data.test())
    images = np.concatenate([images for images, _ in batches])[:max_parity_images]
    labels = np.concatenate([labels for _, labels in batches])[:max_parity_images]
    parity = compare_outputs(network, content, images, labels)
    check_drop(config, parity.accuracy_drop_points)
    facts = BundleFacts(
        "classifier",
        config,
        architecture,
        tuple(data.class_names),
        data_config=data.config,
        parity=parity.to_json(),
    )
    return ExportedClassifier(
        write_bundle(run_path, content, facts, command=command), parity
    )
