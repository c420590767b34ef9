"""Networks times recipes, all trained: do recipes change which network is best?

A full-factorial table of 24 networks under 12 recipes, each trained with three seeds
on images of 16 px. Searches see the validation images of two seeds; the test images of
the third, each in its turn, judge what they find. From it follow

- flips: pairs of networks that two recipes rank in opposite order, both by more than
  twice the standard error of the difference of two seeds; how many of them the third
  seed confirms, and how many there would be if recipes helped all networks alike;
- joint search against one of the network alone (default recipe), one of the recipe
  alone (default network), one of both in turn, and random candidates, by as many
  evaluations. The default recipe is that of `train_classifier`.

Each job's result is stored as it ends; a stopped script goes on.

Run: python -m benchmarks.joint_table --dataset=tfds:cifar10_jpeg --data_dir=DIR
"""

from __future__ import annotations

import functools
import itertools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import app, flags

from benchmarks import evidence
from benchmarks.classification_jobs import protocol
from benchmarks.jobs import Job, one_thread, results_folder, run_jobs
from benchmarks.paired import paired_difference
from mobilenas_tf.decisions import Choices, Options, Value
from mobilenas_tf.joint_space import JointSpace, JointStage
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.search.config import JointConfig

if TYPE_CHECKING:
    from mobilenas_tf.search.joint_problem import JointProblem

_COUNTS = flags.DEFINE_list("evaluations", ["12", "24"], "Of each search.")
_RUNS = flags.DEFINE_integer("runs", 30, "Of each search.", 2)
flags.FLAGS.set_default("max_train_images", 2000)
flags.FLAGS.set_default("epochs", 6)

NUM_CLASSES = 10
SEEDS = 3
TEST_BATCHES = 40
ADDITIVE_TABLES = 200
_FIXED: Mapping[str, Any] = {"squeeze_excite": ("off",), "activations": ("relu",)}
SPACE = JointSpace(
    name="joint_table",
    resolution=(16, 16, 4),
    stem_channels=(8, 8),
    stages=(
        JointStage((8, 16), (1, 3), 1, (2, 4), (2, 4), **_FIXED),
        JointStage((16, 32), (1, 3), 2, (2, 4), (2, 4), **_FIXED),
        JointStage((32, 48), (1, 3), 2, (2, 4), (2, 4), **_FIXED),
    ),
    head_expansion=3,
    head_channels=None,
    num_classes=NUM_CLASSES,
)
WIDTHS = {"narrow": (8, 16, 32), "wide": (16, 32, 48)}
NETWORK = (
    Options("width", tuple(WIDTHS)),
    Options("depth", (1, 2, 3)),
    Options("kernel", (3, 5)),
    Options("expansion", (2, 4)),
)
_USUAL = {"mixup": 0, "label_smoothing": 10, "dropout": 10, "drop_path": 0}
REGULARISED = {"usual": _USUAL, "more": _USUAL | {"mixup": 20, "drop_path": 10}}
RECIPE = (
    Options("recipe/optimizer", ("sgd", "adamw")),
    Options("recipe/learning_rate", (1.0, 3.0, 8.0)),
    Options("recipe/regularisation", tuple(REGULARISED)),
)
# A network in the midst, and what `train_classifier` does of itself.
DEFAULT: Choices = {
    **{"width": "narrow", "depth": 2, "kernel": 3, "expansion": 4},
    "recipe/optimizer": "sgd",
    "recipe/learning_rate": 1.0,
    "recipe/regularisation": "usual",
}

# Accuracies in percent of validation and of test images, `[seeds, 2]`, by choices.
Table = Mapping[tuple[Value, ...], np.ndarray]
# (table, seeds that are seen, evaluations, seed) -> choices
Search = Callable[[Table, Sequence[int], int, int], Choices]


def main(_: Sequence[str]) -> None:
    """Trains what is missing, prints tables and one JSON object."""
    table = _table(run_jobs(_jobs(), _work, results_folder()))
    flips = _flips(table)
    print(format_table(list(flips), [flips]))
    rows, differences = [], []
    for count in map(int, _COUNTS.value):
        found = {name: _judged(table, find, count) for name, find in SEARCHES.items()}
        for name, judged in found.items():
            row = {"evaluations": count, "search": name}
            rows.append(
                row
                | {
                    "test points": float(np.mean([value for _, value in judged])),
                    "distinct": len({key for key, _ in judged}),
                }
            )
            if name != JOINT:
                ours, others = (
                    [value for _, value in each] for each in (found[JOINT], judged)
                )
                differences.append(row | paired_difference(ours, others))
    print(format_table(list(rows[0]), rows))
    print(format_table(list(differences[0]), differences))
    evidence.finish(
        figures={
            "flips": flips,
            "searches": rows,
            "joint_minus": differences,
            "table": [
                {**_choices(key), "validation_and_test": values.tolist()}
                for key, values in table.items()
            ],
        },
        settings={**_settings(), "runs": _RUNS.value, "default": DEFAULT},
        targets=[
            evidence.target(
                f"joint - {row['search']} after {row['evaluations']}, in points, lower "
                "end (95 %)",
                row["low_95"],
                0.0,
                at_most=False,
            )
            for row in differences
            if row["search"] in (NETWORK_ALONE, RECIPE_ALONE)
        ],
    )


