from __future__ import annotations

import logging
import math
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from mobilenas_tf.training.checkpoints import Checkpoints, Position
from mobilenas_tf.training.config import SavingConfig
from tests.small_disk import fill, small_disk

NAMES = ("sums.json", "variables.index", "variables.data-00000-of-00001")


def make(folder: Path, **saving: float) -> Checkpoints:
    return Checkpoints(folder, SavingConfig(**saving))


def items(*values: float, size: int = 1) -> dict[str, list[tf.Variable]]:
    return {"weights": [tf.Variable(np.full(size, value)) for value in values]}


def save(checkpoints: Checkpoints, *epochs: int, size: int = 1) -> None:
    """Saves variables that hold the epoch."""
    for epoch in epochs:
        checkpoints.save(Position(epoch), items(epoch, epoch, size=size))


def restored(folder: Path, *, size: int = 1) -> tuple[Position | None, list[float]]:
    """Returns position and values of a process that goes on."""
    found = items(-1, -1, size=size)
    position = make(folder).restore(lambda _: found)
    return position, [float(variable[0]) for variable in found["weights"]]


def damage(path: Path, how: str, at: float = 0.5) -> None:
    content = path.read_bytes()
    place = int(at * (len(content) - 1))
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(content[:place])
    elif how == "flipped":
        flipped = bytes([content[place] ^ 1])
        path.write_bytes(content[:place] + flipped + content[place + 1 :])


def test_the_newest_is_restored_and_two_are_kept(tmp_path: Path) -> None:
    save(make(tmp_path), 1, 2, 10)
    assert set(os.listdir(tmp_path)) == {"ckpt-2", "ckpt-10"}
    assert restored(tmp_path) == (Position(10), [10, 10])


def test_without_checkpoints_there_is_nothing_to_restore(tmp_path: Path) -> None:
    assert restored(tmp_path / "absent") == (None, [-1, -1])


def test_positions_within_an_epoch_stand_between_epochs(tmp_path: Path) -> None:
    checkpoints = make(tmp_path)
    for position in (Position(2), Position(1, 12), Position(1, 3)):
        checkpoints.save(position, items(1))
    assert set(os.listdir(tmp_path)) == {"ckpt-1-12", "ckpt-1-3"}
    position = make(tmp_path).restore(lambda _: items(1))
    assert position == Position(1, 12)
    assert str(position) == "batch 12 of epoch 2"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", ["missing", "truncated", "flipped"])
