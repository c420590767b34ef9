"""Files that are whole or not there, whatever ends the process or the machine.

A file is written under a temporary name, flushed to the disk and then renamed. What
stands in files is left to their modules.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_TOKEN_BYTES = 8  # of a temporary name
_LEFTOVER = re.compile(rf"\.[0-9a-f]{{{2 * _TOKEN_BYTES}}}\..")
_BLOCK_BYTES = 4096  # that are looked through at a time


@contextlib.contextmanager
def replace_when_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary path to write to, and renames it to `path` afterwards.

    After an error in the block the temporary file is removed and what stood at `path`
    stays. The temporary name ends like the final one; a killed process leaves it there,
    see `remove_leftovers`.

    Raises:
        OSError: If the file cannot be written, e.g. as the disk is full; its `filename`
            is `path`.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{secrets.token_hex(_TOKEN_BYTES)}.{target.name}"
    try:
        with _named_in_errors(target, instead_of=temporary):
            yield temporary
            sync(temporary)
            os.replace(temporary, target)
            sync(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes a file whole, or not at all."""
    with replace_when_whole(path) as temporary:
        temporary.write_bytes(data)


def remove_leftovers(folder: Path) -> None:
    """Removes the temporary files that killed processes have left under a folder."""
    for path in folder.rglob(".*"):
        if _LEFTOVER.match(path.name):
            path.unlink()


def sync(path: Path) -> None:
    """Has the disk hold what was written to a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems of networks cannot do it for folders.
        if not (path.is_dir() and error.errno in (errno.EINVAL, errno.ENOTSUP)):
            raise
    finally:
        os.close(descriptor)


def append_line(path: Path, line: str) -> None:
    """Adds a line to a file, in the place of a last one that was not written whole.

    Args:
        path: Of the file; made if it is not there.
        line: Without its end.

    Raises:
        OSError: As `replace_when_whole`; half of the line may stand at the end then.
    """
    with _named_in_errors(path), path.open("ab+") as file:
        file.truncate(_whole_lines_bytes(file))
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _whole_lines_bytes(file: BinaryIO) -> int:
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(end - _BLOCK_BYTES, 0)
        file.seek(start)
        if found := file.read(end - start).rfind(b"\n") + 1:
            return start + found
        end = start
    return 0


@contextlib.contextmanager
def _named_in_errors(path: Path, *, instead_of: Path | None = None) -> Iterator[None]:
    """Has errors name the file: of a full disk the system does not tell which."""
    try:
        yield
    except OSError as error:
        if error.errno and error.filename in (None, str(instead_of)):
            error.filename = str(path)
        raise
