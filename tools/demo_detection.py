"""The demo of detection: digits in scenes, from a search space to a timed .tflite.

FiGS searches backbone and head together to a share of the supernet's multiply-adds, by
the detection loss; the found detector is trained on from the weights of the search,
exported to int8, evaluated as COCO does, drawn and timed.
"""

from __future__ import annotations

import dataclasses

from absl import flags

from detection.config import (
    DIGIT_SCENE_AUGMENTATION,
    DIGIT_SCENE_LOSS,
    DetectionDataConfig,
    HeadConfig,
)
from export.config import BenchmarkConfig, ExportConfig
from mobilenas_tf.search.config import BudgetConfig, FigsConfig
from mobilenas_tf.training.config import OptimizerConfig, TrainingConfig, check_warmup
from tools import flag_config, run_flags
from tools.detection_flags import (
    DetectionSettings,
    define_detection,
    detection_from_flags,
)

# Settings that suit 2,000 scenes of 160 px and a few minutes: small batches for many
# steps, and a pyramid that begins at stride 8 for objects of 10 to 80 px.
DATA = DetectionDataConfig(dataset="digit_scenes", batch_size=8)
SPACE = FigsConfig(space="figs_quantized_160")
SETTINGS = DetectionSettings(
    training=TrainingConfig(epochs=8, dropout_rate=0.0, label_smoothing=0.0),
    head=HeadConfig(head="fpnlite"),
    augmentation=DIGIT_SCENE_AUGMENTATION,
    loss=DIGIT_SCENE_LOSS,
    optimizer=OptimizerConfig(learning_rate=3.2),
)


def main() -> None:
    """Runs the main job."""
    values = flags.FLAGS
    config = flag_config.config_from_flags(FigsConfig)
    data_config = flag_config.config_from_flags(DetectionDataConfig)
    settings = detection_from_flags()
    search_training = dataclasses.replace(
        settings.training, epochs=values.search_epochs
    )
    check_warmup(settings.optimizer, search_training)

    flag_config.import_tensorflow()
    from detection.data import load_detection_data
    from detection.run_files import write_evaluation
    from detection.spaces import detector_space
    from detection.task import detection_task
    from detection.trainer import evaluate_network, train_detector
    from export.benchmark.host import benchmark_models
    from mobilenas_tf.costs.network import network_cost
    from mobilenas_tf.json_io import write_json
    from mobilenas_tf.models.initialization import backbone_initializer
    from mobilenas_tf.reporting.compose import compose_run
    from mobilenas_tf.reporting.page import write_report
    from mobilenas_tf.reporting.terminal import format_table
    from mobilenas_tf.search.figs import check_search, search_figs
    from mobilenas_tf.search.width_budget import width_budget
    from mobilenas_tf.training.results import (
        summary_columns,
        summary_row,
        write_summary,
    )
    from mobilenas_tf.training.run_dir import RunDir, open_run_dir
    from tools.detector_export import export_and_evaluate

    data = load_detection_data(data_config, settings.augmentation)
    space = detector_space(
        config.space,
        settings.head,
        num_classes=data.num_classes,
        image_size_px=data_config.image_size_px,
        channel_divisor=config.channel_divisor,
    )
    supernet_cost = network_cost(space.supernet)
    budget_config = BudgetConfig(max_macs=(values.budget_share * supernet_cost.macs,))
    budget = width_budget(space, budget_config)
    check_search(space, config=config, budget=budget, training=search_training)
    root = run_flags.workdir()
    run_config = {
        "tool": "demo",
        "search": config,
        "budget": budget_config,
        "search_training": search_training,
        **settings.run_config(data_config, data.augmentation),
    }

    def open_run(name: str) -> RunDir:
        return open_run_dir(root / name, config=run_config, command=run_flags.command())

    open_run(".")
    print(
        f"Searching {config.space} under {settings.head.head}: "
        f"{supernet_cost.macs / 1e6:.2f} M multiply-adds, budget "
        f"{budget.budgets[0] / 1e6:.2f} M"
    )
    search_run, train_run = open_run("search"), open_run("train")
    detector = search_figs(
        space,
        detection_task(
            space.supernet, data, loss=settings.loss, postprocess=settings.postprocess
        ),
        data,
        search_run,
        config=config,
        budget=budget,
        optimizer=settings.optimizer,
        training=search_training,
    ).architecture
    network = train_detector(
        detector,
        data,
        train_run,
        loss=settings.loss,
        postprocess=settings.postprocess,
        optimizer=settings.optimizer,
        training=settings.training,
        initialize=backbone_initializer(str(search_run.path), detector),
    )
    trained, results = evaluate_network(network, detector, data, settings.postprocess)
    write_evaluation(train_run.path, trained, results, data)
    file, exported, results = export_and_evaluate(
        train_run.path,
        data,
        ExportConfig(),
        settings.postprocess,
        float_ap=trained.metrics["ap"],
    )
    (timing,) = benchmark_models([str(file.path)], BenchmarkConfig())
    row = summary_row(
        detector,
        float_ap=trained.metrics["ap"],
        float_ap50=trained.metrics["ap50"],
        int8_ap=exported.metrics["ap"],
        file_bytes=file.num_bytes,
        median_ms=timing.median_ms,
        p90_ms=timing.p90_ms,
        model=str(file.path),
    )
    compose_run(root, [search_run.path, train_run.path])
    # What is drawn is what the file finds.
    write_evaluation(root, exported, results, data)
    write_summary(root, [row])
    write_json(root / "benchmark.json", [timing.to_json()])
    report = write_report(root)
    print(format_table(summary_columns([row]), [row]))
    run_flags.finish(
        {"rows": [row], "budget_macs": budget.budgets[0], "report": str(report)},
        f"For the phone: {file.path}. Everything to look at: {report}",
    )


def define_flags() -> None:
    """Defines the flags that `main` reads."""
    flags.DEFINE_float(
        "budget_share", 0.5, "Budget as a share of the supernet's multiply-adds."
    )
    flags.DEFINE_integer("search_epochs", 5, "Passes over the scenes of the search.")
    flag_config.define_flags(FigsConfig, defaults=SPACE)
    flag_config.define_flags(DetectionDataConfig, defaults=DATA)
    define_detection(SETTINGS)
    run_flags.define_workdir("runs/demo_detection")
