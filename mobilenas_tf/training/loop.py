"""One loop for every method: epochs, progress, metrics, saving, going on.

A trainer brings `train_step(batch)`, `metrics` and `checkpoint_items()`;
what it learns is its own matter. Driving the compiled step here, rather than `fit`,
traces it once for a whole run.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
import tqdm

from mobilenas_tf.interruption import HeldSignals, hold_signals
from mobilenas_tf.training.checkpoints import Checkpoints, Position, disk_errors
from mobilenas_tf.training.config import SavingConfig
from mobilenas_tf.training.distribution import (
    average_statistics,
    compiled_step,
    worker_share,
)
from mobilenas_tf.training.run_dir import RunDir

Trainer = Any


class Resizing(Protocol):
    """How a trainer's variables change between epochs."""

    def after_epoch(self, epoch: int) -> bool:
        """Called when `epoch` epochs are done; returns if variables were replaced."""
        ...

    def restore(self, epoch: int) -> None:
        """Gives the trainer the variables that it had after `epoch` epochs.

        What was noted of later epochs is forgotten.
        """
        ...


class DivergedError(ValueError):
    """The loss is no longer a finite number."""


# What a line of progress shows of a step's or an epoch's figures.
_SHOWN = {
    "loss": "loss {:.3f}",
    "class_loss": "classes {:.3f}",
    "box_loss": "boxes {:.3f}",
    "accuracy": "accuracy {:.1%}",
    "validation_accuracy": "validation {:.1%}",
    "validation_ap": "validation mAP {:.3f}",
}
# No network's latency is above it, no network's multiply-adds are below.
_LARGEST_MS = 5e3
# Seconds between two updates of the progress bar.
_PROGRESS_INTERVAL = 0.5


def run_epochs(
    trainer: Trainer,
    train_epoch: Callable[[int], tf.data.Dataset],
    *,
    epochs: int,
    run: RunDir,
    phase: str,
    evaluate: Callable[[], dict[str, float]],
    saving: SavingConfig | None = None,
    resizing: Resizing | None = None,
) -> dict[str, float]:
    """Trains for `epochs` epochs and returns the last row of metrics.

    After each epoch one row goes to `metrics.jsonl` and to TensorBoard. A run that
    was stopped goes on behind its last checkpoint, perhaps within an epoch, with the
    rows after it dropped, and ends like one that was not. Ctrl-C and SIGTERM are
    answered behind the step that runs, or the evaluation: by saving.

    Args:
        trainer: A compiled trainer.
        train_epoch: `epoch -> batches`; the same epoch gives the same batches.
        epochs: Epochs of the whole run, those before a stop included.
        run: Run folder.
        phase: Name of this part of the run in the metrics.
        evaluate: Called after each epoch; its figures join the row.
        saving: How often checkpoints are written; the last one is in any case.
        resizing: What happens between epochs to a trainer whose variables change. The
            step is traced anew when they have.

    Raises:
        DivergedError: If the loss is no longer a finite number.
        Interrupted: If a signal has ended the run, which is saved then.
        OSError: If the disk is full; what was saved before stays.
    """
    checkpoints = Checkpoints(run.checkpoints_path, saving or SavingConfig())
    start, row = _go_on(trainer, checkpoints, run, resizing)
    step = compiled_step(trainer)
    writer = tf.summary.create_file_writer(str(run.tensorboard_path))
    with hold_signals() as held:
        saver = _Saver(trainer, checkpoints, held)
        for epoch in range(start.epoch, epochs):
            started = time.monotonic()
            seen = start.batch if epoch == start.epoch else 0
            if not seen:
                for metric in trainer.metrics:
                    metric.reset_state()
            title = f"{phase} {epoch + 1}/{epochs}"
            figures = run_steps(
                step,
                train_epoch(epoch).skip(seen),
                title,
                functools.partial(saver.within_epoch, epoch, seen),
            )
            images_per_second = figures.pop("images") / (time.monotonic() - started)
            average_statistics(trainer.network)
            row = {
                "phase": phase,
                "step": int(trainer.optimizer.iterations.numpy()),
                "epoch": epoch + 1,
                "learning_rate": float(np.array(trainer.optimizer.learning_rate)),
                "images_per_second": images_per_second,
                **(figures or _means(trainer)),
                **evaluate(),
            }
            run.append_metrics(row)
            # Not absl's INFO, which TensorFlow fills with messages of its own.
            tqdm.tqdm.write(f"{title}: {_summary(row)}")
            with disk_errors(run.tensorboard_path):
                _write_summary(writer, row)
            if resizing is not None and resizing.after_epoch(epoch + 1):
                step = compiled_step(trainer)
            saver.after_epoch(epoch + 1, is_last=epoch + 1 == epochs)
    writer.close()
    return row


def _means(trainer: Trainer) -> dict[str, float]:
    """Returns the figures of an epoch whose last step was before the run stopped."""
    return {each.name: float(each.result()) for each in trainer.metrics}


