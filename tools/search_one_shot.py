"""Trains a one-shot supernet, then finds networks for a budget in it (BS-NAS).

Example:
  python -m tools.search_one_shot --dataset=tfds:cifar10 --space=one_shot_32 \
      --max_macs=4e6 --workdir=runs/one_shot
  python -m tools.search_one_shot --dataset=tfds:cifar10 --space=one_shot_32 \
      --max_macs=2e6 --supernet=runs/one_shot --workdir=runs/one_shot_2m

Writes the networks of the Pareto front into front/, the best within the budget as
architecture.json, both with inherited weights; evaluations.jsonl, turned_off.json,
metrics and report.html. With --supernet nothing is trained: minutes instead of hours.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from mobilenas_tf.names import lookup
from mobilenas_tf.one_shot_spaces import SPACES, named_one_shot_space
from mobilenas_tf.search.config import OneShotBudgetConfig, OneShotConfig
from mobilenas_tf.training.config import TrainingConfig
from mobilenas_tf.whole_files import write_bytes_atomically
from tools import distribution_flags, flag_config, run_flags
from tools.latency_flags import define_latency_table, latency_table
from tools.search_flags import define_search, search_from_flags

SEARCH_TRAINING = TrainingConfig(epochs=20, dropout_rate=0.0)


def main() -> None:
    """Runs the search that the flags describe."""
    config = flag_config.config_from_flags(OneShotConfig)
    budget_config = flag_config.config_from_flags(OneShotBudgetConfig)
    image_size_px = lookup("space", config.space, SPACES)(2).image_size_px
    settings = search_from_flags(image_size_px)
    source = flags.FLAGS.supernet and Path(flags.FLAGS.supernet)

    flag_config.import_tensorflow()
    distribution_flags.start()
    from mobilenas_tf.costs.network import network_cost
    from mobilenas_tf.reporting.number_format import COST_NAMES, format_value
    from mobilenas_tf.reporting.page import write_report
    from mobilenas_tf.search.evolution import check_reachable
    from mobilenas_tf.search.one_shot import (
        JOURNAL,
        one_shot_budgets,
        search_supernet,
    )
    from mobilenas_tf.search.one_shot_supernets import (
        TURNED_OFF,
        check_same_images,
        check_trained,
        read_supernet,
        train_supernet,
    )
    from mobilenas_tf.training.data import describe_balance, load_classification_data
    from mobilenas_tf.training.run_dir import open_run_dir

    if source:
        check_trained(source)
        check_same_images(source, settings.data)
    data = load_classification_data(settings.data, settings.augmentation)
    space = named_one_shot_space(config.space, num_classes=data.num_classes)
    table = latency_table(config.space)
    budgets = one_shot_budgets(budget_config, table, space=config.space)
    for metric, (low, high) in check_reachable(space, budgets).items():
        print(
            f"Networks of {space.name} cost {format_value(metric, low)} to "
            f"{format_value(metric, high)} {COST_NAMES[metric]}."
        )
    trained = read_supernet(source, space) if source else None
    run = open_run_dir(
        run_flags.workdir(),
        config={
            "tool": "search_one_shot",
            "search": config,
            "budget": budget_config,
            "latency_table": table,
            "supernet": str(source) if source else None,
            **settings.run_config(),
        },
        command=run_flags.command(),
    )
    print(describe_balance(data))
    if trained is None:
        trained = train_supernet(
            space,
            data,
            run,
            config=config,
            optimizer=settings.optimizer,
            training=settings.training,
            budgets=budgets,
        )
    elif source:  # of the same supernet
        for name in (JOURNAL, TURNED_OFF):
            if (source / name).exists() and not (run.path / name).exists():
                write_bytes_atomically(run.path / name, (source / name).read_bytes())
    supernet, left = trained
    check_reachable(left, budgets)
    result = search_supernet(
        supernet,
        left,
        data,
        run,
        config=config,
        budgets=budgets,
        seed=settings.training.seed,
    )
    report = write_report(run.path)
    cost = network_cost(result.architecture)
    run_flags.finish(
        {
            "name": result.architecture.name,
            "macs": cost.macs,
            "params": cost.params,
            "score": result.best.score,
            "front": len(result.front),
            "architecture": str(run.architecture_path),
        },
        f"Found {len(result.front)} networks up to {cost.macs / 1e6:.3f} M "
        f"multiply-adds, the best with a score of {result.best.score:.3f}: "
        f"{run.architecture_path}, {report}",
    )


flags.DEFINE_string(
    "supernet", None, "Run folder of a trained supernet of the same space to search."
)
define_latency_table()
flag_config.define_flags(OneShotConfig)
flag_config.define_flags(OneShotBudgetConfig)
# The supernet has no such layers, and its batch norms keep no statistics.
define_search(
    SEARCH_TRAINING,
    leave_out=("dropout_rate", "drop_path_rate", "batch_norm_momentum"),
)
run_flags.define_workdir("runs/search_one_shot")
distribution_flags.define_distribution()

if __name__ == "__main__":
    flag_config.run(main)
