"""DNAS: the operators of a network are chosen by gradients, for a measured cost.

Source: Wu et al., FBNet: Hardware-aware efficient ConvNet design via differentiable
neural architecture search, arXiv:1812.03443. Differs: the user names a budget, which a
controller holds and the found network keeps; the most probable network within it is
the solution of an integer programme, not an argmax.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from mobilenas_tf.block_space import BlockGenotype, BlockSpace
from mobilenas_tf.costs.bit_widths import bit_costs, bit_macs, weight_bytes
from mobilenas_tf.costs.block_costs import BlockCosts, block_costs, most_probable
from mobilenas_tf.costs.latency_table import LatencyTable, required_table
from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.json_io import write_json
from mobilenas_tf.models.block_supernet import BlockSupernet, inherit_weights
from mobilenas_tf.models.network_io import INHERITED_WEIGHTS, save_network
from mobilenas_tf.search.config import DnasConfig, OperatorBudgetConfig
from mobilenas_tf.spec import Architecture, InvertedResidual
from mobilenas_tf.training.budget import BudgetSchedule
from mobilenas_tf.training.config import OptimizerConfig, TrainingConfig
from mobilenas_tf.training.data import ClassificationData
from mobilenas_tf.training.loop import run_epochs
from mobilenas_tf.training.operator_trainer import CostTerm, OperatorTrainer
from mobilenas_tf.training.optimizers import build_optimizer
from mobilenas_tf.training.repetition import start_from_seed
from mobilenas_tf.training.run_dir import RunDir
from mobilenas_tf.training.task import Objective, Task

# What a logit can travel in a search; decides Adam's default learning rate.
LOGIT_TRAVEL = 20.0
_MICROSECOND_MS = 1e-3  # the unit of a latency's logarithm
# Samples drawn for each further network that is asked for.
_DRAWS = 200
SAMPLES = "samples"

# Costs that a network has by itself, by the metric of a budget.
_COSTS: dict[str, Callable[[Architecture], float]] = {
    "macs": lambda network: network_cost(network).macs,
    "params": lambda network: network_cost(network).params,
    "bit_macs": bit_macs,
    "weight_bytes": weight_bytes,
}


@dataclasses.dataclass(frozen=True)
class SearchData:
    """Images that the weights learn by, and others that the choices learn by."""

    weights: ClassificationData
    choices: ClassificationData

    @property
    def steps_per_epoch(self) -> int:
        """Pairs of batches in an epoch."""
        return min(self.weights.steps_per_epoch, self.choices.steps_per_epoch)

    def train_epoch(self, epoch: int) -> tf.data.Dataset:
        """Returns the pairs of batches of an epoch, the same ones at every call."""
        return tf.data.Dataset.zip(
            self.weights.train_epoch(epoch), self.choices.train_epoch(epoch)
        )


@dataclasses.dataclass(frozen=True)
class OperatorBudget:
    """What the found network may cost, and what the space's networks do cost.

    `metric` is that of the config; `value` and `costs` are in its unit.
    """

    metric: str
    value: float
    costs: BlockCosts


@dataclasses.dataclass(frozen=True)
class FoundOperators:
    """A found network, with the supernet's weights, and what it costs."""

    genotype: BlockGenotype
    architecture: Architecture
    network: keras.Model
    cost: float


def operator_budget(
    space: BlockSpace, budget: OperatorBudgetConfig, table: LatencyTable | None
) -> OperatorBudget:
    """Returns the budget with what the space's networks cost.

    Raises:
        ValueError: If a budget in milliseconds has no table, the table lacks entries,
            the space has widths that no table measures, or no network of the space can
            be just within the budget.
    """
    if budget.metric == "ms":
        _check_int8(space)
        costs = block_costs(space, required_table(table, space.name).network_ms)
    else:
        costs = block_costs(space, _COSTS[budget.metric])
    low, high = costs.range
    if not low <= budget.value <= high:
        raise ValueError(
            f"max_{budget.metric} must be from {low:,.4g} (the cheapest network) to "
            f"{high:,.4g} (the dearest), what the space {space.name} can reach. "
            f"Received: {budget.value:,.4g}"
        )
    return OperatorBudget(budget.metric, budget.value, costs)


