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
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from absl import app, flags

from benchmarks import evidence
from benchmarks.classification_jobs import protocol
from benchmarks.jobs import workdir
from benchmarks.macro_table import (
    TableEntry,
    banded,
    macro_space,
    mean_tau,
    read_table,
)
from mobilenas_tf.json_io import read_json, write_json
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.search.config import OneShotConfig
from mobilenas_tf.training.config import (
    AugmentationConfig,
    OptimizerConfig,
    TrainingConfig,
)

_TABLE = flags.DEFINE_string("table", None, "JSON file of the table.", required=True)
_PER_BAND = flags.DEFINE_integer("per_band", 12, "Networks of each band.", 3)
_CAPS = flags.DEFINE_list("caps", ["40e6", "50e6", "70e6"], "Of multiply-adds.")
_SEARCHES = flags.DEFINE_integer("searches", 3, "Evolutions for each cap.", 1)
_SHARED = flags.DEFINE_bool("shared_kernels", False, "Of a place's operations.")
_POPULATION = flags.DEFINE_integer("population", 32, "Of each evolution.", 4)
_GENERATIONS = flags.DEFINE_integer("generations", 15, "Of each evolution.", 1)
_SHRINK = flags.DEFINE_string("shrink_by", "none", "As of search_one_shot.")
flags.FLAGS.set_default("space", "nas_bench_macro")

BAND = 5e6
LOOK_UPS = 50
MIN_TAU, MAX_REGRET, MAX_MINUTES = 0.60, 0.2, 60.0


def main(_: Sequence[str]) -> None:
    """Trains, scores, searches, prints the tables and one JSON object."""
    from mobilenas_tf.training.data import load_classification_data

    data = load_classification_data(protocol().data_config(0), AugmentationConfig())
    supernet, left, minutes = _supernet(data)
    from mobilenas_tf.search.one_shot_supernets import network_scorer

    scorer = network_scorer(supernet, data, _config())
    table = read_table(_TABLE.value)
    bands = banded(list(table.values()), width=BAND, per_band=_PER_BAND.value, seed=0)
    networks = [entry for band in bands for entry in band]
    started = time.monotonic()
    scores = {id(entry): scorer(entry.genotype) for entry in networks}
    seconds = time.monotonic() - started
    measures: dict[str, Callable[[TableEntry], float]] = {
        "supernet": lambda entry: scores[id(entry)],
        "multiply-adds": lambda entry: entry.macs,
        "parameters": lambda entry: entry.params,
        "layers": lambda entry: entry.layers,
    }
    rows = [
        {
            "ranked by": name,
            "mean tau in bands": mean_tau(
                bands, {id(entry): measure(entry) for entry in networks}
            ),
            "tau over all": mean_tau(
                [networks], {id(entry): measure(entry) for entry in networks}
            ),
        }
        for name, measure in measures.items()
    ]
    print(format_table(list(rows[0]), rows))
    regrets = [_regrets(float(cap), table, left, scorer) for cap in _CAPS.value]
    print(format_table(list(regrets[0]), regrets))
    ours, *others = (row["mean tau in bands"] for row in rows)
    evidence.finish(
        figures={
            "rows": rows,
            "regrets": regrets,
            "training_minutes": minutes,
            "networks": len(networks),
            "bands": len(bands),
            "scored_per_second": len(networks) / seconds,
        },
        settings=protocol().settings()
        | {"config": dataclasses.asdict(_config()), "per_band": _PER_BAND.value},
        targets=[
            evidence.target(
                "mean Kendall tau inside bands of 5 M multiply-adds",
                ours,
                MIN_TAU,
                at_most=False,
                baseline=max(others),
            ),
            evidence.target("minutes of training", minutes, MAX_MINUTES, at_most=True),
            *(
                evidence.target(
                    f"regret under {row['cap']:.3g} multiply-adds, mean of "
                    f"{_SEARCHES.value} searches",
                    row["evolution"],
                    MAX_REGRET,
                    at_most=True,
                    baseline=min(row["random look-ups"], row["most layers"]),
                )
                for row in regrets
            ),
        ],
    )


def _config() -> OneShotConfig:
    return OneShotConfig(
        space="nas_bench_macro",
        has_shared_kernels=_SHARED.value,
        shrink_by=_SHRINK.value,  # pyright: ignore[reportArgumentType]
        population=_POPULATION.value,
        generations=_GENERATIONS.value,
    )


def _supernet(data: Any) -> tuple[Any, Any, float]:
    """Returns a trained supernet, the space left, and the minutes it took."""
    from mobilenas_tf.search.one_shot_supernets import (
        DESCRIPTION,
        read_supernet,
        train_supernet,
    )
    from mobilenas_tf.training.run_dir import open_run_dir

    folder = workdir() / "supernet"
    minutes_file = workdir() / "minutes.json"
    if (folder / DESCRIPTION).exists():
        return *read_supernet(folder, macro_space()), read_json(minutes_file)["minutes"]
    run = open_run_dir(folder, config={"search": _config()}, command=[])
    started = time.monotonic()
    supernet, left = train_supernet(
        macro_space(),
        data,
        run,
        config=_config(),
        optimizer=OptimizerConfig(
            learning_rate=protocol().learning_rate, gradient_clip_norm=5.0
        ),
        training=TrainingConfig(epochs=protocol().epochs, dropout_rate=0.0),
    )
    minutes = (time.monotonic() - started) / 60
    write_json(minutes_file, {"minutes": minutes})
    return supernet, left, minutes


def _regrets(
    cap: float, table: dict[Any, TableEntry], left: Any, scorer: Any
) -> dict[str, Any]:
    """Returns what the networks found under a cap are behind the table's best."""
    from mobilenas_tf.costs.network import network_cost
    from mobilenas_tf.search.evolution import Journal, evolve, pareto_front

    under = [entry for entry in table.values() if entry.macs <= cap]
    best = max(entry.accuracy for entry in under)
    space = macro_space()
    journal = Journal(workdir() / "evaluations.jsonl", left)
    found = []
    for seed in range(_SEARCHES.value):
        rows = evolve(
            left,
            scorer,
            journal,
            {"macs": (lambda network: float(network_cost(network).macs), cap)},
            population=_config().population,
            generations=_config().generations,
            seed=seed,
        )
        genotype = pareto_front(rows, "macs")[-1].genotype
        found.append(best - table[space.resolve(genotype)].accuracy)
    rng = np.random.default_rng(0)
    draws = [
        best
        - max(under[int(i)].accuracy for i in rng.integers(len(under), size=LOOK_UPS))
        for _ in range(100)
    ]
    most = max(entry.layers for entry in under)
    of_most = [best - entry.accuracy for entry in under if entry.layers == most]
    return {
        "cap": cap,
        "best": best,
        "evolution": float(np.mean(found)),
        "random look-ups": float(np.mean(draws)),
        "most layers": float(np.mean(of_most)),
    }


if __name__ == "__main__":
    app.run(main)
