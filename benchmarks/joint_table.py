"""Networks times recipes, all trained: do recipes change which network is best?

A full-factorial table of 24 networks under 12 recipes, each trained with three seeds;
of the third seed other images are for validation. Two seeds are what searches see, the
third judges what they find. From it follow

- flips: pairs of networks that two recipes rank in opposite order, both by more than
  twice the standard error of the difference of seeds;
- joint search against one of the network alone (default recipe) and one of the recipe
  alone (default network), by as many evaluations.

Each job's result is stored as it ends; a stopped script goes on.

Run: python -m benchmarks.joint_table --dataset=tfds:cifar10_jpeg --data_dir=DIR
"""

from __future__ import annotations

import functools
import itertools
import tempfile
from collections.abc import Mapping, Sequence
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
SEEN, JUDGE = (0, 1), 2  # seeds
_FIXED: Mapping[str, Any] = {"squeeze_excite": ("off",), "activations": ("relu",)}
SPACE = JointSpace(
    name="joint_table",
    resolution=(32, 32, 4),
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
REGULARISED = {"mixup": 20, "label_smoothing": 10, "dropout": 10, "drop_path": 10}
RECIPE = (
    Options("recipe/optimizer", ("sgd", "adamw")),
    Options("recipe/learning_rate", (0.5, 2.0, 8.0)),
    Options("recipe/regularisation", ("none", "some")),
)
# The table's nearest to the defaults of `train_classifier`, and a network in the midst.
DEFAULT: Choices = {
    **{"width": "narrow", "depth": 2, "kernel": 3, "expansion": 4},
    "recipe/optimizer": "sgd",
    "recipe/learning_rate": 0.5,
    "recipe/regularisation": "none",
}

Table = Mapping[tuple[Value, ...], Sequence[float]]  # accuracies by seed


def main(_: Sequence[str]) -> None:
    """Trains what is missing, prints tables and one JSON object."""
    table = _table(run_jobs(_jobs(), _work, results_folder()))
    noise = _noise(table)
    flips = _flips(table, noise)
    print(format_table(list(flips), [flips]))
    kinds = {
        "joint": (NETWORK, RECIPE),
        "network alone": (NETWORK, ()),
        "recipe alone": ((), RECIPE),
    }
    rows, differences = [], []
    for count in map(int, _COUNTS.value):
        found = {
            kind: [
                _searched(table, *decisions, evaluations=count, seed=seed)
                for seed in range(_RUNS.value)
            ]
            for kind, decisions in kinds.items()
        }
        for kind, values in found.items():
            row = {"evaluations": count, "search": kind}
            rows.append(row | {"accuracy": float(np.mean(values))})
            if kind != "joint":
                difference = paired_difference(found["joint"], values)
                differences.append(row | difference)
    print(format_table(list(rows[0]), rows))
    print(format_table(list(differences[0]), differences))
    evidence.finish(
        figures={
            "flips": flips,
            "searches": rows,
            "joint_minus": differences,
            "table": [
                {**_choices(key), "accuracies": values} for key, values in table.items()
            ],
        },
        settings=protocol().settings() | {"runs": _RUNS.value, "default": DEFAULT},
        targets=[
            evidence.target(
                f"joint - {row['search']} after {row['evaluations']}, in points, lower "
                "end (95 %)",
                row["low_95"],
                0.0,
                at_most=False,
            )
            for row in differences
        ],
    )


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
            {**protocol().settings(), "network": key, "seed": seed},
        )
        for seed in (*SEEN, JUDGE)
        for key in _keys(NETWORK)
    ]


