"""Training of a one-shot supernet with shrinking, and its file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
import tqdm

from mobilenas_tf.json_io import from_plain, read_json, read_object, write_json
from mobilenas_tf.json_text import shown
from mobilenas_tf.models.array_file import read_arrays, write_arrays
from mobilenas_tf.models.one_shot_supernet import OneShotSupernet
from mobilenas_tf.models.one_shot_weights import used_kernels
from mobilenas_tf.one_shot_space import OneShotGenotype, OneShotSpace
from mobilenas_tf.search.config import OneShotConfig
from mobilenas_tf.search.evolution import Budgets, check_reachable
from mobilenas_tf.search.one_shot_sampling import Sampling, genotype_macs
from mobilenas_tf.search.shrinking import (
    Evidence,
    network_angle,
    operation_evidence,
    random_turn_off,
    to_turn_off,
)
from mobilenas_tf.training.classification import classification_objective
from mobilenas_tf.training.config import DataConfig, OptimizerConfig, TrainingConfig
from mobilenas_tf.training.data import ClassificationData
from mobilenas_tf.training.distribution import agreed
from mobilenas_tf.training.loop import run_epochs
from mobilenas_tf.training.one_shot_scoring import NetworkScorer
from mobilenas_tf.training.one_shot_trainer import OneShotTrainer
from mobilenas_tf.training.optimizers import build_optimizer
from mobilenas_tf.training.repetition import start_from_seed
from mobilenas_tf.training.run_dir import RunDir

WEIGHTS, DESCRIPTION = "supernet.npz", "supernet.json"
TURNED_OFF = "turned_off.json"
# Of a data configuration: what decides which images learn, which ones score, and how
# they look.
_IMAGES = (
    *("dataset", "max_train_images", "validation_fraction", "seed"),
    "central_crop_fraction",
)


def train_supernet(
    space: OneShotSpace,
    data: ClassificationData,
    run: RunDir,
    *,
    config: OneShotConfig,
    optimizer: OptimizerConfig,
    training: TrainingConfig,
    budgets: Budgets | None = None,
) -> tuple[OneShotSupernet, OneShotSpace]:
    """Trains a supernet; returns it, and the space that shrinking has left.

    Writes metrics and checkpoints as it goes, `turned_off.json` with the evidence of
    every turn-off, then the supernet's weights. A training that was stopped goes on.

    Args:
        space: Whole.
        data: Training images; validation images score.
        run: Run folder.
        config: The method's options.
        optimizer: Of the weights.
        training: Length and regularisation.
        budgets: That shrinking leaves networks for.
    """
    start_from_seed(training)
    supernet = OneShotSupernet(
        space, has_shared_kernels=config.has_shared_kernels, name="supernet"
    )
    trainer = OneShotTrainer(
        supernet,
        classification_objective(),
        has_distillation=config.has_distillation and config.has_sandwich,
        label_smoothing=training.label_smoothing,
        name="one_shot_trainer",
    )
    trainer.compile(
        build_optimizer(
            optimizer,
            supernet.trainable_variables,
            steps_per_epoch=data.steps_per_epoch,
            epochs=training.epochs,
            batch_size=data.config.batch_size,
        )
    )
    scorer = network_scorer(supernet, data, config)
    shrinking = _Shrinking(
        space,
        scorer,
        config,
        epochs=training.epochs,
        seed=training.seed,
        log_path=run.path / TURNED_OFF,
        initial=[np.array(v) for v in supernet.trainable_variables],
        budgets=budgets or {},
    )
    sampling = Sampling(
        networks=config.sampled_networks,
        has_sandwich=config.has_sandwich,
        is_cost_uniform=config.is_cost_uniform,
        widen_from=config.widen_from,
        widen_to=config.widen_to,
    )

    def train_epoch(epoch: int) -> tf.data.Dataset:
        steps = sampling.epoch(
            shrinking.space,
            steps=data.steps_per_epoch,
            progress=epoch / training.epochs,
            seed=(training.seed, epoch),
        )
        plans = np.array([[supernet.plan_of(g) for g in step] for step in steps])
        return tf.data.Dataset.zip(
            data.train_epoch(epoch), tf.data.Dataset.from_tensor_slices(plans)
        )

    def evaluate() -> dict[str, float]:
        left = shrinking.space
        return {
            "validation_accuracy": scorer.accuracy(left.widest()),
            "narrowest_validation_accuracy": scorer.accuracy(left.narrowest()),
            "log10_networks": left.log10_size(),
        }

    run_epochs(
        trainer,
        train_epoch,
        epochs=training.epochs,
        run=run,
        phase="supernet",
        evaluate=evaluate,
        saving=training.saving,
        resizing=shrinking,
    )
    write_supernet(run.path, supernet, shrinking.space, config)
    return supernet, shrinking.space


def network_scorer(
    supernet: OneShotSupernet, data: ClassificationData, config: OneShotConfig
) -> NetworkScorer:
    """Returns what scores the supernet's networks on the validation images."""
    return NetworkScorer(
        supernet,
        data,
        calibration_images=min(config.calibration_images, data.num_train),
        score_images=config.score_images,
        score_by=config.score_by,
    )


