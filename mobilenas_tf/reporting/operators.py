"""A search among operators: what each place chose, and how it came to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mobilenas_tf.reporting.charts import SMALL, Series, line_chart
from mobilenas_tf.reporting.documents import Operators
from mobilenas_tf.reporting.markup import element, escape
from mobilenas_tf.reporting.number_format import COST_NAMES
from mobilenas_tf.reporting.run_data import metric_points

_MOST_LINES = 6  # colours that the page has


def operator_section(document: Operators, rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns the operators' probabilities, at the end and over the search.

    Args:
        document: `operators.json`.
        rows: Metrics of the search.
    """
    found = document["found"]["genotype"]
    names = sorted({n for each in document["candidates"].values() for n in each})
    body = [
        _place_row(
            path,
            dict(zip(candidates, document["probabilities"][path], strict=True)),
            names,
            candidates[found[path]],
        )
        for path, candidates in document["candidates"].items()
    ]
    head = element("tr", None, *(_cell("th", name) for name in ("place", *names)))
    table = element(
        "table", None, element("thead", None, head), element("tbody", None, *body)
    )
    cost, unit = document["found"]["cost"], _UNITS[document["metric"]]
    sentence = (
        f"The most probable network within the budget costs {cost:,.4g} {unit} of "
        f"{document['budget']:,.4g}; its operators are underlined. Figures are "
        "probabilities in percent."
    )
    charts = [
        _course(path, document["probabilities"][path], candidates, rows)
        for path, candidates in document["candidates"].items()
    ]
    return (
        element("p", None, escape(sentence))
        + element("div", {"class": "panel"}, element("div", {"class": "scroll"}, table))
        + element("div", {"class": "grid small"}, *charts)
    )


_UNITS = {**COST_NAMES, "ms": "ms"}


def _place_row(
    path: str, probabilities: Mapping[str, float], names: Sequence[str], chosen: str
) -> str:
    cells = [_cell("td", path)]
    for name in names:
        if name not in probabilities:
            cells.append(_cell("td", ""))
            continue
        share = probabilities[name]
        text = f"{100 * share:.0f}"
        cells.append(
            element(
                "td",
                {
                    "class": "number",
                    # The page's first colour, as strong as the operator is likely.
                    "style": f"background: color-mix(in srgb, var(--c1) "
                    f"{70 * share:.0f}%, transparent)",
                },
                element("u", None, text) if name == chosen else text,
            )
        )
    return element("tr", None, *cells)


def _cell(name: str, text: str) -> str:
    return element(name, None, escape(text))


def _course(
    path: str,
    last: Sequence[float],
    candidates: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
) -> str:
    likeliest = sorted(zip(last, candidates, strict=True), reverse=True)[:_MOST_LINES]
    series = [
        Series(name, metric_points(rows, f"p/{path}/{name}"), f"c{index}")
        for index, (_, name) in enumerate(likeliest, start=1)
    ]
    return line_chart(
        path, series, quantity="probability", size=SMALL, includes_zero=True
    )
