"""Live shrinking: a search that sheds what it has decided against.

Channels that are surely dead are cut out of the supernet between two epochs, with
their part of the weights, of batch norm's statistics and of both optimizers' slots.
Closed gates make exact zeros, so the supernet's outputs stay what they were.

Source: Mei et al., AtomNAS, arXiv:1912.09640, section 3.3 ("dynamic network
shrinkage"). Differs: what is dead is said by a gate's probability rather than by a
batch-norm scale, widths stay multiples of the divisor, and a cut is made when it saves
more work than building the narrower network costs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tqdm

from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.costs.space_cost import (
    CostFunction,
    genotype_cost,
    narrowed_cost,
    whole_widths,
)
from mobilenas_tf.models.derive import Selection, select_live_channels
from mobilenas_tf.models.supernet import Supernet
from mobilenas_tf.models.weight_transfer import VariableCut, variable_cuts
from mobilenas_tf.space import SearchSpace
from mobilenas_tf.training.cuts import Cut, read_cuts, write_cuts
from mobilenas_tf.training.optimizers import carry_state
from mobilenas_tf.training.search_trainer import SearchTrainer

# A cut that saves less of a step than this is put off.
_LEAST_SAVING = 0.1

Optimizers = tuple[keras.optimizers.Optimizer, keras.optimizers.Optimizer]


@dataclasses.dataclass(frozen=True)
class LiveShrinking:
    """What `run_epochs` calls between epochs to narrow a trainer's supernet.

    Attributes:
        trainer: Trains a supernet of `space`, or already of a part of it.
        space: The whole space.
        build: Makes the supernet of a space.
        make_optimizers: Makes the optimizers of a supernet's weights and gates.
        cost: Of the whole space, in the unit of the budget.
        events_path: JSON file of the cuts so far.
        dead_below: Keep probability under which a channel is surely dead.
        retrace_steps: What going on with another network costs, in training steps.
    """

    trainer: SearchTrainer
    space: SearchSpace
    build: Callable[[SearchSpace], Supernet]
    make_optimizers: Callable[[Supernet], Optimizers]
    cost: CostFunction
    events_path: Path
    dead_below: float
    retrace_steps: float

    def after_epoch(self, epoch: int) -> bool:
        """Cuts dead channels out if that pays; returns whether it did."""
        supernet = self.trainer.supernet
        selection = select_live_channels(
            supernet.space,
            {path: np.asarray(p) for path, p in supernet.keep_probabilities().items()},
            dead_below=self.dead_below,
        )
        space = supernet.space.narrowed(selection.widths)
        before, after = (
            network_cost(part.supernet) for part in (supernet.space, space)
        )
        saving = 1.0 - after.macs / before.macs
        steps_done = int(self.trainer.optimizer.iterations.numpy())
        steps_left = self.trainer.total_steps - steps_done
        if saving < _LEAST_SAVING or saving * steps_left <= self.retrace_steps:
            return False
        # What is left must still be able to fill the budget.
        progress = steps_done / self.trainer.total_steps
        budget = self.trainer.schedule.budget_after(progress)
        cost = narrowed_cost(self.space, self.cost, space)
        if genotype_cost(space, cost, space.largest()) < budget:
            return False
        # And the last one must still have a network.
        least = genotype_cost(space, cost, space.smallest())
        if least > min(self.trainer.schedule.budgets):
            return False
        self._go_on_with(self.build(space), selection)
        cut = Cut(epoch, after.macs, self._widths())
        write_cuts(self.events_path, [*read_cuts(self.events_path), cut])
        tqdm.tqdm.write(
            f"Shrunk the supernet from {before.macs / 1e6:.2f} M to "
            f"{after.macs / 1e6:.2f} M multiply-adds"
        )
        return True

    def restore(self, epoch: int) -> None:
        """Gives the trainer the supernet that it had after `epoch` epochs."""
        noted = read_cuts(self.events_path)
        cuts = tuple(cut for cut in noted if cut.epoch <= epoch)
        widths = cuts[-1].widths if cuts else self.space.largest()
        try:
            narrowed = self.space.narrowed(widths)
        except ValueError as error:
            raise ValueError(
                f"{self.events_path} must fit the space: {error}"
            ) from error
        if cuts != noted:
            write_cuts(self.events_path, cuts)
        if widths != self._widths():
            self._adopt(self.build(narrowed))

    def _go_on_with(self, narrow: Supernet, selection: Selection) -> None:
        trainer = self.trainer
        wide = trainer.supernet
        optimizers = trainer.optimizer, trainer.architecture_optimizer
        cuts = supernet_cuts(wide, narrow, selection)
        for cut in cuts:
            cut.copy()
        self._adopt(narrow)
        carry_state(optimizers[0], trainer.optimizer, cuts)
        carry_state(optimizers[1], trainer.architecture_optimizer, cuts)

    def _adopt(self, supernet: Supernet) -> None:
        weight_optimizer, architecture_optimizer = self.make_optimizers(supernet)
        self.trainer.adopt(
            supernet,
            narrowed_cost(self.space, self.cost, supernet.space),
            weight_optimizer=weight_optimizer,
            architecture_optimizer=architecture_optimizer,
        )

    def _widths(self) -> dict[str, int]:
        """Returns the widths of the trainer's supernet by path of the whole space."""
        return whole_widths(self.space, self.trainer.supernet.space.largest())


def supernet_cuts(
    wide: Supernet, narrow: Supernet, selection: Selection
) -> list[VariableCut]:
    """Returns the cuts of all variables of a narrower supernet, its gates' included.

    Args:
        wide: A supernet.
        narrow: The supernet of `wide.space.narrowed(selection.widths)`.
        selection: Which channels stay.
    """
    whole = wide.space.supernet
    cuts = list(variable_cuts(whole, wide.model, narrow.model, selection.kept))
    for path, gate in narrow.gates.items():
        by_channel = {0: np.flatnonzero(selection.kept[path])}
        cuts.extend(
            VariableCut(source, target, by_channel if len(source.shape) else {})
            for source, target in zip(
                wide.gates[path].weights, gate.weights, strict=True
            )
        )
    for layer in narrow.model.layers:
        seeds = _seeds(wide.model.get_layer(layer.name)), _seeds(layer)
        cuts.extend(VariableCut(*pair, {}) for pair in zip(*seeds, strict=True))
    return cuts


def _seeds(layer: keras.Layer) -> list[keras.Variable]:
    """Returns the state of a layer's random numbers, which is no weight to Keras."""
    weights = {id(variable) for variable in layer.weights}
    return [variable for variable in layer.variables if id(variable) not in weights]
