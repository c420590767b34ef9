"""Exports a trained run to a .tflite bundle and compares the two on the test images.

Example:
  python -m tools.export_tflite --run=runs/train --dataset=digits --quantization=int8
  python -m tools.export_tflite --run=runs/detector --postprocess --score_threshold=0.3

The bundle is a folder in the run's: the file with its metadata inside, labels.txt,
model_card.md, ANDROID.md and parity.json. A detector is exported and evaluated with the
data that it was trained on, unless --dataset or --data_dir say otherwise; so it is with
what counts as a detection, where the file ends in finished ones (--postprocess).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from absl import flags

from detection.config import (
    DetectionDataConfig,
    DetectionLossConfig,
    PostprocessConfig,
    SceneAugmentationConfig,
)
from export.config import ExportConfig, QatConfig
from mobilenas_tf.architecture_source import open_architecture
from mobilenas_tf.options import require
from mobilenas_tf.spec import Architecture, Head
from mobilenas_tf.training.config import (
    AugmentationConfig,
    DataConfig,
    TrainingConfig,
)
from tools import flag_config, postprocess_flags, run_flags
from tools.recorded import trained_with

QAT = "qat_"


def main() -> None:
    """Exports what the flags describe."""
    run_path = Path(flags.FLAGS.run)
    config = flag_config.config_from_flags(ExportConfig)
    qat_config = flag_config.config_from_flags(QatConfig, prefix=QAT)
    architecture = open_architecture(run_path)
    is_classifier = isinstance(architecture.head, Head)
    if is_classifier:
        postprocess_flags.check_none_given("for a classifier")
    else:
        _check_flags_of_detectors(config)

    flag_config.import_tensorflow()
    if is_classifier:
        _export_classifier(run_path, config, qat_config, architecture)
    else:
        _export_detector(run_path, config, qat_config)


def _check_flags_of_detectors(config: ExportConfig) -> None:
    count = flags.FLAGS.max_parity_images
    require(
        count is None,
        "left out for a detector, which all test images judge",
        "max_parity_images",
        count,
    )
    if not config.postprocess:
        postprocess_flags.check_none_given(
            "without --postprocess: only finished detections are chosen by the file"
        )


def _export_classifier(
    run_path: Path,
    config: ExportConfig,
    qat_config: QatConfig,
    architecture: Architecture,
) -> None:
    from export.classifier_export import export_classifier
    from mobilenas_tf.reporting.page import write_report
    from mobilenas_tf.training.classification import classification_objective
    from mobilenas_tf.training.data import load_classification_data
    from mobilenas_tf.training.results import update_summary
    from tools.fine_tuning import fine_tuned_file

    data = load_classification_data(
        flag_config.config_from_flags(
            DataConfig, image_size_px=architecture.image_size_px
        ),
        trained_with(run_path, "augmentation", AugmentationConfig()),
    )
    training = trained_with(run_path, "training", TrainingConfig())
    exported = export_classifier(
        run_path,
        data,
        config,
        command=run_flags.command(),
        max_parity_images=flags.FLAGS.max_parity_images,
        fine_tuned=fine_tuned_file(
            run_path,
            data,
            classification_objective(label_smoothing=training.label_smoothing),
            qat_config,
        ),
    )
    file, parity = exported.file, exported.parity
    if config.is_int8:
        update_summary(
            run_path, int8_accuracy=parity.tflite_accuracy, file_bytes=file.num_bytes
        )
    write_report(run_path)
    run_flags.finish(
        {"model": str(file.path), "file_bytes": file.num_bytes} | parity.to_json(),
        f"Accuracy {parity.keras_accuracy:.2%} in Keras, "
        f"{parity.tflite_accuracy:.2%} exported, {parity.top1_agreement:.2%} equal "
        f"answers on {parity.num_images:,} images: {file.path} "
        f"({file.num_bytes / 1e3:.0f} kB)",
    )


def _export_detector(
    run_path: Path, config: ExportConfig, qat_config: QatConfig
) -> None:
    from detection.data import load_detection_data
    from detection.task import detection_objective
    from detection.trainer import evaluate_network
    from mobilenas_tf.models.network_io import load_network
    from mobilenas_tf.reporting.page import write_report
    from mobilenas_tf.training.results import update_summary
    from tools.detector_export import export_and_evaluate
    from tools.fine_tuning import fine_tuned_file

    postprocess = postprocess_flags.postprocess_of_run(run_path)
    given = {
        name: flags.FLAGS[name].value
        for name in ("dataset", "data_dir")
        if flags.FLAGS[name].present
    }
    data = load_detection_data(
        dataclasses.replace(
            trained_with(run_path, "data", DetectionDataConfig()), **given
        ),
        trained_with(run_path, "augmentation", SceneAugmentationConfig()),
    )
    loss = trained_with(run_path, "loss", DetectionLossConfig())
    detector, network = load_network(run_path)
    trained, _ = evaluate_network(network, detector, data, postprocess)
    file, _, _ = export_and_evaluate(
        run_path,
        data,
        config,
        postprocess,
        float_ap=trained.metrics["ap"],
        fine_tuned=fine_tuned_file(
            run_path, data, detection_objective(detector, config=loss), qat_config
        ),
    )
    parity = file.parity
    # With other thresholds the file's mAP is not to be compared with the network's.
    is_as_trained = not flag_config.given_values(PostprocessConfig)
    if config.is_int8 and is_as_trained:
        update_summary(run_path, int8_ap=parity["tflite_ap"], file_bytes=file.num_bytes)
    write_report(run_path)
    run_flags.finish(
        {"model": str(file.path), "file_bytes": file.num_bytes, **parity},
        f"mAP {parity['keras_ap']:.3f} in Keras, {parity['tflite_ap']:.3f} exported, "
        f"on {data.num_test:,} images: {file.path} ({file.num_bytes / 1e3:.0f} kB)",
    )


flags.DEFINE_string("run", None, "Folder of a finished training.", required=True)
flags.DEFINE_integer(
    "max_parity_images",
    None,
    "Classifiers: test images for the comparison; by default all.",
)
flag_config.define_flags(ExportConfig)
flag_config.define_flags(DataConfig, leave_out=("image_size_px",))
flag_config.define_flags(QatConfig, prefix=QAT)
postprocess_flags.define_postprocess()
run_flags.define_json()

if __name__ == "__main__":
    flag_config.run(main)
