"""A folder that one process works in at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

# Open folders by device and inode: a lock lasts as long as its descriptor.
_HELD: dict[tuple[int, int], int] = {}


def hold_folder(path: Path) -> None:
    """Keeps other processes out of a folder for as long as this one lives.

    They are kept out by asking the same. Nothing is left in the folder, whatever ends
    the process. File systems of networks that have no such locks are let through.

    Args:
        path: Of a folder that is there.

    Raises:
        ValueError: If another process holds it.
    """
    stat = path.stat()
    folder = stat.st_dev, stat.st_ino
    if folder in _HELD:
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ValueError(
            "workdir must be a folder that no other process works in; wait for its "
            f"end, or give another folder. Received: {path}, which is in use"
        ) from error
    except OSError:
        os.close(descriptor)
    else:
        _HELD[folder] = descriptor
