"""Memory that a `.tflite` file takes while it runs, measured in a process of its own.

In a process that ran other files the allocator hands out again what they left, and the
peak is that of the largest: nothing there can be put down to one file.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

_ROOT = Path(__file__).resolve().parents[2]
_STATUS = Path("/proc/self/status")
_RUNS = 3


def measure_memory(path: str | os.PathLike[str], num_threads: int) -> int | None:
    """Returns by how many bytes the peak of resident memory rises; None without /proc.

    The rise is from just before a fresh process opens the file until after a few runs
    of it, as `benchmark_model` counts it on a phone. It holds the weights (the file is
    mapped), the packed copies of them, the tensors, and what LiteRT itself touches when
    it is first used.

    Args:
        path: Of a `.tflite` file.
        num_threads: Threads of the interpreter.

    Raises:
        ValueError: If the file does not run.
    """
    if not _STATUS.exists():
        return None
    done = subprocess.run(
        [sys.executable, "-m", __name__, os.path.abspath(path), str(num_threads)],
        env=os.environ | {"PYTHONPATH": _python_path()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise ValueError(f"{path} must run in LiteRT. Received: {lines[-1]}")
    return int(done.stdout)


def _python_path() -> str:
    others = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(_ROOT), *([others] if others else [])])


def _run_and_measure(path: str, num_threads: int) -> int:
    before = _peak_bytes()
    interpreter = Interpreter(model_path=path, num_threads=num_threads)
    interpreter.allocate_tensors()
    for tensor in interpreter.get_input_details():
        zeros = np.zeros(tensor["shape"], tensor["dtype"])
        interpreter.set_tensor(tensor["index"], zeros)
    for _ in range(_RUNS):
        interpreter.invoke()
    return _peak_bytes() - before


def _peak_bytes() -> int:
    # Not getrusage's peak, which a process inherits from the one that started it.
    found = re.search(r"^VmHWM:\s*(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise ValueError(f"{_STATUS} must have a line VmHWM. Received: none")
    return int(found[1]) * 1024


if __name__ == "__main__":
    print(_run_and_measure(sys.argv[1], int(sys.argv[2])))
