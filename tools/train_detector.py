"""Trains a detector on any backbone: a found one, one of the zoo, or a JSON file.

Example:
  python -m tools.train_detector --architecture=runs/search --dataset=digit_scenes \
      --image_size_px=160 --workdir=runs/detector
  python -m tools.train_detector --architecture=mobilenet_v3_small \
      --dataset=coco:DIR --init_weights=imagenet --image_size_px=320

Writes the trained weights, metrics, the COCO evaluation of the test images, pictures
and report.html into the run folder.
"""

from __future__ import annotations

from absl import flags

from detection.config import DetectionDataConfig
from mobilenas_tf.architecture_source import open_architecture
from mobilenas_tf.spec import Head
from mobilenas_tf.training.config import TrainingConfig
from mobilenas_tf.training.recipe import OF_CLASSIFIERS
from tools import distribution_flags, flag_config, network_flags, run_flags
from tools.detection_flags import (
    DetectionSettings,
    define_detection,
    detection_from_flags,
)
from tools.recipe_flags import define_recipe, take_recipe

# Weights of classes have no place in these losses; the rate is for a batch of 256.
DETECTOR_TRAINING = TrainingConfig(epochs=60, dropout_rate=0.0, label_smoothing=0.0)


def main() -> None:
    """Trains what the flags describe."""
    take_recipe(leave_out=OF_CLASSIFIERS)
    backbone = open_architecture(flags.FLAGS.architecture)
    data_config = flag_config.config_from_flags(
        DetectionDataConfig,
        image_size_px=flags.FLAGS.image_size_px or backbone.image_size_px,
    )
    settings = detection_from_flags(backbone)

    flag_config.import_tensorflow()
    distribution_flags.start()
    from detection.data import load_detection_data
    from detection.heads import fit_detector
    from detection.run_files import write_evaluation
    from detection.trainer import evaluate_network, train_detector
    from mobilenas_tf.models.initialization import backbone_initializer
    from mobilenas_tf.reporting.page import write_report
    from mobilenas_tf.training.results import summary_row, write_summary
    from mobilenas_tf.training.run_dir import open_run_dir

    data = load_detection_data(data_config, settings.augmentation)
    detector = fit_detector(
        backbone,
        settings.head,
        num_classes=data.num_classes,
        image_size_px=data_config.image_size_px,
    )
    initialize = backbone_initializer(flags.FLAGS.init_weights, detector)
    run = open_run_dir(
        run_flags.workdir(),
        config={
            "tool": "train_detector",
            "architecture": detector,
            "init_weights": flags.FLAGS.init_weights,
            **settings.run_config(
                data_config,
                data.augmentation,
                makes_head=isinstance(backbone.head, Head),
            ),
        },
        command=run_flags.command(),
    )
    network = train_detector(
        detector,
        data,
        run,
        loss=settings.loss,
        postprocess=settings.postprocess,
        optimizer=settings.optimizer,
        training=settings.training,
        initialize=initialize,
    )
    evaluation, results = evaluate_network(
        network, detector, data, settings.postprocess
    )
    write_evaluation(run.path, evaluation, results, data)
    row = summary_row(
        detector,
        float_ap=evaluation.metrics["ap"],
        float_ap50=evaluation.metrics["ap50"],
    )
    write_summary(run.path, [row])
    report = write_report(run.path)
    run_flags.finish(
        {**row, "run": str(run.path)},
        f"Test mAP {evaluation.metrics['ap'] or 0:.3f} (AP50 "
        f"{evaluation.metrics['ap50'] or 0:.3f}) on {data.num_test:,} images: "
        f"{run.path}, {report}",
    )


network_flags.define_architecture()
flag_config.define_flags(DetectionDataConfig, leave_out=("image_size_px",))
flags.DEFINE_integer(
    "image_size_px", None, "Input size in pixels. By default the architecture's."
)
define_detection(DetectionSettings(training=DETECTOR_TRAINING))
flags.DEFINE_string(
    "init_weights",
    "random",
    "Of the layers below the head: random; imagenet (networks of the zoo that "
    "keras.applications has); or the run folder of a classifier or detector.",
)
flags.DEFINE_alias("backbone_run", "init_weights")
define_recipe()
run_flags.define_workdir("runs/train_detector")
distribution_flags.define_distribution()

if __name__ == "__main__":
    flag_config.run(main)
