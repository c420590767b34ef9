import logging
import math
import os
import shutil
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilenas_tf.costs.network import cost_function
from mobilenas_tf.interruption import Interrupted
from mobilenas_tf.training.budget import BudgetSchedule
from mobilenas_tf.training.checkpoints import Checkpoints
from mobilenas_tf.training.classification import classification_objective
from mobilenas_tf.training.config import SavingConfig
from mobilenas_tf.training.loop import run_epochs
from mobilenas_tf.training.run_dir import RunDir
from mobilenas_tf.training.search_trainer import SearchTrainer
from mobilenas_tf.training.trainer import NetworkTrainer
from tests.small_disk import fill, small_disk
from tests.training.synthetic import (
    all_weights,
    colour_data,
    linear_network,
    small_supernet,
)

DATA = colour_data()
STEPS = DATA.steps_per_epoch
# These epochs take no time: whatever saving takes is more than its share.
EVERY_EPOCH = SavingConfig(max_share=math.inf)
EVERY_SECOND_EPOCH = SavingConfig(every_epochs=2, max_share=math.inf)


class Killed(Exception):
    """Stands for the end of the process."""


def classifier_trainer(dropout_rate=0.5):
    keras.utils.set_random_seed(0)
    trainer = NetworkTrainer(linear_network(dropout_rate), classification_objective())
    trainer.compile(optimizer=keras.optimizers.SGD(0.1, momentum=0.9))
    return trainer


def search_trainer():
    keras.utils.set_random_seed(0)
    supernet = small_supernet()
    trainer = SearchTrainer(
        supernet,
        classification_objective(),
        expected_cost=cost_function(supernet.space.supernet, "macs"),
        schedule=BudgetSchedule(start_cost=2e4, budgets=(1e4,), warmup=0.0),
        temperature=lambda progress: 0.5 - 0.4 * progress,
        total_steps=4 * STEPS,
    )
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    optimizer.build(supernet.weight_variables)
    trainer.compile(optimizer, keras.optimizers.Adam(0.05))
    return trainer


def train(trainer, path, epochs, **options):
    path.mkdir(exist_ok=True)
    settings = {"phase": "train", "evaluate": lambda: {"extra": 0.5}}
    settings |= {"saving": EVERY_EPOCH, **options}
    return run_epochs(
        trainer, DATA.train_epoch, epochs=epochs, run=RunDir(path), **settings
    )


def weights_of(trainer):
    is_search = isinstance(trainer, SearchTrainer)
    return all_weights(trainer.supernet.model if is_search else trainer.network)


def assert_same_weights(first, second):
    # In a search three gradients meet, and add up in the order in which they come.
    off = 1e-5 if isinstance(first, SearchTrainer) else 0.0
    for ours, theirs in zip(weights_of(first), weights_of(second), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=off, atol=off)


def assert_same_rows(first, second):
    np.testing.assert_allclose(rows_of(first), rows_of(second), rtol=1e-5)


def rows_of(path, *names):
    """Returns the rows without what depends on the machine."""
    names = names or ("step", "epoch", "loss", "accuracy", "learning_rate")
    return [tuple(row[name] for name in names) for row in RunDir(path).read_metrics()]


def stopped_run(path, epochs=3):
    """Leaves a run of some epochs, and returns its trainer."""
    trainer = classifier_trainer()
    train(trainer, path, epochs)
    return trainer


@pytest.mark.parametrize(
    "make_trainer",
    [classifier_trainer, pytest.param(search_trainer, marks=pytest.mark.slow)],
)
def test_a_stopped_run_ends_like_one_that_was_not(make_trainer, tmp_path):
    whole = make_trainer()
    last_row = train(whole, tmp_path / "whole", 4)
    train(make_trainer(), tmp_path / "stopped", 2)
    resumed = make_trainer()
    row = train(resumed, tmp_path / "stopped", 4)
    # Weights, gates, moving statistics, and every row on the way.
    assert_same_weights(whole, resumed)
    assert_same_rows(tmp_path / "whole", tmp_path / "stopped")
    assert row["loss"] == pytest.approx(last_row["loss"], rel=1e-5)


def test_a_run_killed_within_an_epoch_goes_on_behind_its_checkpoint(tmp_path):
    evaluations = []

    def evaluate():
        evaluations.append(None)
        if len(evaluations) == 3:
            raise Killed
        return {}

    options = {"saving": EVERY_SECOND_EPOCH, "evaluate": evaluate}
    with pytest.raises(Killed):
        train(classifier_trainer(), tmp_path / "killed", 4, **options)
    resumed, whole = classifier_trainer(), classifier_trainer()
    train(resumed, tmp_path / "killed", 4, **options)
    train(whole, tmp_path / "whole", 4)
    assert len(evaluations) == 5  # epochs 1, 2, 3 and again 3, 4
    assert_same_weights(resumed, whole)
    assert rows_of(tmp_path / "killed") == rows_of(tmp_path / "whole")


