"""Ray's actors train what this process would, even if one of them is killed.

The same candidates are trained by this process, by actors on this machine, and once
more by actors of which one is killed (SIGKILL) half-way, while it trains. Each process
has one thread, so that what two of them compute can be equal to the last bit.

Run: python -m benchmarks.ray_workers
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import app, flags

from benchmarks import evidence
from mobilenas_tf.joint_space import JointSpace
from mobilenas_tf.joint_spaces import named_joint_space
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.training.config import (
    AugmentationConfig,
    DataConfig,
    OptimizerConfig,
    TrainingConfig,
)

if TYPE_CHECKING:
    from mobilenas_tf.search.candidate_training import CandidateSettings
    from mobilenas_tf.search.joint_journal import Evaluation
    from mobilenas_tf.search.joint_problem import JointProblem
    from mobilenas_tf.search.workers import Evaluate, Order

_EVALUATIONS = flags.DEFINE_integer("evaluations", 16, "Candidates.", 2)
_WORKERS = flags.DEFINE_integer("ray_workers", 2, "Actors.", 1)
_SPACE = flags.DEFINE_string("space", "fbnet_v3_32", "Space of the candidates.")
_MACS = flags.DEFINE_float("max_macs", 1e6, "Budget of each candidate.")
_IMAGES = flags.DEFINE_integer("max_train_images", 1024, "Of digits.", 1)
_EPOCHS = flags.DEFINE_integer("epochs", 4, "Of each training.", 1)
_SEED = flags.DEFINE_integer("seed", 0, "Of candidates and trainings.")

NUM_CLASSES = 10
HERE, ACTORS, ONE_KILLED = "this process", "actors", "actors, one killed"
# From an evaluation's end to the death of who has begun the next one by then.
KILL_AFTER_SECONDS = 1.0


def main(_: Sequence[str]) -> None:
    """Trains the candidates three times, prints the table and one JSON object."""
    from mobilenas_tf.search.candidate_training import joint_problem
    from mobilenas_tf.search.joint_problem import Limits, quasi_random
    from mobilenas_tf.search.workers import Order

    space = named_joint_space(_SPACE.value, num_classes=NUM_CLASSES)
    problem = joint_problem(space)
    limits = Limits(problem, {"macs": _MACS.value})
    orders = [
        Order(choices, _EPOCHS.value)
        for choices in quasi_random(limits, size=_EVALUATIONS.value, seed=_SEED.value)
    ]
    with tempfile.TemporaryDirectory() as folder:
        runs = {
            name: _run(name, space, orders, Path(folder) / f"begun_{index}")
            for index, name in enumerate((HERE, ACTORS, ONE_KILLED))
        }
    rows = [_row(name, runs, problem) for name in runs]
    print(format_table(list(rows[0]), rows))
    of_actors, of_one_killed = rows[1:]
    evidence.finish(
        figures={"rows": rows},
        settings={
            **{
                name: flags.FLAGS[name].value
                for name in (
                    *("evaluations", "ray_workers", "space", "max_macs"),
                    *("max_train_images", "epochs", "seed"),
                )
            },
            "dataset": "digits",
            "threads": 1,
        },
        targets=[
            *(
                evidence.target(
                    f"{row['trained by']}: candidates that are lost or differ",
                    row["lost"] + row["different"],
                    0,
                    at_most=True,
                )
                for row in (of_actors, of_one_killed)
            ),
            evidence.target(
                "trainings that the death of an actor interrupted",
                of_one_killed["begun"] - len(orders),
                1,
                at_most=False,
            ),
        ],
    )


def _run(
    name: str, space: JointSpace, orders: Sequence[Order], begun: Path
) -> dict[str, Any]:
    """Returns the evaluations, how many were begun, and the seconds."""
    from mobilenas_tf.search.candidate_training import CandidateSettings
    from mobilenas_tf.search.ray_workers import RayWorkers, ray_session
    from mobilenas_tf.search.workers import InProcess

    settings = CandidateSettings(
        DataConfig(
            dataset="digits",
            max_train_images=_IMAGES.value,
            batch_size=32,
            seed=_SEED.value,
        ),
        AugmentationConfig(),
        OptimizerConfig(),
        TrainingConfig(epochs=_EPOCHS.value, batch_norm_momentum=0.9, seed=_SEED.value),
    )
    make = functools.partial(_make_evaluate, space, settings, begun)
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        if name == HERE:
            evaluations = InProcess(make()).run(orders)
        else:
            stack.enter_context(ray_session(None))
            evaluations = RayWorkers(make, count=_WORKERS.value).run(orders)
        if name == ONE_KILLED:
            evaluations = _with_a_death(evaluations, begun, len(orders) // 2)
        ready = time.monotonic()
        found = list(evaluations)
        ended = time.monotonic()
    return {
        "evaluations": found,
        "begun": len(begun.read_text().splitlines()),
        "start_seconds": ready - started,
        "work_seconds": ended - ready,
    }


def _make_evaluate(
    space: JointSpace, settings: CandidateSettings, begun: Path
) -> Evaluate:
    """Returns what trains an order, and writes its process into a file as it begins."""
    from mobilenas_tf.search.candidate_training import CandidateTrainer

    train = CandidateTrainer(space, settings, threads=1)

    def evaluate(order: Order) -> Evaluation:
        with begun.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return train(order)

    return evaluate


def _with_a_death(
    evaluations: Iterable[Evaluation], begun: Path, count: int
) -> Iterator[Evaluation]:
    """Passes evaluations on; after so many, who has begun the latest is killed."""

    def kill() -> None:
        os.kill(int(begun.read_text().splitlines()[-1]), signal.SIGKILL)

    for number, evaluation in enumerate(evaluations, start=1):
        if number == count:
            threading.Timer(KILL_AFTER_SECONDS, kill).start()
        yield evaluation


def _row(
    name: str, runs: dict[str, dict[str, Any]], problem: JointProblem
) -> dict[str, Any]:
    """Returns what a run has, compared with that of this process."""
    ours, others = (
        {problem.identity(each.choices): each for each in runs[run]["evaluations"]}
        for run in (name, HERE)
    )
    pairs = [(ours[key], others[key]) for key in ours.keys() & others.keys()]
    return {
        "trained by": name,
        "candidates": len(ours),
        "lost": len(others.keys() - ours.keys()),
        "different": sum(
            (a.choices, a.curve, a.failed) != (b.choices, b.curve, b.failed)
            for a, b in pairs
        ),
        "distinct curves": len({each.curve for each in ours.values()}),
        "best accuracy": max(max(each.curve, default=0.0) for each in ours.values()),
        "largest difference of accuracies": max(
            abs(x - y) for a, b in pairs for x, y in zip(a.curve, b.curve, strict=False)
        ),
        **{key: value for key, value in runs[name].items() if key != "evaluations"},
    }


if __name__ == "__main__":
    app.run(main)
