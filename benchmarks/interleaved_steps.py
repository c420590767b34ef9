"""Steps of several implementations, timed in turns and compared in pairs.

Each side lives in a process of its own, as in one process they would share threads and
heap; only one works at a time, in an order drawn anew for each repeat. Ratios are taken
within a repeat, so that what disturbs the machine disturbs both of a pair. What a step
does is left to the scripts.
"""

from __future__ import annotations

import dataclasses
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

import numpy as np
import scipy.stats
from absl import app, flags

from benchmarks import evidence

_REPEATS = flags.DEFINE_integer(
    "repeats", 10, "Interleaved repeats; 6 are the fewest with a 95 % interval.", 6
)
_STEPS = flags.DEFINE_integer("steps", 8, "Timed steps of each side in a repeat.", 1)
_WORKER = flags.DEFINE_string("worker", None, "Used by the script itself.")


@dataclasses.dataclass(frozen=True)
class Side:
    """One implementation: `build` returns its step, a function to the loss.

    A side so slow that it would take up the time of all others has a `max_steps`.
    """

    build: Callable[[], Callable[[], float]]
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    max_steps: int | None = None


Sides = Mapping[str, Side]


@dataclasses.dataclass(frozen=True)
class Timings:
    """Seconds of one step by side, one figure a repeat, by the clock and of the CPU."""

    seconds: dict[str, list[float]]
    cpu_seconds: dict[str, list[float]]
    total_cpu_seconds: float

    @property
    def median_seconds(self) -> dict[str, float]:
        """Returns the median by the clock, by side."""
        return {name: float(np.median(times)) for name, times in self.seconds.items()}

    def rows(self, ours: str, *, batch_size: int) -> list[dict[str, Any]]:
        """Returns one row a side, with how many times as quick `ours` is."""
        return [
            {
                "side": name,
                "images_per_second": batch_size / seconds,
                "cpu_ms": 1e3 * float(np.median(self.cpu_seconds[name])),
                **compare(self.seconds[ours], self.seconds[name]),
            }
            for name, seconds in self.median_seconds.items()
        ]

    def target(
        self,
        ours: str,
        other: str,
        bound: float,
        *,
        baseline: str,
        called: str | None = None,
    ) -> dict[str, Any]:
        """Returns the target that `ours` is `bound` times as quick as `other`.

        Args:
            ours: A side.
            other: A side.
            bound: What the lower end of the ratio's 95 % interval must reach.
            baseline: A side that must not reach it.
            called: What the target's name says for `other`.
        """
        return evidence.target(
            f"times as quick as {called or other}, lower bound (95 %); "
            f"baseline: {baseline}",
            self._lower_bound(ours, other),
            bound,
            at_most=False,
            baseline=self._lower_bound(baseline, other),
        )

    def _lower_bound(self, side: str, other: str) -> float:
        return compare(self.seconds[side], self.seconds[other])["low_95"]


def compare(ours: Sequence[float], others: Sequence[float]) -> dict[str, float]:
    """Returns how many times as quick ours is: median of the repeats' ratios.

    Args:
        ours: Seconds of a step by repeat, at least 6.
        others: Likewise, from the same repeats.
    """
    ratios = np.asarray(others) / np.asarray(ours)
    interval = scipy.stats.quantile_test(ratios).confidence_interval(0.95)
    return {
        "speedup_of_ours": float(np.median(ratios)),
        "low_95": float(interval.low),
        "high_95": float(interval.high),
    }


def run(main: Callable[[Sides], None], make_sides: Callable[[], Sides]) -> None:
    """Parses the command line and calls `main` with the sides.

    In a worker process, which the script starts by its own command line, it does that
    side's work in place of `main`.

    Args:
        main: The script's work; it calls `time_sides`.
        make_sides: Called once the flags are parsed.
    """

    def call(_: list[str]) -> None:
        sides = make_sides()
        if _WORKER.value:
            _work(sides[_WORKER.value])
        else:
            main(sides)

    app.run(call)


def time_sides(sides: Sides, *, seed: int) -> Timings:
    """Returns the sides' times; `seed` is that of the order."""
    names = list(sides)
    workers = {name: _Worker(name, sides[name].environment) for name in names}
    seconds, cpu_seconds = ({name: [] for name in names} for _ in range(2))
    for repeat in range(_REPEATS.value):
        order = random.Random(seed + repeat).sample(names, len(names))
        for name in order:
            wall, cpu = workers[name].take_steps()
            seconds[name].append(wall)
            cpu_seconds[name].append(cpu)
    total_cpu_seconds = sum(worker.stop() for worker in workers.values())
    return Timings(seconds, cpu_seconds, total_cpu_seconds)


def settings() -> dict[str, Any]:
    """Returns how much was timed, for the result's settings."""
    return {"repeats": _REPEATS.value, "steps": _STEPS.value}


class _Worker:
    """The process of a side."""

    def __init__(self, name: str, environment: Mapping[str, str]):
        self._name = name
        self._errors: IO[str] = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [sys.executable, *sys.orig_argv[1:], f"--worker={name}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, **environment},
        )
        self.take_steps()  # builds, traces and warms up

    def take_steps(self) -> tuple[float, float]:
        """Returns the seconds of one step by the clock and of the processor."""
        line = self._communicate("go")
        wall, cpu = map(float, line.split())
        return wall, cpu

    def stop(self) -> float:
        """Ends the process; returns the processor's seconds that it took in all."""
        seconds = float(self._communicate("stop"))
        self._process.communicate()
        return seconds

    def _communicate(self, order: str) -> str:
        if self._process.stdin is None or self._process.stdout is None:
            raise ValueError("worker must have pipes. Received: none")
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise SystemExit(f"error: {self._name} failed: {self._errors.read()}")
        return line


def _work(side: Side) -> None:
    """Takes one untimed and some timed steps for each order, until told to stop."""
    step = side.build()
    num_steps = min(_STEPS.value, side.max_steps or _STEPS.value)
    for order in sys.stdin:
        if order.strip() == "stop":
            print(time.process_time(), flush=True)
            return
        step()
        started, cpu_started = time.perf_counter(), time.process_time()
        for _ in range(num_steps):
            step()
        elapsed = time.perf_counter() - started, time.process_time() - cpu_started
        print(*(seconds / num_steps for seconds in elapsed), flush=True)