@dataclasses.dataclass(frozen=True)
class _Saver:
    """Saves a run when that is due, or when a signal came, which then ends the run."""

    trainer: Trainer
    checkpoints: Checkpoints
    signals: HeldSignals

    def within_epoch(self, epoch: int, seen: int, steps: int) -> None:
        self._save(Position(epoch, seen + steps), self.checkpoints.is_due())

    def after_epoch(self, epoch: int, *, is_last: bool) -> None:
        is_due = is_last or self.checkpoints.is_due_after(epoch)
        self._save(Position(epoch), is_due)

    def _save(self, position: Position, is_due: bool) -> None:
        if is_due or self.signals.number is not None:
            self.checkpoints.save(position, _saved_items(self.trainer))
        self.signals.answer(f"saved after {position}, where the same command goes on")


def _saved_items(trainer: Trainer) -> dict[str, Any]:
    # Keras' metrics are nothing to a checkpoint, their variables are.
    metrics = [variable for each in trainer.metrics for variable in each.variables]
    return {"metrics": metrics, **trainer.checkpoint_items()}


def _go_on(
    trainer: Trainer, checkpoints: Checkpoints, run: RunDir, resizing: Resizing | None
) -> tuple[Position, dict[str, float]]:
    """Restores the newest checkpoint; returns where it is, and the last row there."""

    def prepare(position: Position) -> dict[str, Any]:
        if resizing is not None:
            resizing.restore(position.epoch)
        return _saved_items(trainer)

    position = checkpoints.restore(prepare)
    if position is None:  # what an earlier start noted beside lost checkpoints goes too
        if resizing is not None:
            resizing.restore(0)
        run.truncate_metrics_after(-1)
        return Position(), {}
    rows = [row for row in run.read_metrics() if _epoch(row, run) <= position.epoch]
    run.truncate_metrics_after(rows[-1]["step"] if rows else -1)
    tqdm.tqdm.write(f"Going on in {run.path} after {position}")
    return position, dict(rows[-1]) if rows else {}


def _epoch(row: Mapping[str, Any], run: RunDir) -> int:
    epoch = row.get("epoch")
    if type(epoch) is not int:
        raise ValueError(
            f"{run.metrics_path} must have an integer epoch in every row. "
            f"Received: epoch={epoch!r} at step {row['step']}"
        )
    return epoch


def run_steps(
    step: Callable[[Any], Mapping[str, tf.Tensor]],
    batches: tf.data.Dataset,
    title: str,
    after_step: Callable[[int], None] | None = None,
) -> dict[str, float]:
    """Takes a step on every batch; returns the last figures, and counts images.

    Args:
        step: Returns the figures so far.
        batches: Images, and what is behind them.
        title: Of the progress.
        after_step: Called with the number of steps that were taken.

    Raises:
        DivergedError: If the loss is no longer a finite number.
    """
    figures: Mapping[str, tf.Tensor] = {}
    images, shown, workers = 0, 0.0, worker_share().count
    # disable=None: no bar where the output is no terminal.
    with tqdm.tqdm(batches, desc=title, unit="step", leave=False, disable=None) as bar:
        for count, batch in enumerate(bar, start=1):
            figures = step(batch)
            images += workers * tf.nest.flatten(batch)[0].shape[0]
            if time.monotonic() - shown > _PROGRESS_INTERVAL:
                shown = time.monotonic()
                bar.set_postfix_str(_summary(_floats(figures)))
            if after_step is not None:
                after_step(count)
    result = _floats(figures)
    if not np.isfinite(result.get("loss", 0.0)):
        raise DivergedError(
            "loss must stay finite; try a lower learning_rate. "
            f"Received: loss={result['loss']} in {title}"
        )
    return {**result, "images": images}


def _floats(figures: Mapping[str, tf.Tensor]) -> dict[str, float]:
    return {name: float(value) for name, value in figures.items()}


def _summary(figures: Mapping[str, Any]) -> str:
    parts = [
        text.format(figures[name]) for name, text in _SHOWN.items() if name in figures
    ]
    if "expected_cost" in figures:
        cost, due = (_cost(figures[f"{name}_cost"]) for name in ("expected", "target"))
        parts.append(f"cost {cost} (due now {due})")
    if "channels_alive" in figures:
        parts.append(f"{figures['channels_alive']:.0f} channels alive")
    return ", ".join(parts)


def _cost(value: float) -> str:
    """Returns multiply-adds or parameters in millions, milliseconds as they are."""
    return f"{value / 1e6:.3f} M" if value > _LARGEST_MS else f"{value:.3f} ms"


def _write_summary(writer: tf.summary.SummaryWriter, row: dict[str, Any]) -> None:
    with writer.as_default(step=row["step"]):
        for name, value in row.items():
            if name not in ("phase", "step"):
                tf.summary.scalar(f"{row['phase']}/{name}", value)
    writer.flush()