@dataclasses.dataclass(frozen=True)
class _Description:
    """What a supernet's file is of; `turned_off` as in `OneShotSpace`."""

    space: str
    num_classes: int
    has_shared_kernels: bool
    turned_off: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class TurnOff:
    """An operation that was turned off after an epoch, `by` which measure.

    The other fields are those of the `Evidence` against it.
    """

    epoch: int
    by: str
    path: str
    operation: str
    best: str
    behind: float
    standard_error: float


def read_turn_offs(path: Path) -> tuple[TurnOff, ...]:
    """Reads the log of a supernet's shrinking; there is none before the first.

    Raises:
        ValueError: If it is damaged.
    """
    if not path.exists():
        return ()
    plain = read_json(path, leave_out=["type"])  # older files have it
    return from_plain(tuple[TurnOff, ...], plain, str(path))


def write_supernet(
    folder: Path, supernet: OneShotSupernet, space: OneShotSpace, config: OneShotConfig
) -> None:
    """Writes a supernet's weights and what it is of, for further searches."""
    write_arrays(folder / WEIGHTS, {v.path: v for v in supernet.trainable_variables})
    description = _Description(
        space.name, space.num_classes, config.has_shared_kernels, space.turned_off
    )
    write_json(folder / DESCRIPTION, dataclasses.asdict(description))


def check_trained(folder: Path) -> None:
    """Raises a FileNotFoundError unless a run folder holds a trained supernet."""
    for name in (DESCRIPTION, WEIGHTS):
        if not (folder / name).exists():
            raise FileNotFoundError(
                f"{folder} must be the run folder of a one-shot search whose supernet "
                f"is trained to its end. {name} is missing"
            )


def check_same_images(folder: Path, data: DataConfig) -> None:
    """Raises a ValueError if a supernet may have learnt from what is to score.

    Args:
        folder: Run folder of a supernet's training.
        data: Whose validation images are to score the supernet's networks.
    """
    path = folder / "config.json"
    before = read_object(path).get("data") if path.exists() else None
    if not isinstance(before, dict):
        return
    for name in _IMAGES:
        there, here = before.get(name), getattr(data, name)
        if there != here:
            raise ValueError(
                f"{name} must be as in {path}: the supernet there has learnt from all "
                "images but its validation images, which must be those that score. "
                f"Received: {name}={shown(here)} instead of {shown(there)}"
            )


def read_supernet(
    folder: Path, space: OneShotSpace
) -> tuple[OneShotSupernet, OneShotSpace]:
    """Returns the trained supernet of a run folder, and the space that was left.

    Raises:
        FileNotFoundError: If the folder holds no trained supernet.
        ValueError: If it is of another space or damaged.
    """
    check_trained(folder)
    path, weights_path = folder / DESCRIPTION, folder / WEIGHTS
    description = from_plain(_Description, read_json(path), str(path))
    for key, wanted in (("space", space.name), ("num_classes", space.num_classes)):
        found = getattr(description, key)
        if found != wanted:
            raise ValueError(
                f"{path} must be of {key}={wanted}. Received: {key}={found!r}"
            )
    supernet = OneShotSupernet(
        space, has_shared_kernels=description.has_shared_kernels, name="supernet"
    )
    arrays = read_arrays(weights_path)
    here = {v.path: tuple(v.shape) for v in supernet.trainable_variables}
    for name in sorted({*here, *arrays}):
        there = arrays[name].shape if name in arrays else None
        if there != here.get(name):
            raise ValueError(
                f"{weights_path} must hold the weights of {space.name}. "
                f"Received: {name} of shape {there} instead of {here.get(name)}"
            )
    for variable in supernet.trainable_variables:
        variable.assign(arrays[variable.path])
    return supernet, _without(space, description.turned_off, where=str(path))


