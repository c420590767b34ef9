"""Look-up by name with a helpful answer to a wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def lookup(kind: str, name: str, table: Mapping[str, T]) -> T:
    """Returns `table[name]`.

    Raises:
        ValueError: If the name is unknown; names the nearest three, or else all.
    """
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=3, cutoff=0.5) or sorted(table)
    raise ValueError(
        f"{kind} must be a known name; the nearest are {', '.join(near)}. "
        f"Received: {kind}={name!r}"
    )
