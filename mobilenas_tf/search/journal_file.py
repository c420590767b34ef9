"""Files of one JSON object a line, which a process may have died while writing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mobilenas_tf.whole_files import append_line


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Writes one more line, in the place of a last one that was not written whole."""
    append_line(path, json.dumps(row))


def read_rows(
    path: Path, *, space: str, keys: tuple[str, ...]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Gives the rows of a file, each with the words that name its place.

    A last line that was not written whole is left out. A file that is not there has no
    rows.

    Args:
        path: Of the file.
        space: What `space` of every row must be.
        keys: What every row must have besides.

    Raises:
        ValueError: If it is the journal of another space, or damaged elsewhere than at
            its end.
    """
    if not path.exists():
        return
    *lines, _ = path.read_text().split("\n")
    for number, line in enumerate(lines, start=1):
        where = f"{path}, line {number},"
        try:
            row = json.loads(line)
            found, _ = row["space"], [row[key] for key in keys]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{where} must be an entry of a journal. Received: {line[:80]!r}"
            ) from error
        if found != space:
            raise ValueError(
                f"{path} must be the journal of {space}. Received: that of {found}"
            )
        yield where, row
