"""Damaged checkpoints: the one before is used, or there is a clear error.

Of two checkpoints of a classifier's training the newest is damaged at random, in every
fifth case both: a file is missing, cut, has a flipped bit, or is emptied. Then every
variable must be, to the last bit, what it was at the checkpoint that is said to be
restored; if none is, the error must name both.

Run: python -m benchmarks.damaged_checkpoints
"""

from __future__ import annotations

import collections
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags, logging

from benchmarks import evidence
from mobilenas_tf.reporting.terminal import format_table

_CASES = flags.DEFINE_integer("cases", 50, "Damaged checkpoints.", 1)
_SEED = flags.DEFINE_integer("seed", 0, "Of the damage.", 0)
_KINDS = ("missing", "cut", "flipped", "emptied")
_EPOCHS = (1, 2)
_RESTORED, _REFUSED, _WRONG = "good state restored", "clear error", "wrong"

State = Sequence[np.ndarray]


def main(_: Sequence[str]) -> None:
    """Damages, restores, prints a table and one JSON object."""
    logging.set_verbosity(logging.ERROR)  # each skipped checkpoint is said
    items, variables = _trainer_items()
    rng = np.random.default_rng(_SEED.value)
    counts: dict[str, collections.Counter[str]] = {
        kind: collections.Counter() for kind in _KINDS
    }
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        states = _save_states(whole, items, variables, rng)
        for case in range(_CASES.value):
            kind = _KINDS[case % len(_KINDS)]
            damaged = Path(folder) / str(case)
            shutil.copytree(whole, damaged)
            # Every fifth case has no whole checkpoint left.
            epochs = _EPOCHS if case % 5 == 4 else _EPOCHS[1:]
            for epoch in epochs:
                _damage(damaged / f"ckpt-{epoch}", kind, rng)
            outcome = _restore(damaged, items, variables, states)
            counts[kind]["cases"] += 1
            counts[kind][outcome] += 1
            shutil.rmtree(damaged)
    columns = ("cases", _RESTORED, _REFUSED, _WRONG)
    rows = [
        {"damage": kind, **{name: counts[kind][name] for name in columns}}
        for kind in _KINDS
    ]
    print(format_table(["damage", *columns], rows))
    right = sum(row[_RESTORED] + row[_REFUSED] for row in rows)
    evidence.finish(
        figures=rows,
        settings={"cases": _CASES.value, "seed": _SEED.value},
        targets=[
            evidence.target(
                f"of {_CASES.value} damaged checkpoints: previous state or clear error",
                right,
                _CASES.value,
                at_most=False,
            )
        ],
    )


def _trainer_items() -> tuple[dict[str, Any], list[Any]]:
    """Returns what a training saves, and its variables."""
    from mobilenas_tf.spaces import named_space
    from mobilenas_tf.training.classification import classification_task
    from mobilenas_tf.training.config import (
        AugmentationConfig,
        DataConfig,
        OptimizerConfig,
        TrainingConfig,
    )
    from mobilenas_tf.training.data import load_classification_data
    from mobilenas_tf.training.fit import prepare_network

    data = load_classification_data(DataConfig(image_size_px=16), AugmentationConfig())
    space = named_space("figs_quantized_16", num_classes=data.num_classes)
    trainer, _ = prepare_network(
        space.resolve(space.smallest()),
        classification_task(data, label_smoothing=0.1),
        data,
        optimizer=OptimizerConfig(),
        training=TrainingConfig(),
    )
    variables = [*trainer.network.variables, *trainer.optimizer.variables]
    floats = [each for each in variables if each.dtype == "float32"]
    return trainer.checkpoint_items(), floats


def _save_states(
    folder: Path, items: Mapping[str, Any], variables: Sequence[Any], rng: Any
) -> dict[int, State]:
    """Writes a checkpoint of random values for each epoch; returns the values."""
    from mobilenas_tf.training.checkpoints import Checkpoints, Position
    from mobilenas_tf.training.config import SavingConfig

    checkpoints, states = Checkpoints(folder, SavingConfig()), {}
    for epoch in _EPOCHS:
        states[epoch] = [rng.normal(size=v.shape).astype("float32") for v in variables]
        _assign(variables, states[epoch])
        checkpoints.save(Position(epoch), items)
    return states


def _assign(variables: Sequence[Any], values: State) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _damage(checkpoint: Path, kind: str, rng: np.random.Generator) -> None:
    """Damages one of the files of a checkpoint, at a random place."""
    path = checkpoint / str(
        rng.choice(sorted(each.name for each in checkpoint.iterdir()))
    )
    content = bytearray(path.read_bytes())
    place = int(rng.integers(len(content)))
    if kind == "missing":
        path.unlink()
        return
    if kind == "flipped":
        content[place] ^= 1 << int(rng.integers(8))
    else:
        del content[place if kind == "cut" else 0 :]
    path.write_bytes(content)


def _restore(
    folder: Path,
    items: Mapping[str, Any],
    variables: Sequence[Any],
    states: Mapping[int, State],
) -> str:
    """Returns how restoring ended."""
    from mobilenas_tf.training.checkpoints import Checkpoints
    from mobilenas_tf.training.config import SavingConfig

    _assign(variables, [np.zeros(variable.shape) for variable in variables])
    try:
        position = Checkpoints(folder, SavingConfig()).restore(lambda _: items)
    except ValueError as error:
        is_clear = all(f"ckpt-{epoch}: " in str(error) for epoch in _EPOCHS)
        return _REFUSED if is_clear else _WRONG
    if position is None:
        return _WRONG
    pairs = zip(variables, states[position.epoch], strict=True)
    is_whole = all(np.array_equal(np.asarray(v.value), value) for v, value in pairs)
    return _RESTORED if is_whole else _WRONG


if __name__ == "__main__":
    app.run(main)
