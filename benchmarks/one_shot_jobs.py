"""A one-shot supernet of NAS-Bench-Macro's space, and how the table judges it.

The supernet may be a proxy: smaller images, fewer channels. It chooses among the same
operations, and what its networks cost is that of the table's.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from benchmarks import classification_jobs
from benchmarks.classification_jobs import protocol
from benchmarks.macro_table import Table, TableEntry, banded, macro_space, mean_tau
from mobilenas_tf.one_shot_space import OneShotGenotype, OneShotSpace
from mobilenas_tf.search.config import OneShotConfig
from mobilenas_tf.spec import round_channels
from mobilenas_tf.training.config import (
    OptimizerConfig,
    TrainingConfig,
)

if TYPE_CHECKING:
    from mobilenas_tf.training.data import ClassificationData
    from mobilenas_tf.training.one_shot_scoring import NetworkScorer

_IMAGE_SIZE = flags.DEFINE_integer("image_size_px", 16, "Of the supernet.", 8)
_RATIO = flags.DEFINE_float("channel_ratio", 1.0, "Of the supernet's channels.", 0.1)
_PER_BAND = flags.DEFINE_integer("per_band", 12, "Networks of each band.", 3)
_SEARCHES = flags.DEFINE_integer("searches", 3, "Evolutions for each cap.", 1)
flags.FLAGS.set_default("space", "nas_bench_macro")

BAND = 5e6  # multiply-adds
LOOK_UPS = 50


def settings() -> dict[str, Any]:
    """Returns what decides the results, by the flags."""
    return protocol().settings() | {
        "image_size_px": _IMAGE_SIZE.value,
        "channel_ratio": _RATIO.value,
        "per_band": _PER_BAND.value,
        "searches": _SEARCHES.value,
    }


def proxy_space() -> OneShotSpace:
    """Returns the table's space for the images and with the channels of the flags."""

    def fewer(channels: Sequence[int]) -> tuple[int, ...]:
        return tuple(round_channels(each * _RATIO.value) for each in channels)

    space = macro_space()
    return dataclasses.replace(
        space,
        image_size_px=_IMAGE_SIZE.value,
        stem_channels=fewer(space.stem_channels),
        head_channels=fewer(space.head_channels),
        stages=tuple(
            dataclasses.replace(stage, out_channels=fewer(stage.out_channels))
            for stage in space.stages
        ),
    )


def load_data(seed: int) -> ClassificationData:
    """Returns the seed's images at the supernet's size."""
    return classification_jobs.load_data(
        protocol(), seed=seed, size_px=_IMAGE_SIZE.value
    )


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained supernet: what scores its networks, what is left, what it took."""

    scorer: NetworkScorer
    left: OneShotSpace
    minutes: float
    cpu_seconds: float


def train(
    config: OneShotConfig,
    data: ClassificationData,
    *,
    epochs: int,
    seed: int,
    folder: Path,
) -> Trained:
    """Trains a supernet; one that was trained whole in the folder is read."""
    from mobilenas_tf.json_io import read_json, write_json
    from mobilenas_tf.search.one_shot_supernets import (
        network_scorer,
        read_supernet,
        train_supernet,
    )
    from mobilenas_tf.training.run_dir import open_run_dir

    took = folder / "took.json"
    if took.exists():
        supernet, left = read_supernet(folder, proxy_space())
        return Trained(network_scorer(supernet, data, config), left, **read_json(took))
    run = open_run_dir(folder, config={"search": config, "seed": seed}, command=[])
    started, cpu_started = time.monotonic(), time.process_time()
    supernet, left = train_supernet(
        proxy_space(),
        data,
        run,
        config=config,
        optimizer=OptimizerConfig(
            learning_rate=protocol().learning_rate,
            weight_decay=5e-4,
            gradient_clip_norm=5.0,
        ),
        training=TrainingConfig(
            epochs=epochs,
            dropout_rate=0.0,
            seed=seed,
            label_smoothing=0.0,
            checkpoint_every_epochs=max(epochs // 10, 1),
        ),
    )
    seconds = {
        "minutes": (time.monotonic() - started) / 60,
        "cpu_seconds": time.process_time() - cpu_started,
    }
    write_json(took, seconds)
    return Trained(network_scorer(supernet, data, config), left, **seconds)


def rank_rows(table: Table, scorer: NetworkScorer) -> list[dict[str, Any]]:
    """Returns, for scores and for plain counts, how they rank the same networks.

    Kendall's tau against the table's accuracy: its mean inside bands of multiply-adds,
    and over all bands.
    """
    bands = banded(list(table.values()), width=BAND, per_band=_PER_BAND.value, seed=0)
    networks = [entry for band in bands for entry in band]
    evaluated = {id(entry): scorer.evaluate(entry.genotype) for entry in networks}
    measures: dict[str, Callable[[TableEntry], float]] = {
        "supernet": lambda entry: evaluated[id(entry)][0],
        "supernet, by accuracy": lambda entry: evaluated[id(entry)][1],
        "multiply-adds": lambda entry: entry.macs,
        "parameters": lambda entry: entry.params,
        "layers": lambda entry: entry.layers,
    }
    rows = []
    for name, measure in measures.items():
        scores = {id(entry): measure(entry) for entry in networks}
        rows.append(
            {
                "ranked by": name,
                "mean tau in bands": mean_tau(bands, scores),
                "tau over all": mean_tau([networks], scores),
                "networks": len(networks),
                "bands": len(bands),
            }
        )
    return rows


def regret_row(
    cap: float, table: Table, trained: Trained, config: OneShotConfig, folder: Path
) -> dict[str, Any]:
    """Returns by how much what is found under a cap is behind the table's best.

    In points of the table's accuracy, the mean of the searches, beside random look-ups
    in the table and the networks of most layers under the cap.
    """
    from mobilenas_tf.costs.network import network_cost
    from mobilenas_tf.search.evolution import Journal, evolve, pareto_front

    space = dataclasses.replace(macro_space(), turned_off=trained.left.turned_off)
    operations = {decision.path for decision in macro_space().decisions}

    def scores(genotypes: Sequence[OneShotGenotype]) -> Iterator[float]:
        # Channels are the proxy's own.
        return trained.scorer.scores(
            [{p: v for p, v in g.items() if p in operations} for g in genotypes]
        )

    under = [entry for entry in table.values() if entry.macs <= cap]
    best = max(entry.accuracy for entry in under)
    journal = Journal(
        folder / "evaluations.jsonl", space, measure=trained.scorer.measure
    )
    found = []
    for seed in range(_SEARCHES.value):
        rows = evolve(
            space,
            scores,
            journal,
            {"macs": (lambda network: float(network_cost(network).macs), cap)},
            population=config.population,
            generations=config.generations,
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
        "searches": found,
        "random look-ups": float(np.mean(draws)),
        "most layers": float(np.mean(of_most)),
        "evaluated": len(journal.scores),
    }
