"""The demo of classification: digits, from a search space to a timed .tflite.

FiGS search to a share of the supernet's multiply-adds, training of the found network
and of a uniformly narrowed MobileNetV2-like one of the same budget, int8 export,
parity check, benchmark, report. Needs no download and takes a few minutes.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from absl import flags

from export.config import BenchmarkConfig, ExportConfig
from mobilenas_tf.search.config import BudgetConfig, FigsConfig
from mobilenas_tf.training.config import (
    AugmentationConfig,
    DataConfig,
    OptimizerConfig,
    TrainingConfig,
    check_warmup,
)
from tools import flag_config, run_flags

if TYPE_CHECKING:
    from mobilenas_tf.spec import Architecture
    from mobilenas_tf.training.run_dir import RunDir

# Settings that suit 1,258 digits of 8x8 pixels and a few hundred steps.
DATA = DataConfig(dataset="digits", batch_size=64)
OPTIMIZER = OptimizerConfig(learning_rate=0.8, warmup_epochs=2)
SPACE = FigsConfig(space="figs_quantized_16")
TRAINING = TrainingConfig(epochs=24, batch_norm_momentum=0.9)


def main() -> None:
    """Runs the main job."""
    flag_config.import_tensorflow()
    from export.benchmark.host import benchmark_models
    from export.classifier_export import export_classifier
    from mobilenas_tf.costs.network import network_cost
    from mobilenas_tf.costs.uniform import uniform_network
    from mobilenas_tf.json_io import write_json
    from mobilenas_tf.reporting.compose import compose_run
    from mobilenas_tf.reporting.page import write_report
    from mobilenas_tf.reporting.terminal import format_table
    from mobilenas_tf.search.figs import check_search, search_figs
    from mobilenas_tf.search.width_budget import width_budget
    from mobilenas_tf.spaces import named_space, space_image_size
    from mobilenas_tf.training.classification import classification_task
    from mobilenas_tf.training.classifier import evaluate_classifier, train_classifier
    from mobilenas_tf.training.data import describe_balance, load_classification_data
    from mobilenas_tf.training.results import (
        summary_columns,
        summary_row,
        write_confusion,
        write_summary,
    )
    from mobilenas_tf.training.run_dir import open_run_dir

    values = flags.FLAGS
    config = flag_config.config_from_flags(FigsConfig)
    data_config = flag_config.config_from_flags(
        DataConfig, image_size_px=space_image_size(config.space)
    )
    optimizer = flag_config.config_from_flags(OptimizerConfig)
    training = flag_config.config_from_flags(TrainingConfig)
    search_training = dataclasses.replace(
        training, epochs=values.search_epochs, dropout_rate=0.0
    )
    data = load_classification_data(data_config, AugmentationConfig())
    space = named_space(
        config.space,
        num_classes=data.num_classes,
        channel_divisor=config.channel_divisor,
    )
    supernet_cost = network_cost(space.supernet)
    budget_config = BudgetConfig(max_macs=(values.budget_share * supernet_cost.macs,))
    budget = width_budget(space, budget_config)
    check_search(space, config=config, budget=budget, training=search_training)
    uniform = uniform_network(
        config.space,
        num_classes=data.num_classes,
        metric=budget.metric,
        budget=budget.budgets[0],
        channel_divisor=config.channel_divisor,
    )
    for length in (search_training, training):
        check_warmup(optimizer, length)
    root = run_flags.workdir()
    settings = {
        "tool": "demo",
        "search": config,
        "budget": budget_config,
        "data": data_config,
        "optimizer": optimizer,
        "search_training": search_training,
        "training": training,
    }

    def open_run(name: str) -> RunDir:
        return open_run_dir(root / name, config=settings, command=run_flags.command())

    open_run(".")
    print(describe_balance(data))
    print(
        f"Searching {config.space}: {supernet_cost.macs / 1e6:.2f} M multiply-adds, "
        f"budget {budget.budgets[0] / 1e6:.2f} M"
    )
    found = search_figs(
        space,
        classification_task(data, label_smoothing=search_training.label_smoothing),
        data,
        open_run("search"),
        config=config,
        budget=budget,
        optimizer=optimizer,
        training=search_training,
    ).architecture

    def train_and_export(name: str, architecture: Architecture) -> dict:
        run = open_run(name)
        network = train_classifier(
            architecture,
            data,
            run,
            optimizer=optimizer,
            training=training,
            phase=name,
        )
        evaluation = evaluate_classifier(network, data)
        write_confusion(run.path, evaluation, data.class_names, title=name)
        exported = export_classifier(
            run.path, data, ExportConfig(), command=run_flags.command()
        )
        return summary_row(
            architecture,
            name,
            float_accuracy=evaluation.accuracy,
            int8_accuracy=exported.parity.tflite_accuracy,
            file_bytes=exported.file.num_bytes,
            model=str(exported.file.path),
        )

    rows = [train_and_export("figs", found), train_and_export("uniform", uniform)]
    timings = benchmark_models([row["model"] for row in rows], BenchmarkConfig())
    for row, timing in zip(rows, timings, strict=True):
        row.update(median_ms=timing.median_ms, p90_ms=timing.p90_ms)
    compose_run(root, [root / name for name in ("search", "figs", "uniform")])
    write_summary(root, rows)
    write_json(root / "benchmark.json", [timing.to_json() for timing in timings])
    report = write_report(root)
    print(format_table(summary_columns(rows), rows))
    run_flags.finish(
        {"rows": rows, "budget_macs": budget.budgets[0], "report": str(report)},
        f"For the phone: {rows[0]['model']}. Everything to look at: {report}",
    )


def define_flags() -> None:
    """Defines the flags that `main` reads."""
    flags.DEFINE_float(
        "budget_share", 0.4, "Budget as a share of the supernet's multiply-adds."
    )
    flags.DEFINE_integer("search_epochs", 16, "Passes over the images of the search.")
    flag_config.define_flags(FigsConfig, defaults=SPACE)
    flag_config.define_flags(DataConfig, defaults=DATA, leave_out=("image_size_px",))
    flag_config.define_flags(OptimizerConfig, defaults=OPTIMIZER)
    flag_config.define_flags(TrainingConfig, defaults=TRAINING)
    run_flags.define_workdir("runs/demo")