def _settings() -> dict[str, Any]:
    shared = protocol().settings()
    return {
        name: shared[name]
        for name in ("dataset", "max_train_images", "epochs", "batch_size")
    }


def _keys(decisions: Sequence[Options]) -> list[tuple[Value, ...]]:
    return list(itertools.product(*(decision.values for decision in decisions)))


def _choices(key: Sequence[Value]) -> Choices:
    paths = [decision.path for decision in (*NETWORK, *RECIPE)]
    return dict(zip(paths, key, strict=True))


def _key(choices: Mapping[str, Value]) -> tuple[Value, ...]:
    return tuple(choices[decision.path] for decision in (*NETWORK, *RECIPE))


def _jobs() -> list[Job]:
    """Returns a job for each network and seed: all its recipes."""
    return [
        Job(
            "_".join(map(str, key)) + f"_{seed}",
            {**_settings(), "network": key, "seed": seed},
        )
        for seed in range(SEEDS)
        for key in _keys(NETWORK)
    ]


def _work(job: Job, _: Mapping[str, Any]) -> dict[str, Any]:
    one_thread()
    import keras

    from mobilenas_tf.search.candidate_training import (
        CandidateSettings,
        CandidateTrainer,
    )
    from mobilenas_tf.search.workers import Order
    from mobilenas_tf.training.classification import class_predictor, evaluate_accuracy
    from mobilenas_tf.training.config import (
        AugmentationConfig,
        OptimizerConfig,
        TrainingConfig,
    )
    from mobilenas_tf.training.loop import DivergedError

    seed, network = job.settings["seed"], tuple(job.settings["network"])
    train = CandidateTrainer(
        SPACE,
        CandidateSettings(
            protocol().data_config(seed),
            AugmentationConfig(),
            OptimizerConfig(),
            TrainingConfig(
                epochs=protocol().epochs, batch_norm_momentum=0.9, seed=seed
            ),
        ),
    )
    accuracies = []
    for recipe in _keys(RECIPE):
        choices = _full(_choices((*network, *recipe)))
        try:
            model, data = train.train(Order(choices, protocol().epochs))
        except DivergedError:  # what diverges is at chance
            accuracies.append([1 / NUM_CLASSES] * 2)
            continue
        predict = class_predictor(model)
        splits = data.validation(), data.test().take(TEST_BATCHES)
        accuracies.append([evaluate_accuracy(predict, split) for split in splits])
        keras.backend.clear_session()
    return {"recipes": _keys(RECIPE), "validation_and_test": accuracies}


def _full(choices: Mapping[str, Value]) -> Choices:
    """Returns the table's choices as those of `SPACE` and of a recipe."""
    full: Choices = {}
    for number, channels in enumerate(WIDTHS[str(choices["width"])], start=1):
        stage = f"stage{number}"
        full |= {
            f"{stage}/channels": channels,
            f"{stage}/depth": choices["depth"],
            f"{stage}/first_kernel": choices["kernel"],
            f"{stage}/kernel": choices["kernel"],
            f"{stage}/first_expansion": choices["expansion"],
            f"{stage}/expansion": choices["expansion"],
        }
    return full | {
        "recipe/optimizer": choices["recipe/optimizer"],
        "recipe/learning_rate": choices["recipe/learning_rate"],
        "recipe/weight_decay": 1.0,
        "recipe/averaged_weights": "off",
        **{
            f"recipe/{name}_percent": percent
            for name, percent in REGULARISED[
                str(choices["recipe/regularisation"])
            ].items()
        },
    }


def _table(results: Mapping[str, Any]) -> Table:
    table: dict[tuple[Value, ...], list[list[float]]] = {}
    for job in _jobs():
        result = results[job.name]
        pairs = zip(result["recipes"], result["validation_and_test"], strict=True)
        for recipe, accuracies in pairs:
            table.setdefault((*job.settings["network"], *recipe), []).append(accuracies)
    return {key: 100 * np.array(values) for key, values in table.items()}


def _flips(table: Table) -> dict[str, Any]:
    """Returns how many pairs of networks recipes rank in opposite order.

    Each seed in its turn confirms, by the sign of both leads, what the other two show;
    the noise is that of a seed around the mean, pooled by recipe.
    """
    values = np.array(
        [[table[(*n, *r)][:, 1] for r in _keys(RECIPE)] for n in _keys(NETWORK)]
    )  # [networks, recipes, seeds]
    centred = values - values.mean(axis=(0, 1))
    noise = np.sqrt(centred.var(axis=2, ddof=1).mean(axis=0))  # [recipes]
    flipped, confirmed = [], []
    for judge in range(SEEDS):
        seen = np.delete(values, judge, axis=2).mean(axis=2)
        cases = _flipped_pairs(seen, noise)
        flipped.append(len(cases))
        confirmed.append(
            sum(
                values[i, r, judge] > values[j, r, judge]
                and values[i, s, judge] < values[j, s, judge]
                for i, j, r, s in cases
            )
        )
    means = values.mean(axis=2)
    additive = (
        means.mean(axis=1, keepdims=True)
        + means.mean(axis=0, keepdims=True)
        - means.mean()
    )
    rng = np.random.default_rng(0)
    by_chance = [
        len(
            _flipped_pairs(
                additive + rng.normal(size=means.shape) * noise / np.sqrt(2), noise
            )
        )
        for _ in range(ADDITIVE_TABLES)
    ]
    return {
        "pairs": len(values) * (len(values) - 1) // 2,
        "noise_points": float(np.sqrt((noise**2).mean())),
        "flipped": float(np.mean(flipped)),
        "confirmed": float(np.mean(confirmed)),
        "flipped_by_chance": float(np.mean(by_chance)),
        "flipped_by_chance_95": float(np.quantile(by_chance, 0.95)),
        "best_networks": len(set(means.argmax(axis=0).tolist())),
        "best_recipes": len(set(means.argmax(axis=1).tolist())),
    }


