"""Searches a detector by FiGS: backbone and head, within a budget for the whole.

Example:
  python -m tools.search_detector --dataset=digit_scenes --space=figs_mobilenet_v2 \
      --max_macs=40e6 --workdir=runs/search_detector

The same search as tools.search_figs, with the detection head and its loss in place.
Writes architecture.json, the found detector's inherited weights, metrics and
report.html into the run folder; tools.train_detector takes it as --architecture.
"""

from __future__ import annotations

from detection.config import (
    DetectionDataConfig,
    DetectionLossConfig,
    HeadConfig,
    PostprocessConfig,
    SceneAugmentationConfig,
    check_loss,
)
from mobilenas_tf.search.config import BudgetConfig, FigsConfig
from mobilenas_tf.training.config import (
    OptimizerConfig,
    TrainingConfig,
    check_warmup,
)
from tools import flag_config, run_flags

SEARCH_TRAINING = TrainingConfig(epochs=20, dropout_rate=0.0, label_smoothing=0.0)
SPACE = FigsConfig(space="figs_mobilenet_v2")


def main() -> None:
    """Runs the search that the flags describe."""
    config = flag_config.config_from_flags(FigsConfig)
    budget = flag_config.config_from_flags(BudgetConfig)
    head = flag_config.config_from_flags(HeadConfig)
    data_config = flag_config.config_from_flags(DetectionDataConfig)
    augmentation = flag_config.config_from_flags(SceneAugmentationConfig)
    loss = flag_config.config_from_flags(DetectionLossConfig)
    postprocess = flag_config.config_from_flags(PostprocessConfig)
    optimizer = flag_config.config_from_flags(OptimizerConfig)
    training = flag_config.config_from_flags(TrainingConfig)
    check_warmup(optimizer, training)
    check_loss(loss, head.score_activation)

    flag_config.import_tensorflow()
    from detection.data import load_detection_data
    from detection.spaces import detector_space
    from detection.task import detection_task
    from mobilenas_tf.reporting.page import write_report
    from mobilenas_tf.search.figs import SNAPSHOTS, check_search, search_figs
    from mobilenas_tf.training.run_dir import open_run_dir

    data = load_detection_data(data_config, augmentation)
    space = detector_space(
        config.space,
        head,
        num_classes=data.num_classes,
        image_size_px=data_config.image_size_px,
        channel_divisor=config.channel_divisor,
    )
    check_search(space, config=config, budget=budget, training=training)
    run = open_run_dir(
        run_flags.workdir(),
        config={
            "tool": "search_detector",
            "search": config,
            "budget": budget,
            "head": head,
            "data": data_config,
            "augmentation": data.augmentation,
            "loss": loss,
            "postprocess": postprocess,
            "optimizer": optimizer,
            "training": training,
        },
        command=run_flags.command(),
    )
    result = search_figs(
        space,
        detection_task(space.supernet, data, loss=loss, postprocess=postprocess),
        data,
        run,
        config=config,
        budget=budget,
        optimizer=optimizer,
        training=training,
    )
    report = write_report(run.path)
    snapshots = sorted(map(str, (run.path / SNAPSHOTS).glob("*")))
    run_flags.finish(
        {
            "name": result.architecture.name,
            "macs": result.cost.macs,
            "params": result.cost.params,
            "architecture": str(run.architecture_path),
            "snapshots": snapshots,
        },
        f"Found {result.cost.macs / 1e6:.3f} M multiply-adds and "
        f"{result.cost.params:,} parameters: "
        + ", ".join([str(run.architecture_path), *snapshots, str(report)]),
    )


flag_config.define_flags(FigsConfig, defaults=SPACE)
flag_config.define_flags(BudgetConfig)
flag_config.define_flags(HeadConfig)
flag_config.define_flags(DetectionDataConfig)
flag_config.define_flags(SceneAugmentationConfig)
flag_config.define_flags(DetectionLossConfig)
flag_config.define_flags(PostprocessConfig)
flag_config.define_flags(OptimizerConfig)
flag_config.define_flags(TrainingConfig, defaults=SEARCH_TRAINING)
run_flags.define_workdir("runs/search_detector")

if __name__ == "__main__":
    flag_config.run(main)