def test_a_damaged_file_is_said_and_the_checkpoint_before_is_used(
    name: str, how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(make(tmp_path), 1, 2)
    damage(tmp_path / "ckpt-2" / name, how)
    with caplog.at_level(logging.WARNING, logger="absl"):
        assert restored(tmp_path) == (Position(1), [1, 1])
    (message,) = caplog.messages
    assert message.startswith(f"Skipping the checkpoint {tmp_path}/ckpt-2: ")
    # A sum that is not that of a file may be either's fault.
    assert name in message or (name, how) == ("sums.json", "flipped")


def test_no_byte_of_the_sums_can_change_unseen(tmp_path: Path) -> None:
    save(make(tmp_path), 1, 2)
    shutil.move(tmp_path / "ckpt-2", tmp_path / "whole")
    sums = (tmp_path / "whole" / "sums.json").read_bytes()
    for place in range(0, len(sums), 7):
        shutil.copytree(tmp_path / "whole", tmp_path / "ckpt-2")
        damage(tmp_path / "ckpt-2" / "sums.json", "flipped", place / (len(sums) - 1))
        position, values = restored(tmp_path)
        # White space may change: the checkpoint is whole then.
        assert values == 2 * [position.epoch]
        assert position.epoch == 1 or sums[place : place + 1].isspace()
        shutil.rmtree(tmp_path / "ckpt-2")


def test_a_file_too_much_is_damage_as_well(tmp_path: Path) -> None:
    save(make(tmp_path), 1, 2)
    (tmp_path / "ckpt-2" / "odd").write_text("")
    assert restored(tmp_path)[0] == Position(1)


def test_no_whole_checkpoint_is_an_error_with_all_reasons(tmp_path: Path) -> None:
    save(make(tmp_path), 1, 2)
    damage(tmp_path / "ckpt-1" / "variables.index", "missing")
    damage(tmp_path / "ckpt-2" / "variables.index", "flipped")
    with pytest.raises(ValueError) as error:
        restored(tmp_path)
    assert str(error.value) == (
        f"{tmp_path} must hold a checkpoint that can be read; remove the folder to "
        "start anew. Received: ckpt-2: variables.index is not as it was saved; "
        "ckpt-1: variables.index is missing"
    )


@pytest.mark.parametrize("wrong", [items(1, 1, size=3), items(1, 1, 1)])
def test_the_checkpoints_of_another_network_are_an_error(
    wrong: dict[str, list[tf.Variable]], tmp_path: Path
) -> None:
    save(make(tmp_path), 1)
    with pytest.raises(ValueError, match="ckpt-1: it is of another network"):
        make(tmp_path).restore(lambda _: wrong)


def test_files_of_tensorflows_own_manager_are_refused_not_overlooked(
    tmp_path: Path,
) -> None:
    checkpoint = tf.train.Checkpoint(**items(1, 1))
    tf.train.CheckpointManager(checkpoint, str(tmp_path), max_to_keep=2).save()
    with pytest.raises(ValueError, match="must hold a checkpoint that can be read"):
        restored(tmp_path)


def test_a_save_that_was_cut_off_is_not_there(tmp_path: Path) -> None:
    save(make(tmp_path), 1)
    shutil.copytree(tmp_path / "ckpt-1", tmp_path / ".unfinished")
    damage(tmp_path / ".unfinished" / NAMES[2], "truncated")
    assert restored(tmp_path) == (Position(1), [1, 1])
    save(make(tmp_path), 2)
    assert set(os.listdir(tmp_path)) == {"ckpt-2"}


def test_the_restored_checkpoint_stays_until_another_one_is_whole(
    tmp_path: Path,
) -> None:
    save(make(tmp_path), 1, 2)
    damage(tmp_path / "ckpt-2" / NAMES[2], "flipped")
    checkpoints = make(tmp_path)
    assert checkpoints.restore(lambda _: items(0, 0)) == Position(1)
    save(checkpoints, 2)
    assert set(os.listdir(tmp_path)) == {"ckpt-1", "ckpt-2"}
    assert restored(tmp_path) == (Position(2), [2, 2])


def test_a_full_disk_is_an_error_and_the_last_checkpoint_stays(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        checkpoints = make(disk / "checkpoints")
        save(checkpoints, 1, size=20_000)  # twice 160 kB
        filling = fill(disk, leave_bytes=100_000)
        with pytest.raises(OSError, match="No space left on device") as error:
            save(checkpoints, 2, size=20_000)
        assert error.value.filename == str(disk / "checkpoints" / "ckpt-2")
        assert os.listdir(disk / "checkpoints") == ["ckpt-1"]
        assert restored(disk / "checkpoints", size=20_000) == (Position(1), [1, 1])
        filling.unlink()
        save(checkpoints, 2, size=20_000)
        assert restored(disk / "checkpoints", size=20_000) == (Position(2), [2, 2])


def test_when_to_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    checkpoints = make(tmp_path, every_epochs=2, minutes=10, max_share=0.01)
    assert not checkpoints.is_due() and not checkpoints.is_due_after(1)
    assert checkpoints.is_due_after(2)  # what saving takes is not known yet
    monkeypatch.setattr(
        "tensorflow.train.Checkpoint.write", lambda *_: now.__setitem__(0, 3.0)
    )
    save(checkpoints, 2)
    now[0] += 299
    assert not checkpoints.is_due_after(4)  # 3 s are more than 1 % of this
    now[0] += 2
    assert checkpoints.is_due_after(4) and not checkpoints.is_due_after(5)
    assert not checkpoints.is_due()
    now[0] += 300
    assert checkpoints.is_due() and checkpoints.is_due_after(5)
    assert make(tmp_path, minutes=0).is_due()
    assert make(tmp_path, minutes=math.inf, max_share=0).is_due_after(1)
