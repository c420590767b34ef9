"""Exports a trained run to .tflite and compares the two on the test images.

Example:
  python -m tools.export_tflite --run=runs/train --dataset=digits --quantization=int8
  python -m tools.export_tflite --run=runs/detector

A detector is exported and evaluated with the data that it was trained on, unless
--dataset or --data_dir say otherwise.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from absl import flags

from detection.config import (
    DetectionDataConfig,
    PostprocessConfig,
    SceneAugmentationConfig,
)
from export.config import ExportConfig
from mobilenas_tf.architecture_source import open_architecture
from mobilenas_tf.json_io import from_plain, read_json
from mobilenas_tf.spec import Architecture, Head
from mobilenas_tf.training.config import AugmentationConfig, DataConfig
from tools import flag_config, run_flags


def main() -> None:
    """Exports what the flags describe."""
    run_path = Path(flags.FLAGS.run)
    config = flag_config.config_from_flags(ExportConfig)
    architecture = open_architecture(run_path)

    flag_config.import_tensorflow()
    if isinstance(architecture.head, Head):
        _export_classifier(run_path, config, architecture)
    else:
        _export_detector(run_path, config)


def _export_classifier(
    run_path: Path, config: ExportConfig, architecture: Architecture
) -> None:
    from export.bundle import export_run
    from mobilenas_tf.reporting.page import write_report
    from mobilenas_tf.training.data import load_classification_data
    from mobilenas_tf.training.results import update_summary

    data = load_classification_data(
        flag_config.config_from_flags(
            DataConfig, image_size_px=architecture.image_size_px
        ),
        AugmentationConfig(),
    )
    exported = export_run(
        run_path,
        data,
        config,
        command=run_flags.command(),
        max_parity_images=flags.FLAGS.max_parity_images,
    )
    parity = exported.parity
    if config.quantization == "int8":
        update_summary(
            run_path,
            int8_accuracy=parity.tflite_accuracy,
            file_bytes=exported.num_bytes,
        )
    write_report(run_path)
    run_flags.finish(
        {"model": str(exported.path), "file_bytes": exported.num_bytes}
        | parity.to_json(),
        f"Accuracy {parity.keras_accuracy:.2%} in Keras, "
        f"{parity.tflite_accuracy:.2%} exported, {parity.top1_agreement:.2%} equal "
        f"answers on {parity.num_images:,} images: {exported.path} "
        f"({exported.num_bytes / 1e3:.0f} kB)",
    )


def _export_detector(run_path: Path, config: ExportConfig) -> None:
    from detection.data import load_detection_data
    from detection.trainer import evaluate_network
    from mobilenas_tf.models.network_io import load_network
    from mobilenas_tf.reporting.page import write_report
    from mobilenas_tf.training.results import update_summary
    from tools.detector_export import export_and_evaluate

    data_config, postprocess = _training_configs(run_path)
    data = load_detection_data(data_config, SceneAugmentationConfig())
    path, exported, _ = export_and_evaluate(run_path, data, config, postprocess)
    detector, network = load_network(run_path)
    trained, _ = evaluate_network(network, detector, data, postprocess)
    float_ap, exported_ap = (
        evaluation.metrics["ap"] or 0.0 for evaluation in (trained, exported)
    )
    if config.quantization == "int8":
        update_summary(run_path, int8_ap=exported_ap, file_bytes=path.stat().st_size)
    write_report(run_path)
    run_flags.finish(
        {
            "model": str(path),
            "file_bytes": path.stat().st_size,
            "keras_ap": float_ap,
            "tflite_ap": exported_ap,
            "ap_drop": float_ap - exported_ap,
            "num_images": data.num_test,
        },
        f"mAP {float_ap:.3f} in Keras, {exported_ap:.3f} exported, on "
        f"{data.num_test:,} images: {path} ({path.stat().st_size / 1e3:.0f} kB)",
    )


def _training_configs(run_path: Path) -> tuple[DetectionDataConfig, PostprocessConfig]:
    """Returns what a detector was trained with; flags that were given come first."""
    path = run_path / "config.json"
    trained = read_json(path)
    given = {
        name: flags.FLAGS[name].value
        for name in ("dataset", "data_dir")
        if flags.FLAGS[name].present
    }
    data_config = from_plain(DetectionDataConfig, trained["data"], f"{path}/data")
    postprocess = from_plain(
        PostprocessConfig, trained["postprocess"], f"{path}/postprocess"
    )
    return dataclasses.replace(data_config, **given), postprocess


flags.DEFINE_string("run", None, "Folder of a finished training.", required=True)
flags.DEFINE_integer(
    "max_parity_images", None, "Test images for the comparison; by default all."
)
flag_config.define_flags(ExportConfig)
flag_config.define_flags(DataConfig, leave_out=("image_size_px",))
run_flags.define_json()

if __name__ == "__main__":
    flag_config.run(main)