def _check_int8(space: BlockSpace) -> None:
    for place in space.places:
        for candidate in place.candidates:
            block = candidate.block
            widths = block.bit_widths if isinstance(block, InvertedResidual) else None
            if widths is not None and not widths.is_int8:
                raise ValueError(
                    f"max_ms must not be given for the space {space.name}: a latency "
                    f"table measures int8, not {widths.label} of {place.path}; give "
                    "max_bit_macs or max_weight_bytes"
                )


def search_dnas(
    space: BlockSpace,
    task: Task,
    data: SearchData,
    run: RunDir,
    *,
    config: DnasConfig,
    budget: OperatorBudget,
    optimizer: OptimizerConfig,
    training: TrainingConfig,
) -> FoundOperators:
    """Searches the space for the most probable network within the budget.

    Writes into the run folder: metrics and checkpoints as it goes, then
    `architecture.json`, the inherited weights, and `operators.json`: the probability of
    every candidate, and the found network. Further samples are in `samples/0` on, the
    best first by the validation score of their inherited weights.

    Args:
        space: Of operators, with the data's classes.
        task: What the networks are to do.
        data: Disjoint images for weights and choices.
        run: Run folder; a search that was stopped there goes on.
        config: The method's options.
        budget: What the network may cost.
        optimizer: Of the weights.
        training: Length and regularisation of the search.
    """
    start_from_seed(training)
    total_steps = data.steps_per_epoch * training.epochs
    trainer = search_trainer(
        space,
        task.objective,
        config,
        budget,
        total_steps=total_steps,
        dropout_rate=training.dropout_rate,
        batch_norm_momentum=training.batch_norm_momentum,
        seed=1000 * training.seed,
    )
    supernet = trainer.supernet
    rate = config.architecture_learning_rate or LOGIT_TRAVEL / total_steps
    trainer.compile(
        build_optimizer(
            optimizer,
            supernet.weight_variables,
            steps_per_epoch=data.steps_per_epoch,
            epochs=training.epochs,
            batch_size=data.weights.config.batch_size,
        ),
        keras.optimizers.AdamW(rate, weight_decay=config.architecture_weight_decay),
    )
    course = _Course(supernet, task, run, budget)
    run_epochs(
        trainer,
        data.train_epoch,
        epochs=training.epochs,
        run=run,
        phase="search",
        evaluate=course.evaluate,
        saving=training.saving,
    )
    return course.finish(config.num_samples, seed=training.seed)


def search_trainer(
    space: BlockSpace,
    objective: Objective,
    config: DnasConfig,
    budget: OperatorBudget,
    *,
    total_steps: int,
    dropout_rate: float,
    batch_norm_momentum: float = 0.99,
    seed: int = 0,
) -> OperatorTrainer:
    """Returns the trainer of a space's supernet, not compiled.

    Args:
        space: Of operators.
        objective: The task's loss.
        config: The method's options.
        budget: What the network may cost.
        total_steps: Steps of the whole search.
        dropout_rate: Before the classifier.
        batch_norm_momentum: Share of the moving statistics that each step keeps.
        seed: Of all choices' noise.
    """
    supernet = BlockSupernet(
        space,
        sampling=config.sampling,
        has_shared_kernels=config.has_shared_kernels,
        batch_norm_momentum=batch_norm_momentum,
        dropout_rate=dropout_rate,
        temperature=config.temperature_start,
        seed=seed,
        name="supernet",
    )
    supernet(tf.zeros((1, space.image_size_px, space.image_size_px, 3)))
    ratio = config.temperature_end / config.temperature_start
    return OperatorTrainer(
        supernet,
        objective,
        costs=budget.costs,
        schedule=BudgetSchedule(
            start_cost=float(budget.costs.expected(supernet.probabilities())),
            budgets=(budget.value,),
            warmup=config.warmup_fraction,
            settle=config.settle_fraction,
        ),
        temperature=lambda progress: config.temperature_start * tf.pow(ratio, progress),
        total_steps=total_steps,
        cost_term=CostTerm(
            config.cost_loss,
            config.cost_alpha,
            config.cost_beta,
            unit=_MICROSECOND_MS if budget.metric == "ms" else 1.0,
        ),
        num_paths=config.compared_paths,
        name="operator_trainer",
    )