def _work(job: Job, _: Mapping[str, Any]) -> dict[str, Any]:
    one_thread()
    from mobilenas_tf.search.candidate_training import (
        CandidateSettings,
        CandidateTrainer,
    )
    from mobilenas_tf.search.workers import Order
    from mobilenas_tf.training.config import (
        AugmentationConfig,
        OptimizerConfig,
        TrainingConfig,
    )

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
    curves, seconds = [], 0.0
    for recipe in _keys(RECIPE):
        choices = _full(_choices((*network, *recipe)))
        evaluation = train(Order(choices, protocol().epochs))
        # What diverges is at chance.
        curves.append(evaluation.curve if not evaluation.failed else [1 / NUM_CLASSES])
        seconds += evaluation.seconds
    return {"recipes": _keys(RECIPE), "curves": curves, "seconds": seconds}


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
    is_regularised = choices["recipe/regularisation"] == "some"
    return full | {
        "recipe/optimizer": choices["recipe/optimizer"],
        "recipe/learning_rate": choices["recipe/learning_rate"],
        "recipe/weight_decay": 1.0,
        "recipe/averaged_weights": "off",
        **{
            f"recipe/{name}_percent": percent if is_regularised else 0
            for name, percent in REGULARISED.items()
        },
    }


def _table(results: Mapping[str, Any]) -> Table:
    """Returns the last epochs' validation accuracies in percent, by choices."""
    table: dict[tuple[Value, ...], list[float]] = {}
    for job in _jobs():
        result = results[job.name]
        for recipe, curve in zip(result["recipes"], result["curves"], strict=True):
            key = (*job.settings["network"], *recipe)
            table.setdefault(key, []).append(100 * curve[-1])
    return table


def _noise(table: Table) -> float:
    """Returns the standard deviation of an accuracy over seeds, all entries pooled.

    Seeds that are better for all entries are not noise.
    """
    values = np.array(list(table.values()))
    centred = values - values.mean(axis=0)
    return float(np.sqrt(centred.var(axis=1, ddof=1).mean()))


def _flips(table: Table, noise: float) -> dict[str, Any]:
    """Returns how many pairs of networks recipes rank in opposite order."""
    networks, recipes = _keys(NETWORK), _keys(RECIPE)
    means = np.array([[np.mean(table[(*n, *r)]) for r in recipes] for n in networks])
    least = 2 * noise * np.sqrt(2 / len(table[(*networks[0], *recipes[0])]))
    pairs = list(itertools.combinations(range(len(networks)), 2))
    flipped, most = 0, 0.0
    for i, j in pairs:
        lead = means[i] - means[j]
        flipped += bool(lead.max() > least and lead.min() < -least)
        most = max(most, float(min(lead.max(), -lead.min())))
    best = means.argmax(axis=0)
    return {
        "noise_points": noise,
        "least_lead_points": float(least),
        "pairs": len(pairs),
        "flipped": flipped,
        "largest_flip_points": most,
        "best_networks": len(set(best.tolist())),
        "best_recipes": len(set(means.argmax(axis=1).tolist())),
    }


def _searched(
    table: Table,
    network: Sequence[Options],
    recipe: Sequence[Options],
    *,
    evaluations: int,
    seed: int,
) -> float:
    """Returns the judge's accuracy of what a search finds; the rest is the default."""
    from mobilenas_tf.search.joint import JointSearch
    from mobilenas_tf.search.joint_journal import Evaluation, EvaluationJournal
    from mobilenas_tf.search.workers import InProcess, Order

    problem = _problem(tuple(network), tuple(recipe))
    size = len(_keys([*network, *recipe]))
    config = JointConfig(
        evaluations=min(evaluations, size),
        first_round=min(6, size),
        batch=3,
        pool=size,
    )

    def seen(order: Order) -> Evaluation:
        values = table[_key(DEFAULT | order.choices)]
        return Evaluation(order.choices, (float(np.mean([values[s] for s in SEEN])),))

    with tempfile.TemporaryDirectory() as folder:
        journal = EvaluationJournal(Path(folder) / "j.jsonl", problem, measure="table")
        search = JointSearch(problem, {}, journal, config=config, epochs=1, seed=seed)
        search.run(InProcess(seen))
        best = max(journal.evaluations, key=lambda each: each.curve[0])
    return table[_key(DEFAULT | best.choices)][JUDGE]


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


if __name__ == "__main__":
    app.run(main)
