"""What each part of the one-shot search is worth, on a cheap proxy.

Supernets of NAS-Bench-Macro's operations with few channels on small images: as a whole,
and with one part left out or changed. Each is judged by NAS-Bench-Macro's table: how it
ranks networks inside bands of multiply-adds, and how far behind the best network under
a cap evolution with it ends. Without the sandwich two random networks take its place;
one network a step is trained for as many networks.

Paired seeds, each run's result is stored as it ends; a stopped script goes on.

Run: python -m benchmarks.one_shot_ablation --table=nas-bench-macro_cifar10.json \
    --dataset=tfds:cifar10_jpeg --data_dir=DIR
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import app, flags

from benchmarks import evidence, one_shot_jobs
from benchmarks.classification_jobs import protocol
from benchmarks.jobs import (
    Job,
    one_thread,
    results_folder,
    run_jobs,
    seeds,
    workdir,
)
from benchmarks.macro_table import the_table
from benchmarks.paired import paired_difference
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.search.config import OneShotConfig

_CAP = flags.DEFINE_float("cap", 50e6, "Of multiply-adds, for the regret.")
flags.FLAGS.set_default("seeds", 3)
flags.FLAGS.set_default("channel_ratio", 0.5)
flags.FLAGS.set_default("searches", 1)
flags.FLAGS.set_default("learning_rate", 0.2)

WHOLE = OneShotConfig(
    space="nas_bench_macro",
    shrink_networks=96,
    population=16,
    generations=8,
)
NETWORKS = 4  # of a step
ONE_A_STEP = "one network a step"
ARMS: dict[str, Mapping[str, Any]] = {
    "whole": {},
    "without distillation": {"has_distillation": False},
    "without sandwich": {"has_sandwich": False, "sampled_networks": NETWORKS},
    ONE_A_STEP: {"has_sandwich": False, "sampled_networks": 1},
    "uniform in genotypes": {"is_cost_uniform": False},
    "without shrinking": {"shrink_by": "none"},
    "random shrinking": {"shrink_by": "random"},
}
KEYS = ("tau", "accuracy_tau", "tau_over_all", "regret", "cpu_seconds")
# What the paired differences are of, the larger the better: a key times a factor.
FIGURES = {
    "tau": ("tau", 1.0),
    "negative regret": ("regret", -1.0),
    "negative minutes": ("cpu_seconds", -1 / 60),
}


def main(_: Sequence[str]) -> None:
    """Runs all jobs, prints tables of the arms and one JSON object."""
    results = run_jobs(_jobs(), _work, results_folder())
    by_arm = {arm: [results[_name(arm, seed)] for seed in seeds()] for arm in ARMS}
    rows = [
        {
            "arm": arm,
            **{key: float(np.mean([run[key] for run in runs])) for key in KEYS},
        }
        for arm, runs in by_arm.items()
    ]
    print(format_table(list(rows[0]), rows))
    differences = [
        {
            "whole against": arm,
            "of": figure,
            **paired_difference(
                *(
                    [factor * run[key] for run in each]
                    for each in (by_arm["whole"], runs)
                )
            ),
        }
        for arm, runs in by_arm.items()
        if arm != "whole"
        for figure, (key, factor) in FIGURES.items()
    ]
    print(format_table(list(differences[0]), differences))
    evidence.finish(
        figures={"rows": rows, "differences": differences, "runs": results},
        settings=_settings() | {"seeds": len(seeds())},
        targets=[
            evidence.target(
                f"mean {row['of']} of the whole against {row['whole against']}",
                row["mean"],
                0.0,
                at_most=False,
            )
            for row in differences
            if row["whole against"] in ("without shrinking", "random shrinking")
        ],
    )


def _name(arm: str, seed: int) -> str:
    return f"{arm.replace(' ', '_')}_{seed}"


def _settings() -> dict[str, Any]:
    return one_shot_jobs.settings() | {
        "cap": _CAP.value,
        "whole": dataclasses.asdict(WHOLE),
    }


def _jobs() -> list[Job]:
    """Returns all runs, seed by seed."""
    return [
        Job(
            _name(arm, seed),
            {**_settings(), "seed": seed, "arm": arm, "changes": changes},
        )
        for seed in seeds()
        for arm, changes in ARMS.items()
    ]


def _work(job: Job, _: Mapping[str, Any]) -> dict[str, Any]:
    one_thread()
    seed, folder = job.settings["seed"], workdir() / job.name
    config = dataclasses.replace(WHOLE, **job.settings["changes"])
    data = one_shot_jobs.load_data(seed)
    epochs = protocol().epochs
    if job.settings["arm"] == ONE_A_STEP:
        epochs *= NETWORKS
    trained = one_shot_jobs.train(config, data, epochs=epochs, seed=seed, folder=folder)
    table = the_table()
    by_supernet, by_accuracy = one_shot_jobs.rank_rows(table, trained.scorer)[:2]
    regret = one_shot_jobs.regret_row(_CAP.value, table, trained, config, folder)
    return {
        "tau": by_supernet["mean tau in bands"],
        "accuracy_tau": by_accuracy["mean tau in bands"],
        "tau_over_all": by_supernet["tau over all"],
        "regret": regret["evolution"],
        "turned_off": trained.left.turned_off,
        "minutes": trained.minutes,
        "cpu_seconds": trained.cpu_seconds,
    }


if __name__ == "__main__":
    app.run(main)