def _without(
    space: OneShotSpace, turned_off: Iterable[tuple[str, str]], *, where: str
) -> OneShotSpace:
    """Returns the space without operations, by path and name; `where` names them."""
    for path, operation in turned_off:
        try:
            space = space.without(path, operation)
        except ValueError as error:
            raise ValueError(f"{where} must fit the space: {error}") from error
    return space


@dataclasses.dataclass
class _Shrinking:
    """What happens to the space between epochs: operations are turned off."""

    space: OneShotSpace
    scorer: NetworkScorer
    config: OneShotConfig
    epochs: int
    seed: int
    log_path: Path
    initial: list[np.ndarray]
    budgets: Budgets

    def __post_init__(self) -> None:
        self.whole = self.space

    def after_epoch(self, epoch: int) -> bool:
        """Turns operations off if it is time to; no variable is replaced."""
        if self.config.shrink_by == "none" or epoch not in self._round_epochs():
            return False
        for case in self._cases(epoch):
            left = self.space.without(case.path, case.operation)
            try:
                check_reachable(left, self.budgets)
            except ValueError as error:
                tqdm.tqdm.write(f"Kept {case.operation} of {case.path}: {error}")
                continue
            self.space = left
            by = self.config.shrink_by
            event = TurnOff(epoch, by, **dataclasses.asdict(case))
            self._write([*read_turn_offs(self.log_path), event])
            tqdm.tqdm.write(
                f"Turned off {case.operation} of {case.path}: "
                + (
                    f"{100 * case.behind:.2f} behind {case.best} "
                    f"(+- {100 * case.standard_error:.2f})"
                    if case.best
                    else "by chance"
                )
            )
        return False

    def restore(self, epoch: int) -> None:
        """Gives back the space that there was after `epoch` epochs."""
        noted = read_turn_offs(self.log_path)
        events = [event for event in noted if event.epoch <= epoch]
        turned_off = [(event.path, event.operation) for event in events]
        self.space = _without(self.whole, turned_off, where=str(self.log_path))
        if len(events) < len(noted):
            self._write(events)

    def _round_epochs(self) -> set[int]:
        config = self.config
        shares = np.linspace(config.shrink_from, config.shrink_to, config.shrink_rounds)
        return {max(int(round(share * self.epochs)), 1) for share in shares}

    def _cases(self, epoch: int) -> list[Evidence]:
        config, rng = self.config, np.random.default_rng([self.seed, epoch])
        if config.shrink_by == "random":
            return random_turn_off(self.space, places=config.shrink_places, rng=rng)
        genotypes = [self.space.sample(rng) for _ in range(config.shrink_networks)]
        if config.shrink_by == "score":
            scores = list(self.scorer.scores(genotypes))
        else:
            scores = list(map(self._angles(), genotypes))
        evidence = operation_evidence(
            self.space,
            genotypes,
            agreed(scores),
            [genotype_macs(self.space, genotype) for genotype in genotypes],
        )
        return to_turn_off(evidence, places=config.shrink_places)

    def _angles(self) -> Callable[[OneShotGenotype], float]:
        """Returns what tells how far a network's weights have turned by now."""
        supernet = self.scorer.supernet
        now = [np.array(variable) for variable in supernet.trainable_variables]
        return lambda genotype: network_angle(
            used_kernels(supernet, genotype, self.initial),
            used_kernels(supernet, genotype, now),
        )

    def _write(self, events: Sequence[TurnOff]) -> None:
        write_json(self.log_path, [dataclasses.asdict(event) for event in events])
