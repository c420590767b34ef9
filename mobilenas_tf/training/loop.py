"""One loop for every method: epochs, progress, metrics, checkpoints, going on.

A trainer brings `train_step(batch)`, `metrics` and `checkpoint_items()`;
what it learns is its own matter. Driving the compiled step here, rather than `fit`,
traces it once for a whole run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
import tqdm
from absl import logging

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
        """Gives the trainer the variables that it had after `epoch` epochs."""
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
    checkpoint_every_epochs: int = 1,
    resizing: Resizing | None = None,
) -> dict[str, float]:
    """Trains for `epochs` epochs and returns the last row of metrics.

    After each epoch one row goes to `metrics.jsonl` and to TensorBoard. A run that
    was stopped goes on behind its last checkpoint, with the rows after it dropped.

    Args:
        trainer: A compiled trainer.
        train_epoch: `epoch -> batches`; the same epoch gives the same batches.
        epochs: Epochs of the whole run, those before a stop included.
        run: Run folder.
        phase: Name of this part of the run in the metrics.
        evaluate: Called after each epoch; its figures join the row.
        checkpoint_every_epochs: Epochs between two checkpoints; the last is written
            in any case.
        resizing: What happens between epochs to a trainer whose variables change. The
            step is traced anew when they have.

    Raises:
        DivergedError: If the loss is no longer a finite number.
    """
    epoch_variable = tf.Variable(0, dtype=tf.int64, trainable=False)
    row = _go_on(trainer, epoch_variable, run, resizing)
    manager = _checkpoint_manager(trainer, epoch_variable, run)
    step = compiled_step(trainer)
    writer = tf.summary.create_file_writer(str(run.tensorboard_path))
    for epoch in range(int(epoch_variable.numpy()), epochs):
        started = time.monotonic()
        for metric in trainer.metrics:
            metric.reset_state()
        title = f"{phase} {epoch + 1}/{epochs}"
        figures = run_steps(step, train_epoch(epoch), title)
        images_per_second = figures.pop("images") / (time.monotonic() - started)
        average_statistics(trainer.network)
        row = {
            "phase": phase,
            "step": int(trainer.optimizer.iterations.numpy()),
            "epoch": epoch + 1,
            "learning_rate": float(np.array(trainer.optimizer.learning_rate)),
            "images_per_second": images_per_second,
            **figures,
            **evaluate(),
        }
        run.append_metrics(row)
        # Not absl's INFO, which TensorFlow fills with messages of its own.
        tqdm.tqdm.write(f"{title}: {_summary(row)}")
        _write_summary(writer, row)
        epoch_variable.assign(epoch + 1)
        if resizing is not None and resizing.after_epoch(epoch + 1):
            manager = _checkpoint_manager(trainer, epoch_variable, run)
            step = compiled_step(trainer)
        if (epoch + 1) % checkpoint_every_epochs == 0 or epoch + 1 == epochs:
            manager.save(checkpoint_number=epoch + 1)
    writer.close()
    return row


def _checkpoint_manager(
    trainer: Trainer, epoch_variable: tf.Variable, run: RunDir
) -> tf.train.CheckpointManager:
    """Returns what saves the trainer's variables of this moment."""
    checkpoint = tf.train.Checkpoint(
        epoch=epoch_variable, metrics=trainer.metrics, **trainer.checkpoint_items()
    )
    return tf.train.CheckpointManager(
        checkpoint, str(run.checkpoints_path), max_to_keep=2
    )


def _go_on(
    trainer: Trainer,
    epoch_variable: tf.Variable,
    run: RunDir,
    resizing: Resizing | None,
) -> dict[str, float]:
    """Restores the newest checkpoint that reads; returns the last row up to it."""
    manager = _checkpoint_manager(trainer, epoch_variable, run)
    for path in reversed(manager.checkpoints):
        if resizing is not None:
            resizing.restore(int(path.rsplit("-", 1)[1]))
            manager = _checkpoint_manager(trainer, epoch_variable, run)
        try:
            manager.checkpoint.restore(path).assert_existing_objects_matched()
        except (tf.errors.OpError, ValueError, IndexError) as error:
            logging.warning("Skipping the unreadable checkpoint %s: %s", path, error)
            continue
        epoch = int(epoch_variable.numpy())
        rows = [row for row in run.read_metrics() if row["epoch"] <= epoch]
        run.truncate_metrics_after(rows[-1]["step"] if rows else -1)
        tqdm.tqdm.write(f"Going on after epoch {epoch} of {run.path}")
        return dict(rows[-1]) if rows else {}
    if manager.checkpoints:
        raise ValueError(
            f"{run.checkpoints_path} must hold a checkpoint that can be read; remove "
            "the folder to start anew. Received: none of "
            f"{len(manager.checkpoints)} can"
        )
    run.truncate_metrics_after(-1)
    return {}


def run_steps(
    step: Callable[[Any], dict[str, tf.Tensor]], batches: tf.data.Dataset, title: str
) -> dict[str, float]:
    """Takes a step on every batch; returns the last figures, and counts images.

    Raises:
        DivergedError: If the loss is no longer a finite number.
    """
    figures: dict[str, tf.Tensor] = {}
    images, shown, workers = 0, 0.0, worker_share().count
    # disable=None: no bar where the output is no terminal.
    with tqdm.tqdm(batches, desc=title, unit="step", leave=False, disable=None) as bar:
        for batch in bar:
            figures = step(batch)
            images += workers * tf.nest.flatten(batch)[0].shape[0]
            if time.monotonic() - shown > _PROGRESS_INTERVAL:
                shown = time.monotonic()
                bar.set_postfix_str(_summary(_floats(figures)))
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
