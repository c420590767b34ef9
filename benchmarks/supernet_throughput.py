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
from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.search.config import BudgetConfig, FigsConfig
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
BUDGET_SHARE = 0.15  # of what the supernet costs; it does not change the step


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
    from mobilenas_tf.search.assembly import SearchAssembly
    from mobilenas_tf.search.width_budget import width_budget
    from mobilenas_tf.training.classification import classification_objective

    whole = network_cost(space.supernet).macs
    return SearchAssembly(
        space,
        FigsConfig(),
        width_budget(space, BudgetConfig(max_macs=(BUDGET_SHARE * whole,))),
        OPTIMIZER,
        TrainingConfig(epochs=EPOCHS),
        classification_objective(label_smoothing=LABEL_SMOOTHING),
        steps_per_epoch=STEPS_PER_EPOCH,
        batch_size=batch_size,
    ).trainer()


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
