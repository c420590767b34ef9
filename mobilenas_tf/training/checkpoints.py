"""Checkpoints of a run: whole, and proved to be whole before they are used.

A checkpoint is a folder: what TensorFlow writes, and a JSON with the length and the
SHA-256 of these files. It is written beside its place and renamed, so that one that was
cut off is not there; the sums tell of one that was damaged since. When a run is saved,
and what its variables are, is left to `loop`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from absl import logging

from mobilenas_tf.json_io import read_json, write_json
from mobilenas_tf.training.config import SavingConfig
from mobilenas_tf.whole_files import sync

_KEPT = 2
_SUMS, _VARIABLES, _UNFINISHED = "sums.json", "variables", ".unfinished"
_NAME = re.compile(r"ckpt-(\d+)(?:-(\d+))?")


class UnusableError(Exception):
    """A checkpoint is damaged, or of another network."""


@dataclasses.dataclass(frozen=True, order=True)
class Position:
    """How far a run is: epochs that are done, and batches of the next one."""

    epoch: int = 0
    batch: int = 0

    def __str__(self) -> str:
        """Returns it in words."""
        if not self.batch:
            return f"epoch {self.epoch}"
        return f"batch {self.batch} of epoch {self.epoch + 1}"

    @property
    def name(self) -> str:
        """Returns the name of its checkpoint."""
        return f"ckpt-{self.epoch}" + (f"-{self.batch}" if self.batch else "")


class Checkpoints:
    """The checkpoints of a folder; the last two are kept."""

    def __init__(self, folder: Path, saving: SavingConfig):
        """Takes the folder, which need not be there, and how often is to be saved."""
        self.folder, self.saving = folder, saving
        self._kept: list[str] = []  # names that this process knows to be whole
        self._saved_at, self._took_seconds = time.monotonic(), 0.0

    def is_due(self) -> bool:
        """Returns whether the last checkpoint is too old to wait for an epoch's end."""
        return self._seconds_since() >= 60 * self.saving.minutes

    def is_due_after(self, epoch: int) -> bool:
        """Returns whether to save after so many epochs.

        Where epochs take seconds, not after every one: saving has a share of the time.
        """
        is_cheap = self._took_seconds <= self.saving.max_share * self._seconds_since()
        return (epoch % self.saving.every_epochs == 0 and is_cheap) or self.is_due()

    def save(self, position: Position, items: Mapping[str, Any]) -> None:
        """Writes a checkpoint, whole or not at all; older ones go once it is there.

        Args:
            position: Of the run.
            items: What has variables, by name.

        Raises:
            OSError: If it cannot be written, e.g. as the disk is full.
        """
        started = time.monotonic()
        target, unfinished = self.folder / position.name, self.folder / _UNFINISHED
        _remove(unfinished)
        unfinished.mkdir(parents=True)
        try:
            with disk_errors(target):
                tf.train.Checkpoint(**items).write(str(unfinished / _VARIABLES))
                files = sorted(unfinished.iterdir())
                for path in files:
                    sync(path)
                sums = {path.name: _sums(path) for path in files}
                write_json(unfinished / _SUMS, sums)
            _remove(target)
            os.replace(unfinished, target)
            sync(self.folder)
        finally:
            _remove(unfinished)
        self._keep(position.name)
        self._saved_at = time.monotonic()
        self._took_seconds = self._saved_at - started

    def restore(
        self, prepare: Callable[[Position], Mapping[str, Any]]
    ) -> Position | None:
        """Restores the newest whole checkpoint and returns its position, if there is.

        Those that are damaged are passed over and said.

        Args:
            prepare: Gives what has variables, by name, as it was at a position.

        Raises:
            ValueError: If there are checkpoints and none can be restored.
        """
        reasons = []
        for path, position in self._newest_first():
            try:
                check(path)
                _read(path, prepare(position))
            except UnusableError as error:
                reasons.append(f"{path.name}: {error}")
                logging.warning("Skipping the checkpoint %s: %s", path, error)
                continue
            self._kept = [path.name]
            return position
        if reasons:
            raise ValueError(
                f"{self.folder} must hold a checkpoint that can be read; remove the "
                f"folder to start anew. Received: {'; '.join(reasons)}"
            )
        return None

    def _newest_first(self) -> Iterator[tuple[Path, Position]]:
        """Yields whatever has the name of a checkpoint.

        Files of `tf.train.CheckpointManager` have, too: they are refused rather than
        passed over.
        """
        paths = self.folder.iterdir() if self.folder.exists() else ()
        found = [(path, _NAME.match(path.name)) for path in paths]
        positions = [
            (path, Position(int(match[1]), int(match[2] or 0)))
            for path, match in found
            if match
        ]
        yield from sorted(positions, key=lambda pair: pair[1], reverse=True)

    def _keep(self, name: str) -> None:
        """Removes all but this checkpoint and the one before."""
        self._kept = [*(kept for kept in self._kept if kept != name), name][-_KEPT:]
        for path in self.folder.iterdir():
            if path.name not in self._kept:
                _remove(path)

    def _seconds_since(self) -> float:
        return time.monotonic() - self._saved_at


def check(path: Path) -> None:
    """Raises an `UnusableError` unless a checkpoint is what was saved."""
    try:
        sums = read_json(path / _SUMS)
        names = {file.name for file in path.iterdir()} - {_SUMS}
        for name in sorted({*names, *sums}):
            if name not in names:
                raise UnusableError(f"{name} is missing")
            if name not in sums or _sums(path / name) != sums[name]:
                raise UnusableError(f"{name} is not as it was saved")
    except (OSError, TypeError, ValueError) as error:
        raise UnusableError(str(error)) from error


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Has a full disk be an OSError that names `path`, whoever meets with it."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        number = errno.ENOSPC
        raise OSError(number, os.strerror(number), str(path)) from error
    except OSError as error:
        error.filename = str(path)
        raise


def _read(path: Path, items: Mapping[str, Any]) -> None:
    try:
        status = tf.train.Checkpoint(**items).read(str(path / _VARIABLES))
        status.assert_existing_objects_matched()
    except (tf.errors.OpError, AssertionError, ValueError, IndexError) as error:
        reason = str(error).partition("\n")[0]
        raise UnusableError(f"it is of another network ({reason})") from error


def _sums(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
