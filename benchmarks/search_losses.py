"""A backbone searched by the detection loss against one searched by classification.

What a user without a detector in the search would do: search a classifier of the same
digits, at the same image size and in the same space, and put it under the detection
head. The search by the detection loss, head in place, then gets the multiply-adds of
that whole detector as its budget. Both are trained from scratch alike.

Run: python -m benchmarks.search_losses
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

from benchmarks import evidence
from benchmarks.detection_jobs import (
    IMAGE_SIZE_PX,
    DetectionProtocol,
    mean_figures,
    precision,
    protocol,
    run_search,
    run_training,
    under_head,
)
from benchmarks.jobs import (
    Job,
    one_thread,
    results_folder,
    run_jobs,
    seeds,
    workdir,
)
from benchmarks.paired import paired_difference
from benchmarks.timed_search import found_architecture, timed_search
from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.search.config import BudgetConfig, FigsConfig
from mobilenas_tf.spaces import named_space
from mobilenas_tf.training.config import (
    AugmentationConfig,
    DataConfig,
    TrainingConfig,
)

_MACS = flags.DEFINE_float(
    "max_macs", 20e6, "Budget of the classifier, whose backbone is then a detector's."
)
_CLASS_EPOCHS = flags.DEFINE_integer(
    "classification_epochs",
    8,
    "Epochs of the search by classification, whose data set has fewer images.",
)

SIDES = ("detection", "classification")

Results = Mapping[str, Any]


def main(_: Sequence[str]) -> None:
    """Runs all jobs, prints the table and one JSON object."""
    results = run_jobs(_jobs(), _work, results_folder())
    trainings = {
        side: [results[f"train_{side}_{seed}"] for seed in seeds()] for side in SIDES
    }
    test_map = {side: precision(trainings[side]) for side in SIDES}
    rows = [{"searched_by": side, **mean_figures(trainings[side])} for side in SIDES]
    print(format_table(list(rows[0]), rows))
    evidence.finish(
        figures={
            "rows": rows,
            "test_map": test_map,
            "detection_minus_classification_points": paired_difference(
                test_map["detection"], test_map["classification"]
            ),
            "total_cpu_seconds": sum(r["cpu_seconds"] for r in results.values()),
        },
        settings=_settings() | {"seeds": len(seeds())},
        targets=[],
    )


def _settings() -> dict[str, Any]:
    return protocol().settings() | {
        "max_macs": _MACS.value,
        "classification_epochs": _CLASS_EPOCHS.value,
    }


def _jobs() -> list[Job]:
    jobs = []
    for seed in seeds():
        searches = {side: f"search_{side}_{seed}" for side in SIDES}
        needs = {
            searches["classification"]: (),
            searches["detection"]: (searches["classification"],),
            **{f"train_{side}_{seed}": (searches[side],) for side in SIDES},
        }
        jobs.extend(
            Job(
                name, {**_settings(), "job": name.rsplit("_", 1)[0], "seed": seed}, need
            )
            for name, need in needs.items()
        )
    return jobs


def _work(job: Job, needed: Results) -> dict[str, Any]:
    shared, seed, folder = protocol(), job.settings["seed"], workdir() / job.name
    if job.settings["job"] == "search_classification":
        return _search_classifier(shared, seed=seed, folder=folder)
    (search,) = needed.values()
    detector = found_architecture(needed, search["budget"])
    detector = under_head(shared, detector)
    if job.settings["job"].startswith("train"):
        return run_training(shared, detector, seed=seed, folder=folder)
    budget = float(network_cost(detector).macs)
    result = run_search(
        shared, BudgetConfig(max_macs=(budget,)), seed=seed, folder=folder
    )
    return {**result, "budget": budget}


def _search_classifier(
    shared: DetectionProtocol, *, seed: int, folder: Path
) -> dict[str, Any]:
    one_thread()
    from mobilenas_tf.training.classification import classification_task
    from mobilenas_tf.training.data import load_classification_data

    budget = _MACS.value
    data_config = DataConfig(
        dataset="digits", image_size_px=IMAGE_SIZE_PX, batch_size=32, seed=seed
    )
    data = load_classification_data(data_config, AugmentationConfig())
    training = TrainingConfig(epochs=_CLASS_EPOCHS.value, dropout_rate=0.0, seed=seed)
    result = timed_search(
        folder,
        named_space(shared.space, num_classes=data.num_classes),
        classification_task(data, label_smoothing=training.label_smoothing),
        data,
        config=FigsConfig(space=shared.space),
        budget=BudgetConfig(max_macs=(budget,)),
        optimizer=shared.optimizer,
        training=training,
    )
    return {**result, "budget": budget}


if __name__ == "__main__":
    app.run(main)
