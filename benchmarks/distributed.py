"""Training and searching on two workers against one with the same batches.

Two processes on this machine, joined by TF_CONFIG over the loopback, take the steps
that one process takes: same images, same seeds, one thread each. Two comparisons:

- step by step: every step starts from the variables that one worker has by then, so
  that what is told is the step's own difference, in its loss and in its update;
- freely: each side goes its own way from the same start. Sums of other parts of a batch
  differ in their last bits, and training from scratch makes some percent of that within
  a dozen steps, whoever trains: one worker does so as well, against itself, when the
  images of its batches stand in another order (`reordered`, the trivial side). One
  worker of two devices (`mirrored`) sums the same parts as two workers do.

Supernets that draw their paths normalise each replica's images by themselves: their
steps depend on how many replicas there are. They are compared with one worker of two
devices alone.

Times are of one machine, whose processors the workers share with all else that it does;
the processor's time of a step, of all processes together, is told beside them.

Run: python -m benchmarks.distributed --processes=1
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags, logging

from benchmarks import distributed_methods, evidence, jobs
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.training.config import DistributionConfig

_STEPS = flags.DEFINE_integer("steps", 50, "Steps that are compared.", 10)
_METHODS = flags.DEFINE_list(
    "methods", list(distributed_methods.METHODS), "What to compare."
)
_RESULT = flags.DEFINE_string("result", None, "Used by the script itself.")

# Sides, by the value of --distribute and how many processes there are.
ALONE, REORDERED, WORKERS, DEVICES = "alone", "reordered", "workers", "devices"
SIDES: Mapping[str, tuple[Any, int]] = {
    ALONE: ("none", 1),
    REORDERED: ("none", 1),
    WORKERS: ("multi_worker", 2),
    DEVICES: ("mirrored", 1),
}
FREELY, STEPWISE = "freely", "stepwise"
TOLERANCE = 1e-4
_UNTIMED_STEPS = 5  # They trace and warm up.


@dataclasses.dataclass(frozen=True)
class Run:
    """A side of a method, compared freely or step by step."""

    method: str
    side: str
    how: str

    @property
    def name(self) -> str:
        """The name of its job."""
        return f"{self.method}-{self.side}-{self.how}"


def main(_: list[str]) -> None:
    """Compares all methods and prints the tables and one JSON object."""
    runs = [run for method in _METHODS.value for run in _runs(method)]
    by_name = {run.name: run for run in runs}
    if _RESULT.value:
        _take_steps(by_name[jobs.job_name()])
        return
    settings = {
        "steps": _STEPS.value,
        "threads_per_process": 1,
        **distributed_methods.settings(),
    }
    results = jobs.run_jobs(
        [jobs.Job(run.name, settings) for run in runs],
        lambda job, _: _run_processes(by_name[job.name]),
        jobs.results_folder(),
    )
    told = {run: results[run.name] for run in runs}
    rows = [_row(method, told) for method in _METHODS.value]
    for columns in _tables(rows):
        print(format_table(columns, rows))
    evidence.finish(
        figures={"rows": rows, "runs": {run.name: told[run] for run in runs}},
        settings=settings,
        targets=[target for row in rows for target in _targets(row)],
    )


def _runs(method: str) -> list[Run]:
    if method in distributed_methods.PATH_DRAWING:
        return [Run(method, side, FREELY) for side in (ALONE, WORKERS, DEVICES)]
    return [
        *(Run(method, side, FREELY) for side in SIDES),
        *(Run(method, side, STEPWISE) for side in (REORDERED, WORKERS)),
    ]


def _row(method: str, told: Mapping[Run, Mapping[str, Any]]) -> dict[str, Any]:
    alone, workers = (told[Run(method, side, FREELY)] for side in (ALONE, WORKERS))
    row: dict[str, Any] = {
        "method": method,
        "first_loss": workers["losses"][0],
        "last_loss": workers["losses"][-1],
        "between_workers": workers["worker_difference"],
        "ms_1": alone["step_ms"],
        "ms_2": workers["step_ms"],
        "images_per_second_1": 1e3 * workers["batch_size"] / alone["step_ms"],
        "images_per_second_2": 1e3 * workers["batch_size"] / workers["step_ms"],
        "cpu_ms_1": alone["cpu_ms"],
        "cpu_ms_2": workers["cpu_ms"],
    }
    for side in (DEVICES, ALONE):
        other = told[Run(method, side, FREELY)]
        row[f"freely_to_{side}"] = _difference(workers, other)
    if (reordered := Run(method, REORDERED, FREELY)) in told:
        row["freely_reordered"] = _difference(told[reordered], alone)
    for side in (WORKERS, REORDERED):
        if (run := Run(method, side, STEPWISE)) in told:
            for what in ("loss", "update"):
                row[f"{what}_stepwise_{side}"] = told[run][f"{what}_difference"]
    return row


def _difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """Returns the largest difference between two sides' losses of a step."""
    return float(np.abs(np.subtract(one["losses"], other["losses"])).max())


def _tables(rows: list[dict[str, Any]]) -> Iterator[list[str]]:
    """Yields the columns of each table."""
    timed = [key for row in rows for key in row if key.startswith(("ms", "cpu", "im"))]
    told = [key for row in rows for key in row if key not in (*timed, "method")]
    yield ["method", *dict.fromkeys(told)]
    yield ["method", *dict.fromkeys(timed)]


