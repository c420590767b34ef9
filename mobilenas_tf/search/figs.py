"""FiGS: one differentiable search that selects operators and their widths.

Source: Ray Chaudhuri et al., Fine-Grained Stochastic Architecture Search,
arXiv:2006.09581 (abstract), and the authors' reference code, morph_net
`probabilistic_gating`. Differs: spaces, schedules and the controller of the budget
are ours, as the paper's are not public; every such choice is named where it is made.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf
from absl import logging

from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.costs.space_cost import genotype_cost, narrowed_cost
from mobilenas_tf.models.supernet import Supernet
from mobilenas_tf.search.assembly import SearchAssembly, budget_schedule
from mobilenas_tf.search.config import FigsConfig
from mobilenas_tf.search.found import FoundNetwork, derive_network, write_found
from mobilenas_tf.search.live_shrinking import LiveShrinking
from mobilenas_tf.search.width_budget import WidthBudget
from mobilenas_tf.space import SearchSpace
from mobilenas_tf.training.budget import BudgetSchedule
from mobilenas_tf.training.config import OptimizerConfig, TrainingConfig
from mobilenas_tf.training.cuts import CUTS_FILE
from mobilenas_tf.training.loop import run_epochs
from mobilenas_tf.training.repetition import start_from_seed
from mobilenas_tf.training.run_dir import RunDir
from mobilenas_tf.training.task import Task, TrainingData

# A search whose expected cost ends over this share of the budget was too short.
_LATE = 1.1
# Folder, in the run's, of the networks of all budgets but the smallest.
SNAPSHOTS = "snapshots"


def check_search(
    space: SearchSpace,
    *,
    config: FigsConfig,
    budget: WidthBudget,
    training: TrainingConfig,
) -> None:
    """Raises a ValueError if gates or epochs are not for such a search.

    `search_figs` calls it; so do binaries, before they open a run folder.
    """
    check_gate(space, config)
    # The stages are the same wherever the cost starts.
    _stage_ends(budget_schedule(config, budget, start_cost=1.0), training)


def check_gate(space: SearchSpace, config: FigsConfig) -> None:
    """Raises a ValueError if the gates cannot decide every open width of the space."""
    if config.gate != "batch_norm_scale":
        return
    for choice in space.choices:
        if choice.path == "head/hidden" or choice.path.endswith("/squeeze_excite"):
            raise ValueError(
                "gate must be logistic_sigmoid or hard_concrete in the space "
                f"{space.name}, as no batch norm makes the channels of {choice.path}. "
                f"Received: gate={config.gate!r}"
            )


def search_figs(
    space: SearchSpace,
    task: Task,
    data: TrainingData,
    run: RunDir,
    *,
    config: FigsConfig,
    budget: WidthBudget,
    optimizer: OptimizerConfig,
    training: TrainingConfig,
) -> FoundNetwork:
    """Searches the space for a network within each budget; returns the smallest's.

    Writes into the run folder: metrics and checkpoints as it goes, then
    `architecture.json`, `search.json` (what was kept of what) and the found network's
    weights out of the supernet. The networks of larger budgets, found on the way down
    to the smallest, are in `snapshots/<budget>_<metric>`.

    Args:
        space: A space whose supernet has the data's classes.
        task: What the networks are to do.
        data: Training images.
        run: Run folder; a search that was stopped there goes on.
        config: The method's options.
        budget: What the networks may cost.
        optimizer: Of the weights.
        training: Length and regularisation of the search.

    Raises:
        ValueError: If the space has widths that the gates cannot decide, or if there
            are too few epochs for as many budgets.
    """
    check_search(space, config=config, budget=budget, training=training)
    start_from_seed(training)
    assembly = SearchAssembly(
        space,
        config,
        budget,
        optimizer,
        training,
        task.objective,
        steps_per_epoch=data.steps_per_epoch,
        batch_size=data.config.batch_size,
    )
    trainer = assembly.trainer()
    shrinking = LiveShrinking(
        trainer,
        space,
        build=assembly.supernet,
        make_optimizers=assembly.optimizers,
        cost=budget.cost,
        events_path=run.path / CUTS_FILE,
        # A scale near 0 closes its channel for good: nothing but L1 reaches it then.
        dead_below=0.5 if config.gate == "batch_norm_scale" else config.dead_below,
        retrace_steps=config.retrace_steps if config.shrinks else math.inf,
    )
    ends = _stage_ends(trainer.schedule, training)
    course = _Course(shrinking, task, run, budget.metric, ends)
    last = run_epochs(
        trainer,
        data.train_epoch,
        epochs=training.epochs,
        run=run,
        phase="search",
        evaluate=course.evaluate,
        saving=training.saving,
        resizing=course,
    )
    if last["expected_cost"] > _LATE * budget.budgets[-1]:
        logging.warning(
            "The expected cost is still %.0f %% of the budget: all widths are scaled "
            "down to it. Search for more epochs.",
            100 * last["expected_cost"] / budget.budgets[-1],
        )
    return course.write_network(budget.budgets[-1], "")


def _stage_ends(schedule: BudgetSchedule, training: TrainingConfig) -> dict[int, float]:
    """Returns the budgets by the last whole epoch of their stage, without the last."""
    ends = [int(end * training.epochs + 1e-6) for end in schedule.stage_ends]
    starts = [int(math.ceil(schedule.warmup * training.epochs)), *ends]
    too_short = any(end <= start for start, end in zip(starts, ends, strict=False))
    if too_short and len(ends) > 1:
        raise ValueError(
            f"epochs must allow each of the {len(ends)} budgets a whole epoch behind "
            f"the warm-up. Received: epochs={training.epochs}"
        )
    return dict(zip(ends[:-1], schedule.budgets, strict=False))


@dataclasses.dataclass
class _Course:
    """What happens between the epochs of a search."""

    shrinking: LiveShrinking
    task: Task
    run: RunDir
    metric: str
    budget_at_epoch: Mapping[int, float]
    # The supernet of the last evaluation and what evaluates it.
    evaluator: tuple[Supernet, Callable[[], dict[str, float]]] | None = None

    @property
    def supernet(self) -> Supernet:
        return self.shrinking.trainer.supernet

    def evaluate(self) -> dict[str, float]:
        """Returns the figures of an epoch."""
        supernet = self.supernet
        if self.evaluator is None or self.evaluator[0] is not supernet:
            self.evaluator = supernet, self.task.evaluator(supernet.model)
        is_open = {
            path: tf.cast(p > 0.5, tf.float32)
            for path, p in supernet.keep_probabilities().items()
        }
        expected_cost = self.shrinking.trainer.expected_cost
        return {
            **self.evaluator[1](),
            "derived_cost": float(expected_cost(supernet.expected_widths(is_open))),
            "gate_entropy": _mean_entropy(supernet, self.shrinking.space),
            "supernet_macs": network_cost(supernet.space.supernet).macs,
        }

    def after_epoch(self, epoch: int) -> bool:
        """Takes a snapshot at the end of a budget's stage, then shrinks."""
        if epoch in self.budget_at_epoch:
            budget = self.budget_at_epoch[epoch]
            folder = f"{SNAPSHOTS}/{budget_name(budget)}_{self.metric}"
            self.write_network(budget, folder)
        return self.shrinking.after_epoch(epoch)

    def restore(self, epoch: int) -> None:
        """Makes the supernet what it was after `epoch` epochs."""
        self.shrinking.restore(epoch)

    def write_network(self, budget: float, folder: str) -> FoundNetwork:
        """Derives the network of a budget and writes it into a folder of the run's."""
        space = self.shrinking.space
        cost = narrowed_cost(space, self.shrinking.cost, self.supernet.space)
        found = derive_network(self.supernet, cost=cost, budget=budget)
        figures = self.task.evaluator(found.network)()
        write_found(
            self.run.path / folder,
            found,
            space,
            metric=self.metric,
            budget=budget,
            budget_cost=genotype_cost(
                self.supernet.space, cost, found.selection.widths
            ),
            figures={self.task.score: figures[self.task.score]},
        )
        return found


def budget_name(budget: float) -> str:
    """Returns a budget as part of a folder's name: `2000000`, or `0.08` of little."""
    return f"{budget:.0f}" if budget >= 1000 else f"{budget:g}"


def _mean_entropy(supernet: Supernet, space: SearchSpace) -> float:
    """Returns the mean entropy of the space's gates in bits: 0 when all have decided.

    Channels that were cut out have decided.
    """
    p = np.concatenate([np.asarray(p) for p in supernet.keep_probabilities().values()])
    p = np.clip(p.astype(np.float64), 1e-12, 1 - 1e-12)
    entropy = -p * np.log2(p) - (1 - p) * np.log2(1 - p)
    return float(np.sum(entropy)) / sum(choice.values[-1] for choice in space.choices)
