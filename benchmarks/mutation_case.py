"""What the readers under test have in common: a valid file, and how they are judged.

How files are damaged is in `mutations`.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

PLAIN, LITERT, TENSORFLOW = "plain", "litert", "tensorflow"


@dataclasses.dataclass(frozen=True)
class Case:
    """A reader and a file for it.

    Attributes:
        name: Of the reader.
        kind: Of the file, a key of `mutations.MUTATIONS`.
        make: Writes a valid file, and what belongs to it, into an empty folder;
            returns its path.
        read: The reader, given the path.
        accept: `(what a damaged file gave, what the valid one gave) -> whether that
            is no wrong file`.
        share: How many of all damaged files are for this reader, in proportion.
        group: What its process needs.
        names_file: Whether its errors name the file; others only get its content.
    """

    name: str
    kind: str
    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    accept: Callable[[Any, Any], bool]
    share: float = 1.0
    group: str = PLAIN
    names_file: bool = True


def survives(
    write: Callable[[Path, Any], None], read: Callable[[Path], Any]
) -> Callable[[Any, Any], bool]:
    """Returns what accepts a value that is the same when written and read again."""

    def accept(value: Any, valid: Any) -> bool:
        del valid
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "again"
            write(path, value)
            return read(path) == value

    return accept


def writes(
    name: str, write: Callable[[Path, Any], None], value: Any
) -> Callable[[Path], Path]:
    """Returns what writes a value into a folder, under this name."""

    def make(folder: Path) -> Path:
        write(folder / name, value)
        return folder / name

    return make
