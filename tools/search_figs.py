"""Searches a network by FiGS: operators and their widths, within a budget.

Example:
  python -m tools.search_figs --dataset=digits --space=figs_mobilenet_v2_16 \
      --max_macs=1.6e6 --workdir=runs/search
  python -m tools.build_latency_table --space=figs_mobilenet_v2_32 --num_classes=10 \
      --output=host.json
  python -m tools.search_figs --dataset=tfds:cifar10 --latency_table=host.json \
      --max_ms=0.1

Writes architecture.json, the found network's inherited weights, metrics and
report.html into the run folder.
"""

from __future__ import annotations

from mobilenas_tf.search.config import BudgetConfig, FigsConfig
from mobilenas_tf.spaces import named_space, space_image_size
from mobilenas_tf.training.config import TrainingConfig
from tools import distribution_flags, flag_config, run_flags
from tools.latency_flags import define_latency_table, latency_table
from tools.search_flags import define_search, search_from_flags
from tools.search_result import finish_search

SEARCH_TRAINING = TrainingConfig(epochs=12, dropout_rate=0.0)


def main() -> None:
    """Runs the search that the flags describe."""
    config = flag_config.config_from_flags(FigsConfig)
    budget_config = flag_config.config_from_flags(BudgetConfig)
    settings = search_from_flags(space_image_size(config.space))

    flag_config.import_tensorflow()
    distribution_flags.start()
    from mobilenas_tf.search.figs import check_search, search_figs
    from mobilenas_tf.search.width_budget import width_budget
    from mobilenas_tf.training.classification import classification_task
    from mobilenas_tf.training.data import describe_balance, load_classification_data
    from mobilenas_tf.training.run_dir import open_run_dir

    data = load_classification_data(settings.data, settings.augmentation)
    space = named_space(
        config.space,
        num_classes=data.num_classes,
        channel_divisor=config.channel_divisor,
    )
    table = latency_table(config.space)
    budget = width_budget(space, budget_config, table)
    check_search(space, config=config, budget=budget, training=settings.training)
    run = open_run_dir(
        run_flags.workdir(),
        config={
            "tool": "search_figs",
            "search": config,
            "budget": budget_config,
            "latency_table": table,
            **settings.run_config(),
        },
        command=run_flags.command(),
    )
    print(describe_balance(data))
    result = search_figs(
        space,
        classification_task(data, label_smoothing=settings.training.label_smoothing),
        data,
        run,
        config=config,
        budget=budget,
        optimizer=settings.optimizer,
        training=settings.training,
    )
    finish_search(result, run)


define_latency_table()
flag_config.define_flags(FigsConfig)
flag_config.define_flags(BudgetConfig)
define_search(SEARCH_TRAINING)
run_flags.define_workdir("runs/search_figs")
distribution_flags.define_distribution()

if __name__ == "__main__":
    flag_config.run(main)
