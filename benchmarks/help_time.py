"""Time that each binary takes to answer `--help`.

Each answer is a process of its own; the binaries take turns. A process that only
imports TensorFlow runs along as the trivial baseline: the target counts as met only if
that fails it.

    python -m benchmarks.help_time
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from absl import flags

from mobilenas_tf.provenance import describe_provenance
from tools.flag_config import run

ROOT = Path(__file__).resolve().parents[1]
MAX_SECONDS = 1.0
BASELINE = "import tensorflow"

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


def summarize(seconds_by_name: Mapping[str, Sequence[float]]) -> list[dict]:
    """Returns one target for each binary, met by the median; the baseline has none."""
    is_trivial = statistics.median(seconds_by_name[BASELINE]) < MAX_SECONDS
    targets = []
    for name, seconds in seconds_by_name.items():
        median = statistics.median(seconds)
        if name != BASELINE:
            targets.append(
                {
                    "name": f"{name} --help, seconds, median",
                    "value": round(median, 4),
                    "target": MAX_SECONDS,
                    "met": median < MAX_SECONDS and not is_trivial,
                }
            )
    return targets


def main() -> None:
    """Measures and prints."""
    commands = find_commands()
    seconds_by_name: dict[str, list[float]] = {name: [] for name in commands}
    for arguments in commands.values():
        time_command(arguments)  # not timed: fills the caches of the disk
    for _ in range(_REPEATS.value):
        for name, arguments in commands.items():
            seconds_by_name[name].append(time_command(arguments))
    print(f"{'process':<32}{'median s':>10}{'fastest':>10}{'slowest':>10}")
    for name, seconds in seconds_by_name.items():
        figures = (statistics.median(seconds), min(seconds), max(seconds))
        print(f"{name:<32}" + "".join(f"{figure:>10.3f}" for figure in figures))
    document = {
        "benchmark": "help_time",
        "provenance": describe_provenance(sys.argv),
        "repeats": _REPEATS.value,
        "seconds": seconds_by_name,
        "targets": summarize(seconds_by_name),
    }
    print(json.dumps(document, allow_nan=False))


if __name__ == "__main__":
    run(main)
