"""Trains a classifier: a found architecture, or one of the zoo.

Example:
  python -m tools.train_classifier --architecture=runs/search --dataset=digits \
      --workdir=runs/train

Writes the trained weights, metrics, test accuracy and report.html into the run folder.
"""

from __future__ import annotations

from absl import flags

from mobilenas_tf.training.config import (
    OptimizerConfig,
    TrainingConfig,
    check_warmup,
)
from tools import distribution_flags, flag_config, network_flags, run_flags
from tools.recipe_flags import define_recipe, take_recipe


def main() -> None:
    """Trains what the flags describe."""
    take_recipe()
    optimizer = flag_config.config_from_flags(OptimizerConfig)
    training = flag_config.config_from_flags(TrainingConfig)
    check_warmup(optimizer, training)

    flag_config.import_tensorflow()
    distribution_flags.start()
    from mobilenas_tf.models.initialization import weight_initializer
    from mobilenas_tf.reporting.page import write_report
    from mobilenas_tf.training.classifier import evaluate_classifier, train_classifier
    from mobilenas_tf.training.data import describe_balance
    from mobilenas_tf.training.results import (
        summary_row,
        write_confusion,
        write_summary,
    )
    from mobilenas_tf.training.run_dir import open_run_dir

    architecture, data = network_flags.open_fitted()
    initialize = weight_initializer(flags.FLAGS.init_weights, architecture)
    run = open_run_dir(
        run_flags.workdir(),
        config={
            "tool": "train_classifier",
            "architecture": architecture,
            "init_weights": flags.FLAGS.init_weights,
            "data": data.config,
            "augmentation": data.augmentation,
            "optimizer": optimizer,
            "training": training,
        },
        command=run_flags.command(),
    )
    print(describe_balance(data))
    network = train_classifier(
        architecture,
        data,
        run,
        optimizer=optimizer,
        training=training,
        initialize=initialize,
    )
    evaluation = evaluate_classifier(network, data)
    row = summary_row(architecture, float_accuracy=evaluation.accuracy)
    write_summary(run.path, [row])
    write_confusion(run.path, evaluation, data.class_names, title=architecture.name)
    report = write_report(run.path)
    run_flags.finish(
        {**row, "run": str(run.path)},
        f"Test accuracy {evaluation.accuracy:.2%} on {data.num_test:,} images: "
        f"{run.path}, {report}",
    )


network_flags.define_architecture()
network_flags.define_fitting()
flag_config.define_flags(OptimizerConfig)
flag_config.define_flags(TrainingConfig)
flags.DEFINE_string(
    "init_weights",
    "random",
    "random; imagenet (networks of the zoo that keras.applications has); or a run "
    "folder: the weights that a search or training left there, to be fine-tuned.",
)
define_recipe()
run_flags.define_workdir("runs/train_classifier")
distribution_flags.define_distribution()

if __name__ == "__main__":
    flag_config.run(main)
