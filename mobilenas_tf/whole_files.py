"""Files and folders that are whole or not there, whatever ends process or machine.

They are written under a temporary name, flushed to the disk and then renamed. What
stands in files is left to their modules.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
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
    temporary = _temporary_path(target)
    try:
        with _named_in_errors(target, instead_of=temporary):
            yield temporary
            sync(temporary)
            os.replace(temporary, target)
            sync(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replace_folder_when_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives an empty folder to fill, and renames it to `path` afterwards.

    After an error in the block it is removed and what stood at `path` stays. An older
    folder is set aside before the new one takes its place, and removed after that. What
    a killed process leaves, half-filled or set aside, is cleared away at the next call
    for the same path; an older folder that nothing took the place of is put back then.

    Raises:
        OSError: If the folder cannot be made or renamed.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.parent / f".{target.name}.old"
    _settle(target, aside)
    for leftover in _leftovers(target.parent.iterdir()):
        if leftover.name[2 * _TOKEN_BYTES + 2 :] == target.name:
            _remove(leftover)
    temporary = _temporary_path(target)
    temporary.mkdir()
    try:
        yield temporary
        for written in (*temporary.rglob("*"), temporary):
            sync(written)
        if target.exists():
            os.replace(target, aside)
        os.replace(temporary, target)
        sync(target.parent)
    finally:
        _settle(target, aside)
        shutil.rmtree(temporary, ignore_errors=True)


def _settle(target: Path, aside: Path) -> None:
    """Removes what was set aside, or puts it back if nothing took its place."""
    if not target.exists() and aside.exists():
        os.replace(aside, target)
    shutil.rmtree(aside, ignore_errors=True)


def _temporary_path(target: Path) -> Path:
    return target.parent / f".{secrets.token_hex(_TOKEN_BYTES)}.{target.name}"


def write_bytes_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes a file whole, or not at all."""
    with replace_when_whole(path) as temporary:
        temporary.write_bytes(data)


def remove_leftovers(folder: Path) -> None:
    """Removes what killed processes have left unfinished under a folder."""
    for path in _leftovers(folder.rglob(".*")):
        _remove(path)


def _leftovers(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if _LEFTOVER.match(path.name)]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)  # it may have stood in a folder that is gone


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
