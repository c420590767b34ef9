"""Evaluates a trained detector, or its .tflite file, like COCO does.

Example:
  python -m tools.evaluate_detector --model=runs/detector --dataset=digit_scenes
  python -m tools.evaluate_detector --model=runs/detector/int8_uint8/model.tflite \
      --dataset=digit_scenes --output=runs/detector/int8

What counts as a detection is as in the run, or beside the file, unless flags say
otherwise.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from detection.config import (
    DetectionDataConfig,
    SceneAugmentationConfig,
)
from tools import flag_config, postprocess_flags, run_flags


def main() -> None:
    """Evaluates what the flags describe."""
    model = Path(flags.FLAGS.model)
    flag_config.import_tensorflow()
    from detection.data import load_detection_data
    from detection.heads import check_classes, detector_head
    from detection.run_files import write_evaluation
    from detection.task import file_detector
    from detection.trainer import evaluate_detector, evaluate_network
    from export.detector_file import open_detector_file
    from mobilenas_tf.architecture_source import open_architecture
    from mobilenas_tf.models.network_io import load_network

    is_file = not model.is_dir()
    folder = flags.FLAGS.architecture or (model.parent if is_file else model)
    outputs_of = (
        open_detector_file(model, num_threads=flags.FLAGS.num_threads)
        if is_file
        else None
    )
    if outputs_of is None:
        postprocess = postprocess_flags.postprocess_of_run(model)
    else:
        if outputs_of.kind == "detections":
            postprocess_flags.check_none_given("for a file with finished detections")
        postprocess = postprocess_flags.postprocess_of_file(model)
    detector = open_architecture(folder)
    detector_head(detector)
    data = load_detection_data(
        flag_config.config_from_flags(
            DetectionDataConfig, image_size_px=detector.image_size_px
        ),
        SceneAugmentationConfig(),
    )
    check_classes(detector, data.num_classes)
    if outputs_of is None:
        _, network = load_network(model)
        evaluation, results = evaluate_network(network, detector, data, postprocess)
    else:
        detect = file_detector(outputs_of, detector, config=postprocess)
        evaluation, results = evaluate_detector(detect, data)
    if flags.FLAGS.output:
        write_evaluation(Path(flags.FLAGS.output), evaluation, results, data)
    threshold = evaluation.threshold
    metrics = evaluation.metrics
    run_flags.finish(
        {
            "model": str(model),
            "num_images": evaluation.num_images,
            **metrics,
            "score_threshold": threshold.score if threshold else None,
            "ap_by_class": {
                name: row["ap"] for name, row in evaluation.metrics_by_class.items()
            },
        },
        f"Test mAP {metrics['ap'] or 0:.3f}, AP50 {metrics['ap50'] or 0:.3f} on "
        f"{data.num_test:,} images: {flags.FLAGS.output or model}",
    )


flags.DEFINE_string(
    "model", None, "Folder of a finished training, or a .tflite file.", required=True
)
flags.DEFINE_string(
    "architecture",
    None,
    "The detector that a .tflite file was made of; by default that of its folder.",
)
flags.DEFINE_integer("num_threads", 2, "Threads for a .tflite file.", 1)
flags.DEFINE_string(
    "output",
    None,
    "Folder for detection_evaluation.json, coco_results.json and contact_sheet.jpg; "
    "by default none.",
)
flag_config.define_flags(DetectionDataConfig, leave_out=("image_size_px",))
postprocess_flags.define_postprocess()
run_flags.define_json()

if __name__ == "__main__":
    flag_config.run(main)