def _flipped_pairs(
    means: np.ndarray, noise: np.ndarray
) -> list[tuple[int, int, int, int]]:
    """Returns networks i, j and recipes r, s: i leads by far under r, j under s.

    By far is twice the standard error of a difference of means of two seeds.

    Args:
        means: `[networks, recipes]`, of two seeds.
        noise: Standard deviation of a seed, `[recipes]`.
    """
    cases = []
    for i, j in itertools.combinations(range(len(means)), 2):
        lead = (means[i] - means[j]) / noise  # the error is noise * sqrt(2 / 2)
        if lead.max() > 2 and lead.min() < -2:
            cases.append((i, j, int(lead.argmax()), int(lead.argmin())))
    return cases


def _judged(table: Table, find: Search, count: int) -> list[tuple[Any, float]]:
    """Returns what each run finds, and its test accuracy of the seed that judges."""
    judged = []
    for run in range(_RUNS.value):
        judge = run % SEEDS
        seen = [seed for seed in range(SEEDS) if seed != judge]
        key = _key(find(table, seen, count, run))
        judged.append((key, float(table[key][judge, 1])))
    return judged


def _guided(
    network: Sequence[Options], recipe: Sequence[Options], default: Choices = DEFAULT
) -> Search:
    """Returns this project's search over some decisions; the rest is the default."""

    def find(table: Table, seen: Sequence[int], count: int, seed: int) -> Choices:
        from mobilenas_tf.search.joint import JointSearch
        from mobilenas_tf.search.joint_journal import Evaluation, EvaluationJournal
        from mobilenas_tf.search.workers import InProcess, Order

        problem = _problem(tuple(network), tuple(recipe))
        size = len(_keys([*network, *recipe]))
        config = JointConfig(
            evaluations=min(count, size), first_round=min(6, size), batch=3, pool=size
        )

        def look_up(order: Order) -> Evaluation:
            accuracy = table[_key(default | order.choices)][list(seen), 0].mean()
            return Evaluation(order.choices, (float(accuracy),))

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "journal.jsonl"
            journal = EvaluationJournal(path, problem, measure="table")
            search = JointSearch(
                problem, {}, journal, config=config, epochs=1, seed=seed
            )
            search.run(InProcess(look_up))
            best = max(journal.evaluations, key=lambda each: each.curve[0])
        return default | best.choices

    return find


def _in_turn(table: Table, seen: Sequence[int], count: int, seed: int) -> Choices:
    """Finds a recipe for the default network, then a network for that recipe."""
    half = count // 2
    recipe = _guided((), RECIPE)(table, seen, half, seed)
    return _guided(NETWORK, (), recipe)(table, seen, count - half, seed)


def _random(table: Table, seen: Sequence[int], count: int, seed: int) -> Choices:
    keys = list(table)
    chosen = np.random.default_rng(seed).choice(len(keys), count, replace=False)
    return _choices(
        max(
            (keys[int(i)] for i in chosen),
            key=lambda key: table[key][list(seen), 0].mean(),
        )
    )


@functools.cache
def _problem(network: tuple[Options, ...], recipe: tuple[Options, ...]) -> JointProblem:
    from mobilenas_tf.costs.network import network_cost
    from mobilenas_tf.search.joint_problem import JointProblem

    def resolved(choices: Mapping[str, Value]) -> Any:
        return SPACE.resolve(_full(DEFAULT | dict(choices)))

    def costs(architecture: Any) -> dict[str, float]:
        cost = network_cost(architecture)
        return {"macs": float(cost.macs), "params": float(cost.params)}

    return JointProblem(
        "joint_table",
        architecture=network,
        recipe=recipe,
        network=resolved,
        costs=costs,
    )


JOINT, NETWORK_ALONE, RECIPE_ALONE = "joint", "network alone", "recipe alone"
SEARCHES: dict[str, Search] = {
    JOINT: _guided(NETWORK, RECIPE),
    NETWORK_ALONE: _guided(NETWORK, ()),
    RECIPE_ALONE: _guided((), RECIPE),
    "recipe, then network": _in_turn,
    "random candidates": _random,
}

if __name__ == "__main__":
    app.run(main)