def _targets(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for key, what in (
        ("loss_stepwise_workers", "loss from one worker's, step by step"),
        ("freely_to_devices", "loss from one worker's of two devices, freely"),
    ):
        if key in row:
            yield evidence.target(
                f"{row['method']}: largest difference of a {what}",
                row[key],
                TOLERANCE,
                at_most=True,
            )
    yield evidence.target(
        f"{row['method']}: largest difference of a variable between the workers, "
        "gates among them",
        row["between_workers"],
        0.0,
        at_most=True,
    )


def _run_processes(run: Run) -> dict[str, Any]:
    """Trains in the processes of a side; returns what they tell, joined."""
    _, count = SIDES[run.side]
    with tempfile.TemporaryDirectory() as folder:
        results = [Path(folder) / f"{index}.npz" for index in range(count)]
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.distributed", *sys.argv[1:]]
                + [f"--result={result}"],
                env={**os.environ, **environment},
            )
            for result, environment in zip(results, _environments(count), strict=True)
        ]
        if any([process.wait() for process in processes]):
            raise SystemExit(f"error: {run.name} failed")
        told = [np.load(result, allow_pickle=False) for result in results]
    first, last = told[0], told[-1]
    result = {
        "losses": first["losses"].tolist(),
        "batch_size": int(first["batch_size"]),
        "worker_difference": _largest(first["variables"] - last["variables"]),
    }
    if run.how == STEPWISE:
        return result | {
            "loss_difference": _largest(first["losses"] - first["losses_alone"]),
            "update_difference": _largest(first["update_differences"]),
        }
    timed = slice(_UNTIMED_STEPS, None)
    cpu_seconds = sum(each["cpu_seconds"][timed] for each in told)
    return result | {
        "step_ms": 1e3 * float(np.median(first["seconds"][timed])),
        "cpu_ms": 1e3 * float(np.median(cpu_seconds)),
    }


def _largest(differences: np.ndarray) -> float:
    return float(np.abs(differences).max())


def _environments(count: int) -> list[dict[str, str]]:
    """Returns TF_CONFIG for so many processes on this machine; none for one alone."""
    if count == 1:
        return [{}]
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("localhost", 0))
        workers = [f"localhost:{each.getsockname()[1]}" for each in sockets]
    tasks = [{"type": "worker", "index": index} for index in range(count)]
    return [
        {"TF_CONFIG": json.dumps({"cluster": {"worker": workers}, "task": task})}
        for task in tasks
    ]


def _take_steps(run: Run) -> None:
    """Takes the steps of one process of a side, and writes what there is to tell."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    from mobilenas_tf.training.distribution import make_strategy, replicated
    from mobilenas_tf.training.repetition import allow_order, run_in_order

    jobs.one_thread()
    allow_order()
    # Else some sums are, by chance, in another order: two runs of one side differ.
    run_in_order(run.side != DEVICES)  # which would wait for each other
    logging.set_verbosity(logging.ERROR)
    if run.side == DEVICES:
        (processor,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(
            processor, [tf.config.LogicalDeviceConfiguration()] * 2
        )
    strategy = make_strategy(DistributionConfig(SIDES[run.side][0]))
    scope = replicated(strategy) if strategy else contextlib.nullcontext()
    take = _take_freely if run.how == FREELY else _take_stepwise
    result: str = _RESULT.value  # pyright: ignore[reportAssignmentType]  # a job has it
    np.savez(result, **take(run, scope))


def _take_freely(run: Run, scope: Any) -> dict[str, Any]:
    losses, seconds, cpu_seconds = [], [], []
    with scope:
        side = distributed_methods.make_side(run.method)
        for batch in side.batches(_STEPS.value, is_reordered=run.side == REORDERED):
            started, cpu_started = time.perf_counter(), time.process_time()
            losses.append(side.step(batch))
            seconds.append(time.perf_counter() - started)
            cpu_seconds.append(time.process_time() - cpu_started)
        side.end_epoch()
    return {
        "losses": losses,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "batch_size": side.batch_size,
        "variables": side.values(),
    }


def _take_stepwise(run: Run, scope: Any) -> dict[str, Any]:
    """Takes every step twice: alone, and as the side does from the same variables."""
    alone = distributed_methods.make_side(run.method)
    with scope:
        side = distributed_methods.make_side(run.method)
        batches = side.batches(_STEPS.value, is_reordered=run.side == REORDERED)
    losses, losses_alone, update_differences = [], [], []
    for batch_alone, batch in zip(alone.batches(_STEPS.value), batches, strict=True):
        side.take_values_of(alone)
        before = alone.values()
        losses_alone.append(alone.step(batch_alone))
        losses.append(side.step(batch))
        update = np.linalg.norm(alone.values() - before)
        update_differences.append(
            np.linalg.norm(side.values() - alone.values()) / update
        )
    return {
        "losses": losses,
        "losses_alone": losses_alone,
        "update_differences": update_differences,
        "batch_size": side.batch_size,
        "variables": side.values(),
    }


if __name__ == "__main__":
    app.run(main)
