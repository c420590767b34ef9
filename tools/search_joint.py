"""Searches a network and its training recipe together (JointNAS, FBNetV3).

Example:
  python -m tools.search_joint --space=fbnet_v3_32 --dataset=tfds:cifar10 \
      --max_macs=4e6 --evaluations=64 --workdir=runs/joint
  python -m tools.search_joint --space=fbnet_v3_32 --dataset=tfds:cifar10 \
      --max_macs=2e6 --fine_only=runs/joint --workdir=runs/joint_2m
  python -m tools.train_classifier --architecture=runs/joint --recipe=runs/joint \
      --dataset=tfds:cifar10

Writes architecture.json and recipe.json of the best candidate, evaluations.jsonl,
joint.json and report.html. With --fine_only nothing is trained.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from mobilenas_tf.joint_spaces import SPACES, named_joint_space
from mobilenas_tf.names import lookup
from mobilenas_tf.search.config import JointBudgetConfig, JointConfig
from mobilenas_tf.training.config import TrainingConfig
from mobilenas_tf.training.recipe import Recipe
from mobilenas_tf.whole_files import write_bytes_atomically
from tools import flag_config, run_flags
from tools.latency_flags import define_latency_table, latency_table
from tools.search_flags import define_search, search_from_flags

if TYPE_CHECKING:
    from mobilenas_tf.joint_space import JointSpace
    from mobilenas_tf.search.candidate_training import CandidateSettings
    from mobilenas_tf.search.workers import Workers

# Candidates see few steps: batch norms must follow quickly.
SEARCH_TRAINING = TrainingConfig(epochs=10, batch_norm_momentum=0.9)
# What the recipe decides, and what not every optimizer has.
RECIPE = (*(field.name for field in dataclasses.fields(Recipe)), "nesterov")
# What a run's configuration does not say: candidates differ in it, or it may grow when
# the run is started again.
OPEN = (*RECIPE, "image_size_px", "evaluations")


def main() -> None:
    """Runs the search that the flags describe."""
    config = flag_config.config_from_flags(JointConfig)
    budget_config = flag_config.config_from_flags(JointBudgetConfig)
    smallest_px = lookup("space", config.space, SPACES)(2).resolution[0]
    settings = search_from_flags(smallest_px)
    if flags.FLAGS.ray_address and flags.FLAGS.workers != "ray":
        raise ValueError(
            "ray_address must not be given without workers=ray. Received: "
            f"ray_address={flags.FLAGS.ray_address}"
        )
    source = flags.FLAGS.fine_only and Path(flags.FLAGS.fine_only)
    if flags.FLAGS.ray_address and not source:  # which trains nothing
        from mobilenas_tf.search.ray_workers import check_answers

        check_answers(flags.FLAGS.ray_address)

    flag_config.import_tensorflow()
    import tqdm

    from mobilenas_tf.costs.latency_table import required_table
    from mobilenas_tf.json_io import to_plain
    from mobilenas_tf.reporting.number_format import (
        COST_NAMES,
        format_budgets,
        format_value,
    )
    from mobilenas_tf.reporting.page import write_report
    from mobilenas_tf.search.candidate_training import CandidateSettings, joint_problem
    from mobilenas_tf.search.joint import JointSearch, Round
    from mobilenas_tf.search.joint_journal import Evaluation, EvaluationJournal
    from mobilenas_tf.search.joint_problem import Limits
    from mobilenas_tf.search.joint_result import (
        JOURNAL,
        write_found,
        write_joint,
    )
    from mobilenas_tf.training.data import load_classification_data
    from mobilenas_tf.training.repetition import start_from_seed
    from mobilenas_tf.training.run_dir import open_run_dir

    shared = CandidateSettings(
        settings.data, settings.augmentation, settings.optimizer, settings.training
    )
    # Read here for its classes, and so that what is wrong with it shows at once.
    data = load_classification_data(settings.data, settings.augmentation)
    space = named_joint_space(config.space, num_classes=data.num_classes)
    del data
    budgets, table = budget_config.budgets, latency_table(config.space)
    if "ms" in budgets:
        required_table(table, space.name)
    problem = joint_problem(space, table)
    Limits(problem, budgets).cheapest  # noqa: B018  # an error before anything is made
    if source and not (source / JOURNAL).exists():
        raise FileNotFoundError(
            f"{source / JOURNAL} must be there: --fine_only takes the run folder of a "
            "joint search. It is missing"
        )
    if source:
        EvaluationJournal(source / JOURNAL, problem, measure=shared.measure)
    parts = to_plain({"search": config, **settings.run_config()})
    with _workers(space, shared, is_idle=bool(source)) as workers:
        run = open_run_dir(
            run_flags.workdir(),
            config={
                "tool": "search_joint",
                "budget": budget_config,
                "latency_table": table,
                "fine_only": str(source) if source else None,
                **{name: _settled(part) for name, part in parts.items()},
            },
            command=run_flags.command(),
        )
        if source:
            write_bytes_atomically(run.path / JOURNAL, (source / JOURNAL).read_bytes())
        journal = EvaluationJournal(run.path / JOURNAL, problem, measure=shared.measure)
        print(
            f"Drawing {config.pool:,} candidates within {format_budgets(budgets)}; "
            f"{len(journal.evaluations)} are known."
        )
        start_from_seed(settings.training)
        search = JointSearch(
            problem,
            budgets,
            journal,
            config=config,
            epochs=settings.training.epochs,
            seed=settings.training.seed,
        )

        def tell_of_candidate(done: Evaluation) -> None:
            result = done.failed or (
                f"{done.curve[-1]:.1%} after epoch {len(done.curve)}"
            )
            tqdm.tqdm.write(
                f"candidate {search.trained}/{config.evaluations}: {result} "
                f"({done.seconds:.0f} s)"
            )

        def tell_of_round(done: Round) -> None:
            reached = [value for value in done.accuracies if value is not None]
            best = f"best of the round {max(reached):.1%}" if reached else "all failed"
            tqdm.tqdm.write(
                f"round {done.number} ({done.stage}): {len(done.candidates)} "
                f"candidates, {best} after epoch {search.stop_epoch}"
            )

        if workers is None:
            best = search.ask()
        else:
            search.run(workers, on_round=tell_of_round, on_evaluation=tell_of_candidate)
            best = search.front(next(iter(budgets)))[-1]
    architecture, recipe = write_found(run, space, best)
    write_joint(run, search, best)
    report = write_report(run.path)
    told = (
        f"predicted to reach {best.predicted:.1%}"
        if best.accuracy is None
        else f"{best.accuracy:.1%} of the validation images after epoch "
        f"{search.stop_epoch}"
    )
    costs = ", ".join(
        f"{format_value(metric, value)} {COST_NAMES[metric]}"
        for metric, value in best.costs.items()
    )
    run_flags.finish(
        {
            "name": architecture.name,
            **best.costs,
            "accuracy": best.accuracy,
            "predicted": best.predicted,
            "trained": search.trained,
            "architecture": str(run.architecture_path),
        },
        f"Found a network ({costs}) and a recipe ({recipe.optimizer}), {told}: "
        f"{run.path}, {report}",
    )


def _settled(part: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if name not in OPEN}


@contextlib.contextmanager
def _workers(
    space: JointSpace, shared: CandidateSettings, *, is_idle: bool
) -> Iterator[Workers | None]:
    """Gives who trains candidates; None if nothing is to be trained."""
    from mobilenas_tf.search.candidate_training import CandidateTrainer
    from mobilenas_tf.search.ray_workers import RayWorkers, ray_session
    from mobilenas_tf.search.workers import InProcess

    values = flags.FLAGS
    if is_idle:
        yield None
        return
    if values.workers == "process":
        yield InProcess(CandidateTrainer(space, shared))
        return
    make = functools.partial(CandidateTrainer, space, shared, threads=values.ray_cpus)
    with ray_session(values.ray_address):
        yield RayWorkers(
            make, count=values.ray_workers, cpus=values.ray_cpus, gpus=values.ray_gpus
        )


flags.DEFINE_string(
    "fine_only",
    None,
    "Run folder of a joint search: look among what it learned, train nothing.",
)
flags.DEFINE_enum(
    "workers", "process", ["process", "ray"], "Who trains the candidates."
)
flags.DEFINE_integer("ray_workers", 2, "workers=ray: how many at a time.", 1)
flags.DEFINE_integer("ray_cpus", 1, "workers=ray: processors of each worker.", 1)
flags.DEFINE_integer("ray_gpus", 0, "workers=ray: GPUs of each worker.", 0)
flags.DEFINE_string(
    "ray_address",
    None,
    "workers=ray: HOST:PORT of a cluster's head; by default Ray starts here.",
)
define_latency_table("for --max_ms, and what the predictor learns by.")
flag_config.define_flags(JointConfig)
flag_config.define_flags(JointBudgetConfig)
# Candidates are trained from their beginning to their end: nothing within is saved.
define_search(
    SEARCH_TRAINING,
    leave_out=(*RECIPE, "checkpoint_minutes", "checkpoint_every_epochs"),
)
run_flags.define_workdir("runs/search_joint")

if __name__ == "__main__":
    flag_config.run(main)
