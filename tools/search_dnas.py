"""Searches a network of chosen operators or bit widths by DNAS, within a budget.

Example:
  python -m tools.build_latency_table --space=fbnet_32 --num_classes=10 \
      --output=host.json
  python -m tools.validate_latency_table --latency_table=host.json --num_classes=10
  python -m tools.search_dnas --dataset=tfds:cifar10 --space=fbnet_32 \
      --latency_table=host.json --max_ms=0.15 --workdir=runs/search_dnas
  python -m tools.search_dnas --dataset=tfds:cifar10 --space=bits_mobilenet_v2_32 \
      --max_bit_macs=57e6 --sampling=path --workdir=runs/search_bits

Writes architecture.json, the found network's inherited weights, operators.json (the
probability of every operator), metrics and report.html into the run folder, and with
--num_samples further networks into its samples/.
"""

from __future__ import annotations

from mobilenas_tf.block_spaces import TABLES, named_block_space
from mobilenas_tf.names import lookup
from mobilenas_tf.search.config import DnasConfig, OperatorBudgetConfig
from mobilenas_tf.training.config import TrainingConfig
from tools import distribution_flags, flag_config, run_flags
from tools.latency_flags import define_latency_table, latency_table
from tools.search_flags import define_search, search_from_flags

SEARCH_TRAINING = TrainingConfig(epochs=15, dropout_rate=0.0)


def main() -> None:
    """Runs the search that the flags describe."""
    config = flag_config.config_from_flags(DnasConfig)
    budget_config = flag_config.config_from_flags(OperatorBudgetConfig)
    image_size_px = lookup("space", config.space, TABLES)().image_size_px
    settings = search_from_flags(image_size_px)

    flag_config.import_tensorflow()
    distribution_flags.start()
    from mobilenas_tf.costs.bit_widths import bit_costs
    from mobilenas_tf.costs.network import network_cost
    from mobilenas_tf.reporting.page import write_report
    from mobilenas_tf.search.dnas import SearchData, operator_budget, search_dnas
    from mobilenas_tf.training.classification import classification_task
    from mobilenas_tf.training.data import describe_balance, load_divided_data
    from mobilenas_tf.training.run_dir import open_run_dir

    data = SearchData(
        *load_divided_data(
            settings.data, settings.augmentation, share=config.architecture_share
        )
    )
    space = named_block_space(config.space, num_classes=data.weights.num_classes)
    table = latency_table(config.space)
    budget = operator_budget(space, budget_config, table)
    run = open_run_dir(
        run_flags.workdir(),
        config={
            "tool": "search_dnas",
            "search": config,
            "budget": budget_config,
            "latency_table": table,
            **settings.run_config(),
        },
        command=run_flags.command(),
    )
    print(describe_balance(data.weights))
    found = search_dnas(
        space,
        classification_task(
            data.weights, label_smoothing=settings.training.label_smoothing
        ),
        data,
        run,
        config=config,
        budget=budget,
        optimizer=settings.optimizer,
        training=settings.training,
    )
    report = write_report(run.path)
    cost = network_cost(found.architecture)
    unit = {
        "ms": " ms",
        "macs": " multiply-adds",
        "params": " parameters",
        "bit_macs": " bit operations",
        "weight_bytes": " bytes of weights",
    }
    run_flags.finish(
        {
            "name": found.architecture.name,
            "macs": cost.macs,
            "params": cost.params,
            **bit_costs(found.architecture),
            budget.metric: found.cost,
            "architecture": str(run.architecture_path),
        },
        f"Found {found.cost:,.4g}{unit[budget.metric]} of {budget.value:,.4g} "
        f"({cost.macs / 1e6:.3f} M multiply-adds, {cost.params:,} parameters): "
        f"{run.architecture_path}, {report}",
    )


define_latency_table()
flag_config.define_flags(DnasConfig)
flag_config.define_flags(OperatorBudgetConfig)
define_search(SEARCH_TRAINING, leave_out=("drop_path_rate",))
run_flags.define_workdir("runs/search_dnas")
distribution_flags.define_distribution()

if __name__ == "__main__":
    flag_config.run(main)
