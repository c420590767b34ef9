"""One training step: ours against stock Keras 3 and against PyTorch.

The same small MobileNet (32 px, batch 128), the same optimizer, loss and data on all
sides: forward, backward, update, loss and accuracy. The sides take turns, each in a
process of its own; ratios are taken within a repeat; the table has their median and
its interval from order statistics.

Besides the two sides of the targets:

- stock Keras 3 with XLA, the switch that Keras offers for speed (the trivial baseline);
- Keras 2, whose own batch norm is fused;
- PyTorch when glibc keeps freed memory, which PyTorch by itself gives back to the
  system and takes again in every step;
- PyTorch compiled, with --torch_compile.

PyTorch is optional: pip install torch==2.13.0

Run: python -m benchmarks.training_step
"""

from __future__ import annotations

from absl import flags

from benchmarks import evidence, framework_steps, interleaved_steps
from benchmarks.framework_steps import (
    KERAS,
    KERAS_XLA,
    NUM_CLASSES,
    TORCH,
    TORCH_COMPILED,
)
from benchmarks.interleaved_steps import Side, Sides
from mobilenas_tf.costs.uniform import uniform_network
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.spaces import named_space
from mobilenas_tf.spec import Architecture

_NETWORK = flags.DEFINE_enum(
    "network",
    "uniform",
    ["uniform", "supernet"],
    "uniform: a MobileNetV2-like network of 6 M multiply-adds; supernet: the whole "
    "network of figs_mobilenet_v2_32 (3x3, 5x5 and 7x7 kernels), without gates.",
)
_TORCH_COMPILE = flags.DEFINE_bool(
    "torch_compile", False, "Time torch.compile too; takes a C++ compiler and minutes."
)

OURS = "ours"


def main(sides: Sides) -> None:
    """Times all sides and prints the table and one JSON object."""
    torch_version = framework_steps.require_torch()
    task = framework_steps.task_from_flags(_architecture())
    timings = interleaved_steps.time_sides(sides, seed=task.seed)
    rows = timings.rows(OURS, batch_size=task.batch_size)
    print(format_table(list(rows[0]), rows))
    evidence.finish(
        figures={
            "rows": rows,
            "seconds_per_step": timings.seconds,
            "total_cpu_seconds": timings.total_cpu_seconds,
        },
        settings={
            "network": _NETWORK.value,
            **task.settings(),
            **interleaved_steps.settings(),
            "torch": torch_version,
        },
        targets=[
            timings.target(OURS, KERAS, 1.5, baseline=KERAS_XLA),
            timings.target(OURS, TORCH, 1.2, baseline=KERAS),
        ],
    )


def _sides() -> Sides:
    task = framework_steps.task_from_flags(_architecture())
    sides = {OURS: Side(lambda: framework_steps.our_step(task))}
    sides |= framework_steps.other_sides(task)
    if not _TORCH_COMPILE.value:
        del sides[TORCH_COMPILED]
    return sides


def _architecture() -> Architecture:
    if _NETWORK.value == "supernet":
        space = named_space("figs_mobilenet_v2_32", num_classes=NUM_CLASSES)
        return space.supernet
    return uniform_network(
        "figs_mobilenet_v2_32", num_classes=NUM_CLASSES, metric="macs", budget=6e6
    )


if __name__ == "__main__":
    interleaved_steps.run(main, _sides)
