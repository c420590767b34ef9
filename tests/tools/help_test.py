"""`--help` is quick because no binary imports TensorFlow before its `main`.

The time itself is measured by `benchmarks/help_time.py`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Does what `python -m MODULE --help` does, then tells which slow modules it loaded.
SHOW_HELP = """
import runpy, sys
module = sys.argv.pop(1)
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
finally:
    slow = {"tensorflow", "keras", "tf_keras", "keras_cv"} & set(sys.modules)
    print("slow modules:", *sorted(slow), file=sys.stderr)
"""


BINARIES = [
    path.stem
    for path in sorted(ROOT.glob("tools/*.py"))
    if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("binary", BINARIES)
def test_help_needs_no_tensorflow(binary: str) -> None:
    command = [sys.executable, "-c", SHOW_HELP, f"tools.{binary}", "--help"]
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    # absl leaves with status 1 after it has shown the help.
    assert result.returncode in (0, 1)
    assert result.stderr == "slow modules:\n"
    assert "\nflags:\n" in result.stdout
