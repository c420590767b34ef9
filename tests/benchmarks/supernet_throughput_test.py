from __future__ import annotations

import numpy as np
import pytest

from benchmarks.framework_steps import (
    KERAS,
    KERAS_XLA,
    TORCH,
    TORCH_COMPILED,
    Task,
    drive,
)
from benchmarks.interleaved_steps import Timings
from benchmarks.supernet_throughput import GATED, build_gated_trainer, find_targets
from tests.training.synthetic import small_space

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
