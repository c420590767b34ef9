"""Files of one JSON object a line, which a process may have died while writing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from absl import logging

from mobilenas_tf.json_io import from_plain
from mobilenas_tf.json_text import parse_json, shown
from mobilenas_tf.whole_files import append_line

T = TypeVar("T")


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Writes one more line, in the place of a last one that was not written whole.

    Raises:
        ValueError: If a number is not finite, which no reader would take.
    """
    append_line(path, json.dumps(row, allow_nan=False))


def read_rows(path: Path, kind: type[T], *, space: str) -> Iterator[tuple[str, str, T]]:
    """Gives the rows of a file, each with the words that name its place.

    Every row has the name of its `space`, in words the `measure` of what it tells
    (empty in older files), and the fields of `kind`. A last line that was not written
    whole is left out. A file that is not there has no rows.

    Args:
        path: Of the file.
        kind: A dataclass.
        space: What `space` of every row must be.

    Returns:
        Place, measure and value of each row.

    Raises:
        ValueError: If it is the journal of another space, or damaged elsewhere than at
            its end.
    """
    if not path.exists():
        return
    *lines, rest = path.read_bytes().split(b"\n")
    if rest:
        logging.warning(
            "%s: its last line was not written whole, and is left out", path
        )
    for number, line in enumerate(lines, start=1):
        where = f"{path}, line {number},"
        row = parse_json(line, where)
        if not isinstance(row, dict) or "space" not in row:
            raise ValueError(
                f"{where} must be an entry of a journal. Received: {shown(row)}"
            )
        if (found := row.pop("space")) != space:
            raise ValueError(
                f"{path} must be the journal of {space}. Received: that of "
                f"{shown(found)}"
            )
        measure = from_plain(str, row.pop("measure", ""), f"{where} measure")
        yield where, measure, from_plain(kind, row, where)
