"""Searches a detector by FiGS: backbone and head, within a budget for the whole.

Example:
  python -m tools.search_detector --dataset=digit_scenes --space=figs_mobilenet_v2 \
      --max_macs=40e6 --workdir=runs/search_detector

The same search as tools.search_figs, with the detection head and its loss in place.
Writes architecture.json, the found detector's inherited weights, metrics and
report.html into the run folder; tools.train_detector takes it as --architecture.
"""

from __future__ import annotations

from detection.config import DetectionDataConfig
from mobilenas_tf.search.config import BudgetConfig, FigsConfig
from mobilenas_tf.training.config import TrainingConfig
from tools import distribution_flags, flag_config, run_flags
from tools.detection_flags import (
    DetectionSettings,
    define_detection,
    detection_from_flags,
)
from tools.search_result import finish_search

SEARCH_TRAINING = TrainingConfig(epochs=20, dropout_rate=0.0, label_smoothing=0.0)
SPACE = FigsConfig(space="figs_mobilenet_v2")


def main() -> None:
    """Runs the search that the flags describe."""
    config = flag_config.config_from_flags(FigsConfig)
    budget_config = flag_config.config_from_flags(BudgetConfig, max_ms=())
    data_config = flag_config.config_from_flags(DetectionDataConfig)
    settings = detection_from_flags()

    flag_config.import_tensorflow()
    distribution_flags.start()
    from detection.data import load_detection_data
    from detection.spaces import detector_space
    from detection.task import detection_task
    from mobilenas_tf.search.figs import check_search, search_figs
    from mobilenas_tf.search.width_budget import width_budget
    from mobilenas_tf.training.run_dir import open_run_dir

    data = load_detection_data(data_config, settings.augmentation)
    space = detector_space(
        config.space,
        settings.head,
        num_classes=data.num_classes,
        image_size_px=data_config.image_size_px,
        channel_divisor=config.channel_divisor,
    )
    budget = width_budget(space, budget_config)
    check_search(space, config=config, budget=budget, training=settings.training)
    run = open_run_dir(
        run_flags.workdir(),
        config={
            "tool": "search_detector",
            "search": config,
            "budget": budget_config,
            **settings.run_config(data_config, data.augmentation),
        },
        command=run_flags.command(),
    )
    result = search_figs(
        space,
        detection_task(
            space.supernet, data, loss=settings.loss, postprocess=settings.postprocess
        ),
        data,
        run,
        config=config,
        budget=budget,
        optimizer=settings.optimizer,
        training=settings.training,
    )
    finish_search(result, run)


flag_config.define_flags(FigsConfig, defaults=SPACE)
# No latency table knows detection heads.
flag_config.define_flags(BudgetConfig, leave_out=("max_ms",))
flag_config.define_flags(DetectionDataConfig)
define_detection(DetectionSettings(training=SEARCH_TRAINING), leave_out=("ema_decay",))
run_flags.define_workdir("runs/search_detector")
distribution_flags.define_distribution()

if __name__ == "__main__":
    flag_config.run(main)
