"""Time that each binary takes to answer `--help`.

Each answer is a process of its own; the binaries take turns. A process that only
imports TensorFlow runs along as the trivial baseline: a target counts as met only if
that fails it.

Run: python -m benchmarks.help_time
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks import evidence
from mobilenas_tf.reporting.terminal import format_table
from tools.flag_config import run

ROOT = Path(__file__).resolve().parents[1]
MAX_SECONDS = 1.0
BASELINE = "import tensorflow"
COLUMNS = ("process", "median_s", "fastest_s", "slowest_s")

_REPEATS = flags.DEFINE_integer("repeats", 10, "Timed answers of each binary.")


def find_commands() -> dict[str, list[str]]:
    """Returns the command lines to time by name: every binary, and the baseline."""
    commands = {
        f"tools.{path.stem}": ["-m", f"tools.{path.stem}", "--help"]
        for path in sorted(ROOT.glob("tools/*.py"))
        if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")
    }
    return {**commands, BASELINE: ["-c", BASELINE]}


def time_command(arguments: Sequence[str]) -> float:
    """Returns the seconds that Python takes with these arguments, start included.

    Raises:
        ValueError: If it fails.
    """
    started = time.perf_counter()
    result = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True
    )
    seconds = time.perf_counter() - started
    if "Traceback" in result.stderr or result.returncode not in (0, 1):
        raise ValueError(
            f"{' '.join(arguments)} must show its help. "
            f"Received: {result.stderr.splitlines()[-1:]}"
        )
    return seconds


def summarize(name: str, seconds: Sequence[float]) -> dict[str, Any]:
    """Returns the row of one process."""
    return {
        "process": name,
        "median_s": statistics.median(seconds),
        "fastest_s": min(seconds),
        "slowest_s": max(seconds),
        "seconds": seconds,
    }


def find_targets(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns one target for each row but the baseline's."""
    medians = {row["process"]: row["median_s"] for row in rows}
    baseline = medians.pop(BASELINE)
    return [
        evidence.target(
            f"{name} --help, seconds, median",
            median,
            MAX_SECONDS,
            at_most=True,
            baseline=baseline,
        )
        for name, median in medians.items()
    ]


def main() -> None:
    """Measures and prints."""
    commands = find_commands()
    seconds_by_name: dict[str, list[float]] = {name: [] for name in commands}
    for arguments in commands.values():
        time_command(arguments)  # not timed: fills the caches of the disk
    for _ in range(_REPEATS.value):
        for name, arguments in commands.items():
            seconds_by_name[name].append(time_command(arguments))
    rows = [summarize(name, seconds) for name, seconds in seconds_by_name.items()]
    print(format_table(COLUMNS, rows))
    evidence.finish(
        figures=rows,
        settings={"repeats": _REPEATS.value},
        targets=find_targets(rows),
    )


if __name__ == "__main__":
    run(main)
