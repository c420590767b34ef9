from __future__ import annotations

import numpy as np
import pytest

from benchmarks.framework_steps import (
    EPOCHS,
    KERAS,
    KERAS_XLA,
    STEPS_PER_EPOCH,
    TORCH,
    TORCH_COMPILED,
    Task,
    drive,
)
from benchmarks.interleaved_steps import Timings
from benchmarks.supernet_throughput import GATED, build_gated_trainer, find_targets
from mobilenas_tf.search import figs
from mobilenas_tf.search.config import BudgetConfig, FigsConfig
from mobilenas_tf.training.config import OptimizerConfig, TrainingConfig
from mobilenas_tf.training.run_dir import RunDir
from tests.training.synthetic import colour_data, small_space

BATCH_SIZE = 16


def timings(**times_as_long: float) -> Timings:
    """Returns 6 repeats in which each side takes so many times as long as ours."""
    seconds = {
        name: [factor * ours for ours in (0.1, 0.2, 0.3, 0.2, 0.1, 0.3)]
        for name, factor in {GATED: 1.0, **times_as_long}.items()
    }
    return Timings(seconds, seconds, total_cpu_seconds=1.0)


@pytest.mark.parametrize(
    ("eager", "compiled", "quicker"),
    [(3.0, 1.6, TORCH_COMPILED), (1.4, 1.6, TORCH)],
)
def test_ours_is_held_against_the_quicker_mode_of_pytorch(
    eager: float, compiled: float, quicker: str
) -> None:
    sides = {KERAS: 2.0, KERAS_XLA: 9.0, TORCH: eager, TORCH_COMPILED: compiled}
    of_keras, of_torch = find_targets(timings(**sides))
    assert of_keras["value"] == pytest.approx(2.0)
    assert of_keras["met"]
    assert of_torch["value"] == pytest.approx(min(eager, compiled))
    assert of_torch["met"] is (min(eager, compiled) >= 1.5)
    named = f"{quicker} (the quicker of PyTorch and PyTorch, compiled)"
    assert named in of_torch["name"]


def test_without_the_compiled_mode_the_target_names_the_eager_one_only() -> None:
    of_torch = find_targets(timings(**{KERAS: 2.0, KERAS_XLA: 9.0, TORCH: 1.6}))[1]
    assert f"{TORCH} (the quicker of {TORCH})" in of_torch["name"]


def test_a_step_trains_weights_and_gates() -> None:
    space = small_space()
    trainer = build_gated_trainer(space, batch_size=BATCH_SIZE)
    supernet = trainer.supernet
    assert set(supernet.gates) == {choice.path for choice in space.choices}
    # The learning rate rises from 0, so that weights move from the second step on.
    gates = [np.array(logits) for logits in supernet.architecture_variables]
    kernel = np.array(supernet.weight_variables[0])
    step = drive(trainer, Task(space.supernet, BATCH_SIZE, threads=0, seed=0))
    losses = [step() for _ in range(3)]
    assert np.all(np.isfinite(losses))
    for before, logits in zip(gates, supernet.architecture_variables, strict=True):
        assert not np.array_equal(before, logits)
    assert not np.array_equal(kernel, supernet.weight_variables[0])
    assert int(trainer.optimizer.iterations) == 3
    assert int(trainer.architecture_optimizer.iterations) == 3


class _Stop(Exception):
    pass


def test_the_trainer_is_the_one_that_a_search_puts_together(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    def take_trainer(trainer, *_, **__):
        found.append(trainer)
        raise _Stop

    monkeypatch.setattr(figs, "run_epochs", take_trainer)
    space, data = small_space(), colour_data(batch_size=BATCH_SIZE)
    total_steps = STEPS_PER_EPOCH * EPOCHS
    with pytest.raises(_Stop):
        figs.search_figs(
            space,
            data,
            RunDir(tmp_path),
            config=FigsConfig(),
            budget=BudgetConfig(max_macs=(30e3,)),
            optimizer=OptimizerConfig(),
            training=TrainingConfig(epochs=total_steps // data.steps_per_epoch),
        )
    (of_search,) = found
    ours = build_gated_trainer(space, batch_size=BATCH_SIZE)
    for name in ("penalty", "total_steps", "label_smoothing"):
        assert getattr(ours, name) == getattr(of_search, name), name
    for name in ("start_cost", "warmup", "settle", "aim"):
        assert getattr(ours.schedule, name) == getattr(of_search.schedule, name), name
    assert float(ours.temperature(0.3)) == float(of_search.temperature(0.3))
    layers, layers_of_search = (
        [(type(layer), layer.get_config()) for layer in trainer.supernet.model.layers]
        for trainer in (ours, of_search)
    )
    assert layers == layers_of_search
    assert type(ours.optimizer) is type(of_search.optimizer)
    gate_optimizers = (ours.architecture_optimizer, of_search.architecture_optimizer)
    of_ours, of_searchs = (each.get_config() for each in gate_optimizers)
    assert {**of_ours, "name": ""} == {**of_searchs, "name": ""}
