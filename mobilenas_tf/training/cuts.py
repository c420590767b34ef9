"""The file in which a search notes how it narrowed its supernet: `shrinking.json`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from mobilenas_tf.json_io import from_plain, read_json, write_json

CUTS_FILE = "shrinking.json"


@dataclasses.dataclass(frozen=True)
class Cut:
    """What was left after an epoch: multiply-adds, and channels by width path."""

    epoch: int
    macs: int
    widths: Mapping[str, int]


def write_cuts(path: Path, cuts: Sequence[Cut]) -> None:
    """Writes all cuts so far."""
    write_json(path, [dataclasses.asdict(cut) for cut in cuts])


def read_cuts(path: Path) -> tuple[Cut, ...]:
    """Reads the cuts so far; before the first there is no file.

    Raises:
        ValueError: If the file is damaged.
    """
    if not path.exists():
        return ()
    return from_plain(tuple[Cut, ...], read_json(path), str(path))
