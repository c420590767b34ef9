"""BS-NAS: train a one-shot supernet once, then find networks for any budget in it.

Source: Shen et al., BS-NAS: Broadening-and-shrinking one-shot NAS with searchable
numbers of channels, arXiv:2003.09821. Differs: only its abstract is public; this is a
reconstruction out of the best verified practice, named where each part stands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.stats
import tqdm

from mobilenas_tf.costs.latency_table import LatencyTable, required_table
from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.costs.width_latency import network_latency
from mobilenas_tf.json_io import write_json
from mobilenas_tf.models.network_io import INHERITED_WEIGHTS, save_network
from mobilenas_tf.models.one_shot_supernet import OneShotSupernet
from mobilenas_tf.models.one_shot_weights import inherit_weights
from mobilenas_tf.one_shot_space import OneShotSpace
from mobilenas_tf.search.config import OneShotBudgetConfig, OneShotConfig
from mobilenas_tf.search.evolution import (
    Budgets,
    Journal,
    Scored,
    evolve,
    pareto_front,
)
from mobilenas_tf.search.one_shot_supernets import (
    TURNED_OFF,
    network_scorer,
    read_turn_offs,
)
from mobilenas_tf.spec import Architecture
from mobilenas_tf.training.data import ClassificationData
from mobilenas_tf.training.one_shot_scoring import NetworkScorer
from mobilenas_tf.training.run_dir import RunDir

FRONT, JOURNAL = "front", "evaluations.jsonl"
# Networks whose scores on two halves of the images are compared.
_RELIABILITY_NETWORKS = 24


@dataclasses.dataclass(frozen=True)
class OneShotResult:
    """What an evolution found: the best network, and the front, cheapest first."""

    best: Scored
    architecture: Architecture
    front: tuple[Scored, ...]


def one_shot_budgets(
    config: OneShotBudgetConfig, table: LatencyTable | None, *, space: str
) -> Budgets:
    """Returns cost function and budget by metric; the first is the front's.

    Raises:
        ValueError: If a budget in milliseconds has no table.
    """
    budgets: dict[str, tuple[Callable[[Architecture], float], float]] = {}
    if config.max_ms is not None:
        budgets["ms"] = network_latency(required_table(table, space)), config.max_ms
    if config.max_macs is not None:
        budgets["macs"] = (
            lambda network: float(network_cost(network).macs),
            (config.max_macs),
        )
    return budgets


def search_supernet(
    supernet: OneShotSupernet,
    space: OneShotSpace,
    data: ClassificationData,
    run: RunDir,
    *,
    config: OneShotConfig,
    budgets: Budgets,
    seed: int,
) -> OneShotResult:
    """Searches a trained supernet for the best networks within the budgets.

    Writes into the run folder: the journal as it goes, then the best network as
    `architecture.json` with its inherited weights, the front's in `front/0` on, and
    `one_shot.json`. A search that was stopped goes on.

    Args:
        supernet: Trained.
        space: What shrinking has left of its space.
        data: Validation images score.
        run: Run folder.
        config: The method's options.
        budgets: What networks may cost.
        seed: Of the evolution.
    """
    scorer = network_scorer(supernet, data, config)
    journal = Journal(run.path / JOURNAL, space, measure=scorer.measure)
    metric = next(iter(budgets))
    generations: list[dict[str, Any]] = []

    def note(number: int, found: Sequence[Scored]) -> None:
        front = pareto_front(found, metric)
        generations.append(
            {
                "generation": number,
                "networks": len(found),
                "best": front[-1].score,
                "front": [[row.costs[metric], row.score] for row in front],
            }
        )
        tqdm.tqdm.write(
            f"generation {number}/{config.generations}: {len(found)} networks, best "
            f"score {front[-1].score:.3f} at {front[-1].costs[metric]:,.4g} {metric}"
        )

    found = evolve(
        space,
        scorer.scores,
        journal,
        budgets,
        population=config.population,
        generations=config.generations,
        seed=seed,
        progress=note,
    )
    front = pareto_front(found, metric)
    for folder, row in [
        *((run.path / FRONT / str(rank), row) for rank, row in enumerate(front)),
        (run.path, front[-1]),
    ]:
        folder.mkdir(parents=True, exist_ok=True)
        save_network(
            folder,
            space.resolve(row.genotype),
            inherit_weights(supernet, row.genotype, scorer.calibration),
            weights_file=INHERITED_WEIGHTS,
        )
    write_json(
        run.path / "one_shot.json",
        {
            "space": space.name,
            "metric": metric,
            "budgets": {name: budget for name, (_, budget) in budgets.items()},
            "log10_networks": space.log10_size(),
            "measure": scorer.measure,
            "evaluated": len(found),
            "reliability": _reliability(scorer, found, seed=seed),
            "generations": generations,
            "front": [
                {
                    **dataclasses.asdict(row),
                    "accuracy": scorer.accuracy(row.genotype),
                }
                for row in front
            ],
            "turned_off": [
                dataclasses.asdict(event)
                for event in read_turn_offs(run.path / TURNED_OFF)
            ],
        },
    )
    return OneShotResult(front[-1], space.resolve(front[-1].genotype), tuple(front))


def _reliability(
    scorer: NetworkScorer, found: Sequence[Scored], *, seed: int
) -> float | None:
    """Returns Kendall's tau of networks' ranks by two halves of the images.

    How far a ranking may be trusted that rests on so many images; it says nothing of
    how well inherited weights rank. None of fewer than three networks.
    """
    rng = np.random.default_rng(seed)
    count = min(_RELIABILITY_NETWORKS, len(found))
    if count < 3:
        return None
    chosen = [found[int(i)] for i in rng.choice(len(found), count, replace=False)]
    scores = [scorer.image_scores(row.genotype) for row in chosen]
    halves = [[float(np.mean(each[start::2])) for each in scores] for start in (0, 1)]
    tau = scipy.stats.kendalltau(*halves)
    return float(np.asarray(tau)[0])
