"""Starts a binary that kills itself at one of its writes; `kill_anywhere` uses it.

Events are counted in the order in which they come: `write` (half of a file or of a
line is written, then the process dies), `flush` and `rename` (it dies before). Each is
a line in the log.

Run: python -m benchmarks.kill_launcher EVENT LOG tools.NAME --flag=value ...
(EVENT 0: it only counts.)
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn


class Events:
    """Counts events, and says at which to die."""

    def __init__(self, fatal: int, log: Path):
        """Takes the number of the event, from 1, and the file of their names."""
        self.fatal, self.log, self.count = fatal, log, 0

    def is_fatal(self, kind: str, path: object) -> bool:
        """Notes an event; returns whether the process is to die of it."""
        self.count += 1
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{kind} {Path(str(path)).name}\n")
        return self.count == self.fatal


def patch(events: Events) -> None:
    """Puts the events into whatever writes files; imports TensorFlow."""
    import numpy as np
    import tensorflow as tf

    from mobilenas_tf import whole_files

    flush, replace, append = os.fsync, os.replace, whole_files.append_line

    def fatal_flush(descriptor: int) -> None:
        if events.is_fatal("flush", os.readlink(f"/proc/self/fd/{descriptor}")):
            die()
        flush(descriptor)

    def fatal_replace(source: Any, target: Any) -> None:
        if events.is_fatal("rename", target):
            die()
        replace(source, target)

    def fatal_append(path: Path, line: str) -> None:
        if events.is_fatal("write", path):
            with path.open("ab") as file:
                file.write(line.encode()[: len(line) // 2])
            die()
        append(path, line)

    modules: tuple[Any, Any] = os, whole_files
    modules[0].fsync, modules[0].replace = fatal_flush, fatal_replace
    modules[1].append_line = fatal_append
    owners = ((Path, "write_bytes"), (np, "savez"), (tf.train.Checkpoint, "write"))
    for owner, name in owners:
        setattr(owner, name, fatal_writer(events, getattr(owner, name)))


def fatal_writer(events: Events, write: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that writes as `write` does, or half of it."""

    def fatal_write(first: Any, *others: Any, **options: Any) -> Any:
        # A checkpoint writes several files, whose names begin with its argument.
        path = first if isinstance(first, str | Path) else others[0]
        is_fatal = events.is_fatal("write", path)
        result = write(first, *others, **options)
        if is_fatal:
            for written in Path(path).parent.glob(f"{Path(path).name}*"):
                os.truncate(written, written.stat().st_size // 2)
            die()
        return result

    return fatal_write


def die() -> NoReturn:
    """Ends the process as nothing can be caught."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def main() -> None:
    """Runs the binary in this process."""
    _, fatal, log, module, *arguments = sys.argv
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    patch(Events(int(fatal), Path(log)))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
