"""Evaluates a trained run, or a .tflite file, on the test images of a data set.

Example:
  python -m tools.evaluate_classifier --model=runs/train --dataset=digits
  python -m tools.evaluate_classifier --model=runs/train/int8_uint8/model.tflite \
      --dataset=digits
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from mobilenas_tf.training.config import AugmentationConfig, DataConfig
from tools import flag_config, run_flags


def main() -> None:
    """Evaluates what the flags describe."""
    flag_config.import_tensorflow()
    from export.evaluation import open_classifier
    from mobilenas_tf.training.classifier import evaluate_predictions
    from mobilenas_tf.training.data import load_classification_data
    from mobilenas_tf.training.results import write_confusion

    model = flags.FLAGS.model
    classifier = open_classifier(model, num_threads=flags.FLAGS.num_threads)
    data = load_classification_data(
        flag_config.config_from_flags(
            DataConfig, image_size_px=classifier.image_size_px
        ),
        AugmentationConfig(),
    )
    classifier.check_classes(data.num_classes)
    evaluation = evaluate_predictions(classifier.predict, data)
    if flags.FLAGS.output:
        write_confusion(
            Path(flags.FLAGS.output), evaluation, data.class_names, title=model
        )
    run_flags.finish(
        {
            "model": model,
            "accuracy": evaluation.accuracy,
            "num_images": data.num_test,
            "confusion": evaluation.confusion.tolist(),
        },
        f"Test accuracy {evaluation.accuracy:.2%} on {data.num_test:,} images: {model}",
    )


flags.DEFINE_string(
    "model", None, "Folder of a finished training, or a .tflite file.", required=True
)
flags.DEFINE_integer("num_threads", 2, "Threads for a .tflite file.", 1)
flags.DEFINE_string("output", None, "Folder for confusion.json; by default none.")
flag_config.define_flags(DataConfig, leave_out=("image_size_px",))
run_flags.define_json()

if __name__ == "__main__":
    flag_config.run(main)
