"""Runs the project's binaries as a user does."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import IO, Any


def call_binary(
    tool: str, *arguments: str, stderr: IO[str] | None = None
) -> dict[str, Any]:
    """Runs a binary with --json and returns the object in its last line.

    Args:
        tool: Its name.
        arguments: Its flags.
        stderr: Where its progress and errors go; None leaves them to the terminal.

    Raises:
        CalledProcessError: If it fails.
    """
    command = [sys.executable, "-m", f"tools.{tool}", *arguments, "--json"]
    print(" ".join(["python", *command[1:]]), flush=True)
    result = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=stderr, text=True, check=True
    )
    return json.loads(result.stdout.splitlines()[-1])
