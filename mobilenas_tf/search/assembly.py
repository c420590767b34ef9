"""How the parts of a FiGS search are made: gates, supernet, optimizers, trainer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras
import tensorflow as tf

from mobilenas_tf.layers.gates import (
    BatchNormScaleGate,
    HardConcreteGate,
    LogisticSigmoidGate,
    WidthChoiceGate,
)
from mobilenas_tf.models.supernet import (
    GateFactory,
    Supernet,
    build_supernet_model,
)
from mobilenas_tf.search.config import FigsConfig
from mobilenas_tf.search.width_budget import WidthBudget
from mobilenas_tf.space import SearchSpace
from mobilenas_tf.training.budget import BudgetSchedule
from mobilenas_tf.training.config import OptimizerConfig, TrainingConfig
from mobilenas_tf.training.optimizers import build_optimizer
from mobilenas_tf.training.search_trainer import SearchTrainer
from mobilenas_tf.training.task import Objective

# Log-odds that a gate can travel in a search; decides Adam's default learning rate.
GATE_TRAVEL = 140.0
# As much for the logits of counts, which a softmax turns into probabilities.
WIDTH_TRAVEL = 20.0
# First and last temperature of choices of counts, as of FBNet's operators.
_WIDTH_TEMPERATURES = (5.0, 0.1)
# Scales of batch norm shrink by SGD, which answers a penalty later than gates by Adam.
_SCALE_GAIN = 5.0


@dataclasses.dataclass(frozen=True)
class SearchAssembly:
    """What a search is put together from."""

    space: SearchSpace
    config: FigsConfig
    budget: WidthBudget
    optimizer: OptimizerConfig
    training: TrainingConfig
    objective: Objective
    steps_per_epoch: int
    batch_size: int

    @property
    def total_steps(self) -> int:
        """Steps of the whole search."""
        return self.steps_per_epoch * self.training.epochs

    def supernet(self, space: SearchSpace) -> Supernet:
        """Returns the supernet of the space or of a part of it."""
        return build_supernet_model(
            space,
            gate_factory(self.config),
            batch_norm_momentum=self.training.batch_norm_momentum,
            dropout_rate=self.training.dropout_rate,
            drop_path_rate=self.training.drop_path_rate,
            seed=1000 * self.training.seed,
        )

    def optimizers(
        self, supernet: Supernet
    ) -> tuple[keras.optimizers.Optimizer, keras.optimizers.Optimizer]:
        """Returns the optimizers of a supernet's weights and of its gates.

        Gates: Adam without decay of the rate, as the reference code's documentation
        recommends for learning structure. Differs: an optimizer of their own.
        """
        weight_optimizer = build_optimizer(
            self.optimizer,
            supernet.weight_variables,
            steps_per_epoch=self.steps_per_epoch,
            epochs=self.training.epochs,
            batch_size=self.batch_size,
        )
        travel = WIDTH_TRAVEL if self.config.gate == "width_choice" else GATE_TRAVEL
        rate = self.config.gate_learning_rate or travel / self.total_steps
        return weight_optimizer, keras.optimizers.Adam(rate)

    def trainer(self) -> SearchTrainer:
        """Returns the trainer of the whole space's supernet."""
        supernet = self.supernet(self.space)
        start_cost = self.budget.cost(
            supernet.expected_widths(supernet.priced_channels())
        )
        trainer = SearchTrainer(
            supernet,
            self.objective,
            expected_cost=self.budget.cost,
            schedule=budget_schedule(
                self.config, self.budget, start_cost=float(start_cost)
            ),
            temperature=_temperature(self.config),
            total_steps=self.total_steps,
            penalty=self.config.penalty,
            controller_gain=_SCALE_GAIN
            if self.config.gate == "batch_norm_scale"
            else 1,
            name="search_trainer",
        )
        trainer.compile(*self.optimizers(supernet))
        return trainer


def budget_schedule(
    config: FigsConfig, budget: WidthBudget, *, start_cost: float
) -> BudgetSchedule:
    """Returns the course of the expected cost from `start_cost` on."""
    return BudgetSchedule(
        start_cost=start_cost,
        budgets=budget.budgets,
        warmup=config.warmup_fraction,
        settle=config.settle_fraction,
    )


def gate_factory(config: FigsConfig) -> GateFactory:
    """Returns the function that makes the configured gates."""
    if config.gate == "batch_norm_scale":
        return lambda choice, name, _: BatchNormScaleGate(choice.values[-1], name=name)
    if config.gate == "hard_concrete":
        return lambda choice, name, seed: HardConcreteGate(
            choice.values[-1], initial_logit=config.initial_logit, seed=seed, name=name
        )
    if config.gate == "width_choice":
        return lambda choice, name, seed: WidthChoiceGate(
            choice.values, temperature=_WIDTH_TEMPERATURES[0], seed=seed, name=name
        )
    return lambda choice, name, seed: LogisticSigmoidGate(
        choice.values[-1],
        temperature=config.temperature_start,
        estimator=config.estimator,
        initial_logit=config.initial_logit,
        seed=seed,
        name=name,
    )


def _temperature(config: FigsConfig) -> Callable[[tf.Tensor], tf.Tensor] | None:
    temperatures = {
        "logistic_sigmoid": (config.temperature_start, config.temperature_end),
        "width_choice": _WIDTH_TEMPERATURES,
    }
    if config.gate not in temperatures:
        return None
    start, end = temperatures[config.gate]
    return lambda progress: start * tf.pow(end / start, progress)
