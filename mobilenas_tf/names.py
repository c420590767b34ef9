"""Names that users give: look-up with a helpful answer, and what may be a name."""

from __future__ import annotations

import difflib
import unicodedata
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


def check_name(name: str, where: str) -> None:
    """Raises a ValueError unless a name can be a line of text, as labels must.

    Control characters, line ends among them, would also reach terminals.

    Args:
        name: Of a class or network.
        where: Names its place in the message.
    """
    unfit = ("Cc", "Cs", "Zl", "Zp")  # Unicode's categories
    if not name.strip() or any(unicodedata.category(c) in unfit for c in name):
        raise ValueError(
            f"{where} must be a name on one line, without control characters. "
            f"Received: {name!r}"
        )
