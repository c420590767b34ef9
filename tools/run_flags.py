"""Flags and the last lines that the binaries have in common."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import flags

flags.disclaim_key_flags()  # so that --help shows them as flags of the binary


def define_workdir(default: str) -> None:
    """Defines --workdir and --json."""
    flags.DEFINE_string(
        "workdir",
        default,
        "Run folder. The same command started again there goes on where it stopped.",
    )
    define_json()


def define_json() -> None:
    """Defines --json."""
    flags.DEFINE_bool(
        "json", False, "Print the result as one JSON object in the last line."
    )


def workdir() -> Path:
    """Returns --workdir."""
    return Path(flags.FLAGS.workdir)


def finish(result: Mapping[str, Any], sentence: str) -> None:
    """Prints the last line: where the results are, or the result as JSON."""
    print(json.dumps(result) if flags.FLAGS.json else sentence)


def command() -> list[str]:
    """Returns the command line, for provenance."""
    return list(sys.argv)
