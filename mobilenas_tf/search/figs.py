"""FiGS: one differentiable search that selects operators and their widths.

Source: Ray Chaudhuri et al., Fine-Grained Stochastic Architecture Search,
arXiv:2006.09581 (abstract), and the authors' reference code, morph_net
`probabilistic_gating`. Differs: spaces, schedules and the controller of the budget
are ours, as the paper's are not public; every such choice is named where it is made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from mobilenas_tf.costs.network import cost_function, network_cost
from mobilenas_tf.costs.ops import Cost
from mobilenas_tf.json_io import write_json
from mobilenas_tf.layers.gates import HardConcreteGate, LogisticSigmoidGate
from mobilenas_tf.models.compact import build_network
from mobilenas_tf.models.derive import (
    Selection,
    derived_architecture,
    select_channels,
)
from mobilenas_tf.models.network_io import INHERITED_WEIGHTS, save_network
from mobilenas_tf.models.supernet import Supernet, build_supernet_model
from mobilenas_tf.models.weight_transfer import transfer_weights
from mobilenas_tf.search.config import BudgetConfig, FigsConfig
from mobilenas_tf.space import SearchSpace
from mobilenas_tf.spec import Architecture
from mobilenas_tf.training.budget import BudgetSchedule
from mobilenas_tf.training.config import OptimizerConfig, TrainingConfig
from mobilenas_tf.training.data import ClassificationData
from mobilenas_tf.training.loop import class_predictor, evaluate_accuracy, run_epochs
from mobilenas_tf.training.optimizers import build_optimizer
from mobilenas_tf.training.run_dir import RunDir
from mobilenas_tf.training.search_trainer import SearchTrainer

# Log-odds that a gate can travel in a search; decides Adam's default learning rate.
GATE_TRAVEL = 40.0
# A search whose expected cost ends over this share of the budget was too short.
_LATE = 1.1


@dataclasses.dataclass(frozen=True)
class FigsResult:
    """A finished search. `network` carries the supernet's weights."""

    supernet: Supernet
    architecture: Architecture
    network: keras.Model
    selection: Selection

    @property
    def cost(self) -> Cost:
        """Cost of the found network."""
        return network_cost(self.architecture)


def check_budget(space: SearchSpace, budget: BudgetConfig) -> None:
    """Raises a ValueError if no network of the space can be just within the budget."""
    smallest, largest = (
        getattr(network_cost(space.resolve(genotype)), budget.metric)
        for genotype in (space.smallest(), space.largest())
    )
    if not smallest <= budget.budget <= largest:
        raise ValueError(
            f"max_{budget.metric} must be from {smallest:,} to {largest:,}, what the "
            f"space {space.name} can reach. Received: {budget.budget:,.0f}"
        )


def search_figs(
    space: SearchSpace,
    data: ClassificationData,
    run: RunDir,
    *,
    config: FigsConfig,
    budget: BudgetConfig,
    optimizer: OptimizerConfig,
    training: TrainingConfig,
) -> FigsResult:
    """Searches the space for a network within the budget.

    Writes into the run folder: metrics and checkpoints as it goes, then
    `architecture.json`, `search.json` (what was kept of what) and the found network's
    weights out of the supernet.

    Args:
        space: A space whose supernet has the data's classes.
        data: Training and validation images.
        run: Run folder; a search that was stopped there goes on.
        config: The method's options.
        budget: What the network may cost.
        optimizer: Of the weights.
        training: Length and regularisation of the search.

    Raises:
        ValueError: If the space cannot reach the budget.
    """
    check_budget(space, budget)
    keras.utils.set_random_seed(training.seed)
    supernet = build_supernet_model(
        space,
        gate_factory(config),
        batch_norm_momentum=training.batch_norm_momentum,
        dropout_rate=training.dropout_rate,
        seed=1000 * training.seed,
    )
    trainer = _trainer(supernet, data, config, budget, optimizer, training)
    cost = trainer.expected_cost
    predict = class_predictor(supernet.model)

    def evaluate() -> dict[str, float]:
        open_widths = {
            path: float(count)
            for path, count in supernet.expected_widths(_open_masks(supernet)).items()
        }
        return {
            "validation_accuracy": evaluate_accuracy(predict, data.validation()),
            "derived_cost": float(cost(open_widths)),
            "gate_entropy": _mean_entropy(supernet),
        }

    last = run_epochs(
        trainer,
        data.train_epoch,
        epochs=training.epochs,
        run=run,
        phase="search",
        evaluate=evaluate,
        checkpoint_every_epochs=training.checkpoint_every_epochs,
    )
    if last["expected_cost"] > _LATE * budget.budget:
        logging.warning(
            "The expected cost is still %.0f %% of the budget: what does not fit is "
            "cut off by rank. Search for more epochs.",
            100 * last["expected_cost"] / budget.budget,
        )
    probabilities = {
        path: np.asarray(p) for path, p in supernet.keep_probabilities().items()
    }
    selection = select_channels(space, probabilities, cost=cost, budget=budget.budget)
    result = _derive(supernet, selection, training)
    _write_result(run, supernet, selection, result.architecture, budget)
    save_network(
        run.path, result.architecture, result.network, weights_file=INHERITED_WEIGHTS
    )
    return result