@dataclasses.dataclass
class _Course:
    """What happens between the epochs of a search, and at its end."""

    supernet: BlockSupernet
    task: Task
    run: RunDir
    budget: OperatorBudget
    evaluator: Callable[[], dict[str, float]] | None = None

    def evaluate(self) -> dict[str, float]:
        """Returns the figures of an epoch: of the likeliest network in the supernet."""
        if self.evaluator is None:
            size_px = self.supernet.space.image_size_px
            image = keras.Input((size_px, size_px, 3))
            self.evaluator = self.task.evaluator(
                keras.Model(image, self.supernet(image, training=False))
            )
        p = self.probabilities()
        derived = {path: int(np.argmax(each)) for path, each in p.items()}
        entropies = [-np.sum(each * np.log2(each + 1e-12)) for each in p.values()]
        return {
            **self.evaluator(),
            "derived_cost": self.budget.costs.of(derived),
            "choice_entropy": float(np.mean(entropies)),
            **{
                f"p/{path}/{candidate.name}": float(value)
                for (path, each), place in zip(
                    p.items(), self.supernet.space.places, strict=True
                )
                for candidate, value in zip(place.candidates, each, strict=True)
            },
        }

    def probabilities(self) -> dict[str, np.ndarray]:
        return {
            path: np.asarray(p, np.float64)
            for path, p in self.supernet.probabilities().items()
        }

    def finish(self, num_samples: int, *, seed: int) -> FoundOperators:
        """Writes the most probable network within the budget, and ranked samples."""
        p = self.probabilities()
        best = self._inherit(most_probable(p, self.budget.costs, self.budget.value))
        samples = [
            self._inherit(genotype) for genotype in self._draw(p, num_samples, seed)
        ]
        scored = [(self._score(found), found) for found in samples]
        scored.sort(key=lambda pair: -pair[0])
        for rank, (_, found) in enumerate(scored):
            folder = self.run.path / SAMPLES / str(rank)
            folder.mkdir(parents=True, exist_ok=True)
            save_network(
                folder,
                found.architecture,
                found.network,
                weights_file=INHERITED_WEIGHTS,
            )
        save_network(
            self.run.path,
            best.architecture,
            best.network,
            weights_file=INHERITED_WEIGHTS,
        )
        low, high = self.budget.costs.range
        write_json(
            self.run.path / "operators.json",
            {
                "space": self.supernet.space.name,
                "metric": self.budget.metric,
                "budget": self.budget.value,
                "range": [low, high],
                "candidates": {
                    place.path: [candidate.name for candidate in place.candidates]
                    for place in self.supernet.space.places
                },
                "probabilities": {path: each.tolist() for path, each in p.items()},
                "found": self._document(best, self._score(best)),
                "samples": [self._document(found, score) for score, found in scored],
            },
        )
        return best

    def _inherit(self, genotype: BlockGenotype) -> FoundOperators:
        network = inherit_weights(self.supernet, genotype)
        return FoundOperators(
            genotype,
            self.supernet.space.resolve(genotype),
            network,
            self.budget.costs.of(genotype),
        )

    def _score(self, found: FoundOperators) -> float:
        return self.task.evaluator(found.network)()[self.task.score]

    def _document(self, found: FoundOperators, score: float) -> dict[str, Any]:
        cost = network_cost(found.architecture)
        return {
            "genotype": found.genotype,
            "cost": found.cost,
            "macs": cost.macs,
            "params": cost.params,
            **bit_costs(found.architecture),
            f"inherited_{self.task.score}": score,
        }

    def _draw(
        self, probabilities: dict[str, np.ndarray], count: int, seed: int
    ) -> list[BlockGenotype]:
        """Returns distinct networks within the budget, drawn from the choices."""
        rng = np.random.default_rng(seed)
        drawn: list[BlockGenotype] = []
        for _ in range(_DRAWS * count):
            if len(drawn) == count:
                break
            genotype = {
                path: int(rng.choice(len(p), p=p / p.sum()))
                for path, p in probabilities.items()
            }
            if (
                self.budget.costs.of(genotype) <= self.budget.value
                and genotype not in drawn
            ):
                drawn.append(genotype)
        if len(drawn) < count:
            logging.warning(
                "Only %d of num_samples=%d further networks are within the budget and "
                "differ, out of %d draws: the choices are nearly made.",
                *(len(drawn), count, _DRAWS * count),
            )
        return drawn