class Stop:
    """Stands for `Checkpoints.is_due`: a checkpoint at some steps, an end at one."""

    def __init__(self, *, saves=(), at, end):
        self.saves, self.at, self.end, self.steps = saves, at, end, 0

    def __call__(self):
        self.steps += 1
        if self.steps == self.at:
            self.end()
        return self.steps in self.saves


def killed():
    raise Killed


def terminated():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(
    "make_trainer",
    [classifier_trainer, pytest.param(search_trainer, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("at", [1, STEPS - 1])
def test_a_run_saved_within_an_epoch_ends_like_one_that_was_not(
    make_trainer, at, tmp_path, monkeypatch
):
    whole, resumed = make_trainer(), make_trainer()
    train(whole, tmp_path / "whole", 3)
    with monkeypatch.context() as patch:
        # The step behind the checkpoint is lost, and taken again.
        stop = Stop(saves=(STEPS + at,), at=STEPS + at + 1, end=killed)
        patch.setattr(Checkpoints, "is_due", stop)
        with pytest.raises(Killed):
            train(make_trainer(), tmp_path / "killed", 3)
    assert f"ckpt-1-{at}" in os.listdir(tmp_path / "killed" / "checkpoints")
    train(resumed, tmp_path / "killed", 3)
    # Order of the data, dropout or gates, means of the epoch: all are as before.
    assert_same_weights(whole, resumed)
    assert_same_rows(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.parametrize(
    ("at", "where"),
    [(2, "batch 2 of epoch 1"), (STEPS, f"batch {STEPS} of epoch 1")],
)
def test_a_signal_is_answered_by_saving_behind_the_step(
    at, where, tmp_path, monkeypatch
):
    whole, resumed = classifier_trainer(), classifier_trainer()
    train(whole, tmp_path / "whole", 2)
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "is_due", Stop(at=at, end=terminated))
        with pytest.raises(Interrupted) as error:
            train(classifier_trainer(), tmp_path / "stopped", 2)
    assert error.value.number == signal.SIGTERM
    assert str(error.value) == f"saved after {where}, where the same command goes on"
    assert os.listdir(tmp_path / "stopped" / "checkpoints") == [f"ckpt-0-{at}"]
    train(resumed, tmp_path / "stopped", 2)
    assert_same_weights(whole, resumed)
    assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "stopped")


def test_a_signal_during_an_evaluation_is_answered_behind_it(tmp_path):
    def evaluate():
        terminated()
        return {}

    with pytest.raises(Interrupted, match="saved after epoch 1, where"):
        train(classifier_trainer(), tmp_path, 2, evaluate=evaluate)
    assert rows_of(tmp_path, "epoch") == [(1,)]


def test_a_full_disk_ends_the_run_and_a_larger_one_goes_on(tmp_path):
    whole = classifier_trainer()
    train(whole, tmp_path / "whole", 4)
    with small_disk(tmp_path / "disk") as disk:
        path = disk / "run"
        train(classifier_trainer(), path, 2)
        filling = fill(disk, leave_bytes=4096)
        with pytest.raises(OSError, match="No space left on device") as error:
            train(classifier_trainer(), path, 4)
        assert str(path) in error.value.filename
        assert set(os.listdir(path / "checkpoints")) == {"ckpt-1", "ckpt-2"}
        filling.unlink()
        resumed = classifier_trainer()
        train(resumed, path, 4)
        assert_same_weights(whole, resumed)
        assert rows_of(tmp_path / "whole") == rows_of(path)


def test_saving_keeps_to_its_share_of_the_time(tmp_path):
    train(classifier_trainer(), tmp_path, 4, saving=SavingConfig(max_share=1e-9))
    # The first, as nobody knows yet what saving takes, and the last in any case.
    assert set(os.listdir(tmp_path / "checkpoints")) == {"ckpt-1", "ckpt-4"}


def test_rows_behind_the_last_checkpoint_are_written_anew(tmp_path):
    def killed_after(count):
        def evaluate():
            if len(RunDir(tmp_path).read_metrics()) == count:
                raise Killed
            return {}

        return evaluate

    options = {"saving": EVERY_SECOND_EPOCH}
    with pytest.raises(Killed):
        train(classifier_trainer(), tmp_path, 6, evaluate=killed_after(3), **options)
    assert rows_of(tmp_path, "epoch") == [(1,), (2,), (3,)]
    train(classifier_trainer(), tmp_path, 4, **options)
    assert rows_of(tmp_path, "epoch", "step") == [
        (epoch, epoch * STEPS) for epoch in (1, 2, 3, 4)
    ]


def test_a_row_holds_the_epochs_figures(tmp_path):
    row = train(classifier_trainer(), tmp_path, 2, phase="search")
    rows = RunDir(tmp_path).read_metrics()
    assert rows[-1] == row
    assert list(row) == [
        "phase",
        "step",
        "epoch",
        "learning_rate",
        "images_per_second",
        "loss",
        "accuracy",
        "extra",
    ]
    assert [row["phase"], row["step"], row["epoch"]] == ["search", 2 * STEPS, 2]
    assert row["learning_rate"] == pytest.approx(0.1)
    assert row["extra"] == 0.5
    assert row["images_per_second"] > 0
    assert 0 <= row["accuracy"] <= 1


def test_figures_are_means_over_one_epoch(tmp_path):
    keras.utils.set_random_seed(0)
    trainer = NetworkTrainer(linear_network(), classification_objective())
    trainer.compile(optimizer=keras.optimizers.SGD(0.0))
    train(trainer, tmp_path, 2)
    (first,), (second,) = rows_of(tmp_path, "loss")
    # All 64 images are seen in each epoch, and nothing is learnt.
    assert first == pytest.approx(second, rel=1e-5)


def test_a_finished_run_returns_its_last_row_and_its_weights(tmp_path):
    trainer = stopped_run(tmp_path)
    again = classifier_trainer()
    row = train(again, tmp_path, 3, evaluate=lambda: pytest.fail("trained again"))
    assert row == RunDir(tmp_path).read_metrics()[-1]
    assert_same_weights(trainer, again)


def test_the_last_two_checkpoints_are_kept(tmp_path):
    stopped_run(tmp_path, epochs=4)
    assert set(os.listdir(tmp_path / "checkpoints")) == {"ckpt-3", "ckpt-4"}


def test_the_last_epoch_has_a_checkpoint_in_any_case(tmp_path):
    train(classifier_trainer(), tmp_path, 3, saving=EVERY_SECOND_EPOCH)
    assert set(os.listdir(tmp_path / "checkpoints")) == {"ckpt-2", "ckpt-3"}


def test_a_damaged_checkpoint_costs_an_epoch_and_is_said(tmp_path, caplog):
    trainer = stopped_run(tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "ckpt-3" / "variables.index").unlink()
    resumed = classifier_trainer()
    with caplog.at_level(logging.WARNING, logger="absl"):
        train(resumed, tmp_path / "run", 3)
    assert "ckpt-3: variables.index is missing" in caplog.text
    assert_same_weights(trainer, resumed)
    assert rows_of(tmp_path / "run", "epoch") == [(1,), (2,), (3,)]


def test_no_whole_checkpoint_is_an_error_that_leaves_the_rows(tmp_path):
    stopped_run(tmp_path, epochs=1)
    (tmp_path / "checkpoints" / "ckpt-1" / "variables.index").unlink()
    with pytest.raises(ValueError, match="must hold a checkpoint that can be read"):
        train(classifier_trainer(), tmp_path, 2)
    assert rows_of(tmp_path, "epoch") == [(1,)]


def test_lost_metrics_do_not_cost_the_newest_checkpoint(tmp_path):
    trainer = stopped_run(tmp_path)
    RunDir(tmp_path).metrics_path.unlink()
    resumed = classifier_trainer()
    train(resumed, tmp_path, 3)
    assert_same_weights(trainer, resumed)


def test_metrics_without_epochs_are_an_error_in_one_sentence(tmp_path):
    stopped_run(tmp_path, epochs=1)
    RunDir(tmp_path).append_metrics({"step": 999, "epoch": None})
    with pytest.raises(ValueError) as error:
        train(classifier_trainer(), tmp_path, 2)
    assert str(error.value) == (
        f"{tmp_path}/metrics.jsonl must have an integer epoch in every row. "
        "Received: epoch=None at step 999"
    )


def test_a_loss_that_is_not_finite_ends_the_run_with_advice(tmp_path):
    trainer = classifier_trainer()
    trainer.network.layers[-1].bias.assign([math.nan] * 3)
    with pytest.raises(ValueError) as error:
        train(trainer, tmp_path, 4, phase="search")
    assert str(error.value) == (
        "loss must stay finite; try a lower learning_rate. "
        "Received: loss=nan in search 1/4"
    )
    assert rows_of(tmp_path) == []
    assert not (tmp_path / "checkpoints").exists()


def test_tensorboard_gets_every_figure(tmp_path):
    row = train(classifier_trainer(), tmp_path, 1)
    (path,) = (tmp_path / "tensorboard").iterdir()
    values = {}
    for record in tf.data.TFRecordDataset(str(path)):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            values[value.tag] = (event.step, float(tf.make_ndarray(value.tensor)))
    assert values == {
        f"train/{name}": (STEPS, pytest.approx(value))
        for name, value in row.items()
        if name not in ("phase", "step")
    }


def test_the_step_is_traced_once_for_all_epochs(tmp_path):
    trainer = classifier_trainer()
    original, traces = trainer.train_step, []

    def counted(data):
        traces.append(None)
        return original(data)

    trainer.train_step = counted
    train(trainer, tmp_path, 3)
    assert len(traces) == 1


def test_a_checkpoint_of_another_folder_is_no_hindrance(tmp_path):
    # Paths in a checkpoint folder are relative: a run can be moved.
    trainer = stopped_run(tmp_path / "first")
    shutil.move(tmp_path / "first", tmp_path / "second")
    resumed = classifier_trainer()
    train(resumed, tmp_path / "second", 3)
    assert_same_weights(trainer, resumed)