def gate_factory(config: FigsConfig) -> Callable[[int, str, int], Any]:
    """Returns the function that makes the configured gates."""
    if config.gate == "hard_concrete":
        return lambda channels, name, seed: HardConcreteGate(
            channels, initial_logit=config.initial_logit, seed=seed, name=name
        )
    return lambda channels, name, seed: LogisticSigmoidGate(
        channels,
        temperature=config.temperature_start,
        estimator=config.estimator,
        initial_logit=config.initial_logit,
        seed=seed,
        name=name,
    )


def _trainer(
    supernet: Supernet,
    data: ClassificationData,
    config: FigsConfig,
    budget: BudgetConfig,
    optimizer: OptimizerConfig,
    training: TrainingConfig,
) -> SearchTrainer:
    space = supernet.space
    cost = cost_function(space.supernet, budget.metric)
    total_steps = data.steps_per_epoch * training.epochs

    def temperature(progress: tf.Tensor) -> tf.Tensor:
        ratio = config.temperature_end / config.temperature_start
        return config.temperature_start * tf.pow(ratio, progress)

    trainer = SearchTrainer(
        supernet,
        expected_cost=cost,
        schedule=BudgetSchedule(
            start_cost=float(
                cost(supernet.expected_widths(supernet.keep_probabilities()))
            ),
            budget=budget.budget,
            warmup=config.warmup_fraction,
            settle=config.settle_fraction,
        ),
        temperature=temperature if config.gate == "logistic_sigmoid" else None,
        total_steps=total_steps,
        penalty=config.penalty,
        label_smoothing=training.label_smoothing,
        name="search_trainer",
    )
    trainer.compile(
        build_optimizer(
            optimizer,
            supernet.weight_variables,
            steps_per_epoch=data.steps_per_epoch,
            epochs=training.epochs,
            batch_size=data.config.batch_size,
        ),
        # Gates: Adam without decay of the rate, as the reference code's documentation
        # recommends for learning structure. Differs: an optimizer of their own.
        keras.optimizers.Adam(config.gate_learning_rate or GATE_TRAVEL / total_steps),
    )
    trainer.prepare()
    return trainer


def _open_masks(supernet: Supernet) -> dict[str, tf.Tensor]:
    return {
        path: tf.cast(p > 0.5, tf.float32)
        for path, p in supernet.keep_probabilities().items()
    }


def _mean_entropy(supernet: Supernet) -> float:
    """Returns the gates' mean entropy in bits: 0 when all have decided."""
    p = np.concatenate([np.asarray(p) for p in supernet.keep_probabilities().values()])
    p = np.clip(p.astype(np.float64), 1e-12, 1 - 1e-12)
    return float(np.mean(-p * np.log2(p) - (1 - p) * np.log2(1 - p)))


def _derive(
    supernet: Supernet, selection: Selection, training: TrainingConfig
) -> FigsResult:
    name = f"{supernet.space.name}_found"
    architecture = derived_architecture(supernet.space, selection, name=name)
    network = build_network(
        architecture,
        batch_norm_momentum=training.batch_norm_momentum,
        dropout_rate=training.dropout_rate,
    )
    transfer_weights(supernet, selection, network)
    return FigsResult(supernet, architecture, network, selection)


def _write_result(
    run: RunDir,
    supernet: Supernet,
    selection: Selection,
    architecture: Architecture,
    budget: BudgetConfig,
) -> None:
    found, whole = network_cost(architecture), network_cost(supernet.space.supernet)
    write_json(
        run.path / "search.json",
        {
            "space": supernet.space.name,
            "channel_divisor": supernet.space.channel_divisor,
            "metric": budget.metric,
            "budget": budget.budget,
            "supernet": supernet.space.supernet,
            "supernet_cost": {"macs": whole.macs, "params": whole.params},
            "derived_cost": {"macs": found.macs, "params": found.params},
            "threshold": selection.threshold,
            "widths": selection.widths,
            "probabilities": _probability_summary(supernet.keep_probabilities()),
        },
    )


def _probability_summary(probabilities: Mapping[str, Any]) -> dict[str, Any]:
    return {
        path: {
            "mean": float(np.mean(p)),
            "undecided": float(np.mean((np.asarray(p) > 0.1) & (np.asarray(p) < 0.9))),
        }
        for path, p in probabilities.items()
    }
