"""JSON values as HTML tables, formatted by the names of their columns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mobilenas_tf.reporting.markup import element, escape
from mobilenas_tf.reporting.number_format import (
    format_heading,
    format_value,
    is_number,
)


def data_table(
    columns: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    *,
    highlighted: int | None = None,
) -> str:
    """Returns a table with one line for each row; `highlighted` is a row's index."""
    styles = [
        "number" if any(is_number(row.get(name)) for row in rows) else ""
        for name in columns
    ]
    head = element(
        "tr",
        None,
        *(
            element("th", {"class": style}, escape(format_heading(name)))
            for name, style in zip(columns, styles, strict=True)
        ),
    )
    body = [
        element(
            "tr",
            {"class": "highlighted"} if index == highlighted else None,
            *(
                element(
                    "td", {"class": style}, escape(format_value(name, row.get(name)))
                )
                for name, style in zip(columns, styles, strict=True)
            ),
        )
        for index, row in enumerate(rows)
    ]
    table = element(
        "table", None, element("thead", None, head), element("tbody", None, *body)
    )
    return element("div", {"class": "scroll"}, table)


def fact_table(value: Any) -> str:
    """Returns nested plain JSON as two columns: paths of keys, and values verbatim."""
    rows = [
        element(
            "tr",
            None,
            element("th", None, escape(path)),
            element("td", None, escape(text)),
        )
        for path, text in _flatten("", value)
    ]
    table = element("table", {"class": "facts"}, *rows)
    return element("div", {"class": "scroll"}, table)


def _flatten(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yields `(path, text)` of every value; a list without objects stays in one."""
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        items = list(enumerate(value, start=1))
    else:
        yield path, value if isinstance(value, str) else json.dumps(value)
        return
    for key, item in items:
        yield from _flatten(f"{path} / {key}" if path else str(key), item)
