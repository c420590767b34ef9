"""The searches of `four_methods`: each on the common space, each on one thread.

What a method is given is what its own comparisons gave it (`figs_cifar`, `dnas_cifar`,
`one_shot_ablation`); how long it takes is set by `EPOCHS`, so that all take about as
many processor seconds, and by the clock for the two that train candidates one by one.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmarks import common_space
from benchmarks.classification_jobs import Protocol, load_data
from benchmarks.common_space import SPACE, macs
from benchmarks.dnas_jobs import random_genotype, run_dnas
from benchmarks.jobs import one_thread
from benchmarks.timed_search import timed_search
from mobilenas_tf.costs.block_costs import block_costs
from mobilenas_tf.decisions import Choices
from mobilenas_tf.json_io import read_json, to_plain
from mobilenas_tf.search.config import (
    BudgetConfig,
    DnasConfig,
    FigsConfig,
    JointConfig,
    OneShotConfig,
    OperatorBudgetConfig,
)
from mobilenas_tf.spec import Architecture
from mobilenas_tf.training.config import (
    AugmentationConfig,
    OptimizerConfig,
    TrainingConfig,
)

T = TypeVar("T")
FIGS, DNAS, ONE_SHOT, JOINT = "figs", "dnas", "bs_nas", "joint"
RANDOM = "random search"
# Of a search: about as many processor seconds as `SEARCH_SECONDS` on our machine, of
# which tracing takes a minute for DNAS and BS-NAS.
EPOCHS = {FIGS: 11, DNAS: 17, ONE_SHOT: 4}
SEARCH_SECONDS = 200.0  # of the processor
# A candidate of JointNAS and of the random search: as many steps as 9,000 images are.
CANDIDATE_IMAGES, CANDIDATE_VALIDATION, CANDIDATE_EPOCHS = 5000, 0.2, 2
# Below the budget: of the random search's networks, and of those that BS-NAS and
# JointNAS give, which take the best of equal costs out of all that they have scored.
TOLERANCE = 0.05
# About as many evaluations as the clock allows, so that the fine stage has its share.
JOINT_CONFIG = JointConfig(
    space=SPACE.name, evaluations=24, first_round=6, batch=3, pool=1024
)
ONE_SHOT_CONFIG = OneShotConfig(
    space=SPACE.name,
    shrink_rounds=2,
    shrink_networks=24,
    population=16,
    generations=8,
)


@dataclasses.dataclass(frozen=True)
class Search:
    """What a search is given."""

    shared: Protocol
    max_macs: float
    seed: int
    folder: Path  # empty


def run_method(method: str, search: Search) -> dict[str, Any]:
    """Searches; returns the network as `architecture`, perhaps a recipe, and seconds.

    Args:
        method: One of `METHODS`.
        search: What it is given.
    """
    one_thread()
    shutil.rmtree(search.folder, ignore_errors=True)
    search.folder.mkdir(parents=True)
    started, cpu_started = time.monotonic(), time.process_time()
    found = METHODS[method](search)
    return {
        "seconds": time.monotonic() - started,
        "cpu_seconds": time.process_time() - cpu_started,
        **found,
    }


def _protocol(search: Search, method: str) -> Protocol:
    return dataclasses.replace(search.shared, search_epochs=EPOCHS[method])


def _figs(search: Search) -> dict[str, Any]:
    from mobilenas_tf.training.classification import classification_task

    shared = _protocol(search, FIGS)
    data = load_data(shared, seed=search.seed, size_px=SPACE.image_size_px)
    training = TrainingConfig(
        epochs=shared.search_epochs, dropout_rate=0.0, seed=search.seed
    )
    result = timed_search(
        search.folder,
        common_space.for_figs(),
        classification_task(data, label_smoothing=training.label_smoothing),
        data,
        config=FigsConfig(space=SPACE.name),
        budget=BudgetConfig(max_macs=(search.max_macs,)),
        optimizer=shared.optimizer,
        training=training,
    )
    (found,) = result["networks"].values()
    return {"architecture": found["architecture"]}


def _dnas(search: Search) -> dict[str, Any]:
    shared = _protocol(search, DNAS)
    found = run_dnas(
        shared,
        common_space.for_dnas(),
        DnasConfig(space=SPACE.name),
        OperatorBudgetConfig(max_macs=search.max_macs),
        None,
        # As `dnas_cifar`: half of what a network alone learns by.
        optimizer=OptimizerConfig(learning_rate=shared.learning_rate / 2),
        seed=search.seed,
        folder=search.folder,
    )
    return {"architecture": found["architecture"]}


def _one_shot(search: Search) -> dict[str, Any]:
    from mobilenas_tf.search.evolution import Journal
    from mobilenas_tf.search.one_shot import JOURNAL, search_supernet
    from mobilenas_tf.search.one_shot_supernets import train_supernet
    from mobilenas_tf.training.run_dir import open_run_dir

    shared = _protocol(search, ONE_SHOT)
    data = load_data(shared, seed=search.seed, size_px=SPACE.image_size_px)
    run = open_run_dir(search.folder, config={"search": ONE_SHOT_CONFIG}, command=[])
    supernet, left = train_supernet(
        SPACE,
        data,
        run,
        config=ONE_SHOT_CONFIG,
        optimizer=dataclasses.replace(shared.optimizer, gradient_clip_norm=5.0),
        training=TrainingConfig(
            epochs=shared.search_epochs,
            dropout_rate=0.0,
            label_smoothing=0.0,
            seed=search.seed,
        ),
    )
    search_supernet(
        supernet,
        left,
        data,
        run,
        config=ONE_SHOT_CONFIG,
        budgets={"macs": (macs, search.max_macs)},
        seed=search.seed,
    )
    measure = read_json(run.path / "one_shot.json")["measure"]
    scores = Journal(run.path / JOURNAL, SPACE, measure=measure).scores
    best, _ = _best(
        ((network, score, None) for network, score in scores.items()), search.max_macs
    )
    return {"architecture": to_plain(best)}


def _best(
    scored: Iterable[tuple[Architecture, float, T]], max_macs: float
) -> tuple[Architecture, T]:
    """Returns the best of those networks that use the budget, or else of all.

    Args:
        scored: Networks within the budget, their scores, and what belongs to them.
        max_macs: The budget.
    """
    scored = list(scored)
    using = [each for each in scored if macs(each[0]) >= (1 - TOLERANCE) * max_macs]
    network, _, belongings = max(using or scored, key=lambda each: each[1])
    return network, belongings


def _joint(search: Search) -> dict[str, Any]:
    from mobilenas_tf.search.candidate_training import joint_problem
    from mobilenas_tf.search.joint import JointSearch
    from mobilenas_tf.search.joint_journal import EvaluationJournal
    from mobilenas_tf.search.joint_recipe import recipe_of
    from mobilenas_tf.search.workers import InProcess

    space = common_space.PlacesAsDecisions()
    problem = joint_problem(space)
    joint = JointSearch(
        problem,
        {"macs": search.max_macs},
        EvaluationJournal(
            search.folder / "evaluations.jsonl", problem, measure="benchmark"
        ),
        config=JOINT_CONFIG,
        epochs=CANDIDATE_EPOCHS,
        seed=search.seed,
    )
    end = time.process_time() + SEARCH_SECONDS

    def stop_in_time(_: object) -> None:
        if time.process_time() > end:
            raise _TimeIsUpError

    try:
        joint.run(InProcess(_candidate_trainer(search)), on_evaluation=stop_in_time)
    except _TimeIsUpError:
        pass
    best, choices = _best(
        (
            (space.resolve(choices), accuracy, choices)
            for choices, accuracy in joint.accuracies()
        ),
        search.max_macs,
    )
    return {
        "architecture": to_plain(best),
        "recipe": to_plain(recipe_of(choices)),
        "candidates": joint.trained,
    }


class _TimeIsUpError(Exception):
    """The processor seconds of the search are used up."""


def _random_search(search: Search) -> dict[str, Any]:
    """Trains random networks that use the budget, by the shared recipe."""
    from mobilenas_tf.search.joint_recipe import DEFAULT_RECIPE, PREFIX
    from mobilenas_tf.search.workers import Order
    from mobilenas_tf.training.optimizers import LEARNING_RATES

    times_usual = search.shared.learning_rate / LEARNING_RATES["sgd"]
    recipe = DEFAULT_RECIPE | {f"{PREFIX}learning_rate": times_usual}
    train = _candidate_trainer(search)
    operators = common_space.for_dnas()
    costs = block_costs(operators, macs)
    rng = np.random.default_rng(search.seed)
    end = time.process_time() + SEARCH_SECONDS
    reached: list[tuple[float, Choices]] = []
    while time.process_time() < end:
        drawn = random_genotype(
            operators, costs, search.max_macs, tolerance=TOLERANCE, rng=rng
        )
        choices: Choices = {**common_space.operations_of(drawn), **recipe}
        curve = train(Order(choices, CANDIDATE_EPOCHS)).curve
        reached.append((curve[-1] if curve else 0.0, choices))
    _, best = max(reached, key=lambda each: each[0])
    return {
        "architecture": to_plain(common_space.PlacesAsDecisions().resolve(best)),
        "candidates": len(reached),
    }


def _candidate_trainer(search: Search) -> Any:
    """Returns what trains the candidates of both searches that train them."""
    from mobilenas_tf.search.candidate_training import (
        CandidateSettings,
        CandidateTrainer,
    )

    data = dataclasses.replace(
        search.shared.data_config(search.seed, SPACE.image_size_px),
        max_train_images=CANDIDATE_IMAGES,
        validation_fraction=CANDIDATE_VALIDATION,
    )
    training = TrainingConfig(
        epochs=CANDIDATE_EPOCHS, batch_norm_momentum=0.9, seed=search.seed
    )
    settings = CandidateSettings(
        data, AugmentationConfig(), search.shared.optimizer, training
    )
    return CandidateTrainer(common_space.PlacesAsDecisions(), settings)


METHODS: Mapping[str, Callable[[Search], dict[str, Any]]] = {
    FIGS: _figs,
    DNAS: _dnas,
    ONE_SHOT: _one_shot,
    JOINT: _joint,
    RANDOM: _random_search,
}
