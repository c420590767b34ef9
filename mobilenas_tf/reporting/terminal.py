"""Result tables for the terminal, with the page's headings and number formats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mobilenas_tf.reporting.number_format import (
    format_heading,
    format_value,
    is_number,
)


def format_table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns an aligned text table: heading, rule, one line for each row.

    Args:
        columns: Keys of the rows in the order to show; they also choose the units
            (`macs`, `params`, `*_accuracy`, `*_bytes`, `*_ms`).
        rows: Plain JSON values; a missing key or null shows as a dash.
    """
    headings = [format_heading(column) for column in columns]
    cells = [[format_value(name, row.get(name)) for name in columns] for row in rows]
    widths = [max(map(len, texts)) for texts in zip(headings, *cells, strict=True)]
    is_right = [any(is_number(row.get(name)) for row in rows) for name in columns]
    lines = (headings, ["─" * width for width in widths], *cells)
    return "\n".join(
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, is_right, strict=True)
        ).rstrip()
        for line in lines
    )
