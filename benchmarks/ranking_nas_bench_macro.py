"""How well a one-shot supernet ranks networks whose trained accuracy is known.

A supernet of NAS-Bench-Macro's space is trained on CIFAR-10, then scores networks out
of bands of 5 M multiply-adds. Within a band multiply-adds tell next to nothing, over
all bands they and the count of layers tell nearly everything: ranking within bands is
what counts. Then evolution looks for the best network under caps, judged by the table.

Run: python -m benchmarks.ranking_nas_bench_macro --table=nas-bench-macro_cifar10.json \
    --dataset=tfds:cifar10_jpeg --data_dir=DIR
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from absl import app, flags

from benchmarks import evidence, one_shot_jobs
from benchmarks.classification_jobs import protocol
from benchmarks.jobs import workdir
from benchmarks.macro_table import the_table
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.search.config import OneShotConfig

_CAPS = flags.DEFINE_list("caps", ["40e6", "50e6", "70e6"], "Of multiply-adds.")
_SHARED = flags.DEFINE_bool("shared_kernels", False, "Of a place's operations.")
_SANDWICH = flags.DEFINE_bool("sandwich", True, "As of search_one_shot.")
_SAMPLED = flags.DEFINE_integer("sampled_networks", 2, "As of search_one_shot.")
_SHRINK = flags.DEFINE_string("shrink_by", "none", "As of search_one_shot.")
_SCORE_IMAGES = flags.DEFINE_integer("score_images", 2048, "As of search_one_shot.")
_POPULATION = flags.DEFINE_integer("population", 32, "Of each evolution.", 4)
_GENERATIONS = flags.DEFINE_integer("generations", 15, "Of each evolution.", 1)

MIN_TAU, MAX_REGRET, MAX_MINUTES = 0.60, 0.2, 60.0


def main(_: Sequence[str]) -> None:
    """Trains, scores, searches, prints the tables and one JSON object."""
    table, config, folder = the_table(), _config(), workdir() / "supernet"
    data = one_shot_jobs.load_data(seed=0)
    trained = one_shot_jobs.train(
        config, data, epochs=protocol().epochs, seed=0, folder=folder
    )
    rows = one_shot_jobs.rank_rows(table, trained.scorer)
    print(format_table(list(rows[0]), rows))
    regrets = [
        one_shot_jobs.regret_row(float(cap), table, trained, config, folder)
        for cap in _CAPS.value
    ]
    print(format_table(list(regrets[0]), regrets))
    ours, _, *others = (row["mean tau in bands"] for row in rows)
    evidence.finish(
        figures={
            "rows": rows,
            "regrets": regrets,
            "training_minutes": trained.minutes,
            "training_cpu_seconds": trained.cpu_seconds,
            "turned_off": trained.left.turned_off,
        },
        settings=one_shot_jobs.settings() | {"config": dataclasses.asdict(config)},
        targets=[
            evidence.target(
                "mean Kendall tau inside bands of 5 M multiply-adds",
                ours,
                MIN_TAU,
                at_most=False,
                baseline=max(others),
            ),
            evidence.target(
                "minutes of training", trained.minutes, MAX_MINUTES, at_most=True
            ),
            *(
                evidence.target(
                    f"regret under {row['cap']:.3g} multiply-adds, mean of "
                    f"{len(row['searches'])} searches",
                    row["evolution"],
                    min(MAX_REGRET, row["random look-ups"], row["most layers"]),
                    at_most=True,
                )
                for row in regrets
            ),
        ],
    )


def _config() -> OneShotConfig:
    return OneShotConfig(
        space="nas_bench_macro",
        has_shared_kernels=_SHARED.value,
        has_sandwich=_SANDWICH.value,
        sampled_networks=_SAMPLED.value,
        shrink_by=_SHRINK.value,  # pyright: ignore[reportArgumentType]
        score_images=_SCORE_IMAGES.value,
        population=_POPULATION.value,
        generations=_GENERATIONS.value,
    )


if __name__ == "__main__":
    app.run(main)
