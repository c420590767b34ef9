"""One training step of the gated supernet: ours against Keras 3 and PyTorch.

The supernet of figs_mobilenet_v2_32 (3x3, 5x5 and 7x7 kernels in parallel) on images of
32 px, batch 128, with the same optimizer, loss and data on all sides. Ours is the step
of a search: gates on every channel, the expected cost and its penalty, and an optimizer
of the gates' own. No other side has any of these, nor dropout: they train the plain
supernet, so that the comparison is to our disadvantage. It is the step at the start of
a search, before live shrinking has cut anything out.

The sides take turns, each in a process of its own; ratios are taken within a repeat.
Besides the sides of the targets:

- ours without gates, which shows what these cost;
- stock Keras 3 with XLA, the switch that Keras offers for speed (the trivial baseline;
  a step takes up to half a minute, so that only one is timed in a repeat);
- PyTorch when glibc keeps freed memory, which PyTorch by itself gives back to the
  system and takes again in every step.

PyTorch is needed: pip install torch==2.13.0. torch.compile takes a C++ compiler.

Run: python -m benchmarks.supernet_throughput
"""

from __future__ import annotations

import dataclasses
from typing import Any

from absl import flags

from benchmarks import evidence, framework_steps, interleaved_steps, operator_profile
from benchmarks.framework_steps import (
    EPOCHS,
    KERAS,
    KERAS_2,
    KERAS_XLA,
    LABEL_SMOOTHING,
    NUM_CLASSES,
    OPTIMIZER,
    STEPS_PER_EPOCH,
    TORCH,
    TORCH_COMPILED,
    Step,
    Task,
)
from benchmarks.interleaved_steps import Side, Sides, Timings
from mobilenas_tf.costs.network import cost_function
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.search.config import FigsConfig
from mobilenas_tf.space import SearchSpace
from mobilenas_tf.spaces import named_space
from mobilenas_tf.training.config import TrainingConfig

_COMPILED = flags.DEFINE_bool(
    "compiled", True, "Time torch.compile too, as the target wants it; takes minutes."
)
_PROFILE = flags.DEFINE_bool(
    "profile", False, "Also show which operators the time of our gated step goes to."
)

GATED, PLAIN = "ours, gated", "ours, without gates"
SPACE = "figs_mobilenet_v2_32"
BOUND = 1.5
PROFILED_STEPS = 8
BUDGET_SHARE = 0.15  # of what the open supernet costs; it does not change the step


def main(sides: Sides) -> None:
    """Times all sides and prints the tables and one JSON object."""
    torch_version = framework_steps.require_torch()
    space = _space()
    task = framework_steps.task_from_flags(space.supernet)
    timings = interleaved_steps.time_sides(sides, seed=task.seed)
    rows = timings.rows(GATED, batch_size=task.batch_size)
    print(format_table(list(rows[0]), rows))
    figures: dict[str, Any] = {
        "rows": rows,
        "seconds_per_step": timings.seconds,
        "total_cpu_seconds": timings.total_cpu_seconds,
    }
    if _PROFILE.value:
        # On one thread, where an operator's time is the processor's.
        step = gated_step(dataclasses.replace(task, threads=1), space)
        profile = operator_profile.profile_step(step, num_steps=PROFILED_STEPS)
        print(format_table(operator_profile.COLUMNS, profile))
        figures["profile"] = {"threads": 1, "rows": profile}
    evidence.finish(
        figures=figures,
        settings={
            "space": SPACE,
            **task.settings(),
            **interleaved_steps.settings(),
            "torch": torch_version,
        },
        targets=find_targets(timings),
    )


def find_targets(timings: Timings) -> list[dict[str, Any]]:
    """Returns the targets: against stock Keras 3, and against PyTorch's quicker mode.

    PyTorch's modes are eager and compiled, both as installed.
    """
    medians = timings.median_seconds
    modes = [mode for mode in (TORCH, TORCH_COMPILED) if mode in medians]
    quicker = min(modes, key=medians.__getitem__)
    return [
        timings.target(GATED, KERAS, BOUND, baseline=KERAS_XLA),
        timings.target(
            GATED,
            quicker,
            BOUND,
            baseline=KERAS,
            called=f"{quicker} (the quicker of {' and '.join(modes)})",
        ),
    ]


def gated_step(task: Task, space: SearchSpace) -> Step:
    """Returns the step in which a search trains the supernet of a space."""
    framework_steps.import_tensorflow(task.threads)
    trainer = build_gated_trainer(space, batch_size=task.batch_size)
    return framework_steps.drive(trainer, task)


def build_gated_trainer(space: SearchSpace, *, batch_size: int) -> Any:
    """Returns a search's trainer, as `search_figs` puts it together by default."""
    import keras
    import tensorflow as tf

    from mobilenas_tf.models.supernet import build_supernet_model
    from mobilenas_tf.search.figs import GATE_TRAVEL, gate_factory
    from mobilenas_tf.training.budget import BudgetSchedule
    from mobilenas_tf.training.optimizers import build_optimizer
    from mobilenas_tf.training.search_trainer import SearchTrainer

    config, training = FigsConfig(), TrainingConfig()
    total_steps = STEPS_PER_EPOCH * EPOCHS
    supernet = build_supernet_model(
        space,
        gate_factory(config),
        batch_norm_momentum=training.batch_norm_momentum,
        dropout_rate=training.dropout_rate,
    )
    cost = cost_function(space.supernet, "macs")
    start_cost = float(cost(supernet.expected_widths(supernet.priced_channels())))
    cooling = config.temperature_end / config.temperature_start
    trainer = SearchTrainer(
        supernet,
        expected_cost=cost,
        schedule=BudgetSchedule(start_cost, (BUDGET_SHARE * start_cost,)),
        temperature=lambda progress: (
            config.temperature_start * tf.pow(cooling, progress)
        ),
        total_steps=total_steps,
        penalty=config.penalty,
        label_smoothing=LABEL_SMOOTHING,
        name="search_trainer",
    )
    optimizer = build_optimizer(
        OPTIMIZER,
        supernet.weight_variables,
        steps_per_epoch=STEPS_PER_EPOCH,
        epochs=EPOCHS,
        batch_size=batch_size,
    )
    trainer.compile(optimizer, keras.optimizers.Adam(GATE_TRAVEL / total_steps))
    return trainer


def _sides() -> Sides:
    space = _space()
    task = framework_steps.task_from_flags(space.supernet)
    left_out = {KERAS_2} | (set() if _COMPILED.value else {TORCH_COMPILED})
    return {
        GATED: Side(lambda: gated_step(task, space)),
        PLAIN: Side(lambda: framework_steps.our_step(task)),
        **{
            name: side
            for name, side in framework_steps.other_sides(task).items()
            if name not in left_out
        },
    }


def _space() -> SearchSpace:
    return named_space(SPACE, num_classes=NUM_CLASSES)


if __name__ == "__main__":
    interleaved_steps.run(main, _sides)
