"""The networks that one search found, one for each of its budgets.

What they are is read by `run_data`; how points are drawn is left to
`comparison_charts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mobilenas_tf.reporting.charts import legend_entry
from mobilenas_tf.reporting.comparison_charts import ScatterNetwork, draw_scatter
from mobilenas_tf.reporting.markup import element
from mobilenas_tf.reporting.number_format import format_value, is_number
from mobilenas_tf.reporting.run_data import Run, SearchResult
from mobilenas_tf.reporting.tables import data_table

_ACCURACY, _PRECISION = "inherited_validation_accuracy", "inherited_validation_ap"
_TITLES = {
    _ACCURACY: "Inherited validation accuracy over cost",
    _PRECISION: "Inherited validation mAP over cost",
}
_CAVEATS = {
    name: f"The {figures} are those of weights inherited from the supernet, which were "
    "never trained at the final widths. They rank the networks and are no results: "
    "train a network to know what it can do."
    for name, figures in ((_ACCURACY, "accuracies"), (_PRECISION, "mAPs"))
}
_WIDTH_SCALE = (
    "The width scale is the factor on all expected widths that met the budget: near 1 "
    "the search did, far from 1 it was too short."
)


def budget_section(run: Run) -> str:
    """Returns Pareto front and table of a search's networks; nothing for only one.

    The smallest budget comes first. Its network is the run's own.
    """
    name = run.path.resolve().name
    found = [(f"{name}/{folder}", result) for folder, result in run.snapshots.items()]
    if run.search is not None:
        found.append((name, run.search))
    if len(found) < 2:
        return ""
    found.sort(key=lambda item: item[1].budget)
    metric = found[0][1].metric
    rows = [_row(result, folder) for folder, result in found]
    sentence = f"One search found {len(rows)} networks, each for a budget of its own. "
    quality = _judged_by(rows)
    table = data_table(
        (f"budget_{metric}", "macs", "params", quality, "width_scale", "folder"),
        rows,
        highlighted=0 if run.search is not None else None,
    )
    return (
        element("p", None, sentence + _CAVEATS[quality])
        + front_scatter(rows, metric=metric)
        + element("div", {"class": "panel"}, table)
        + element("p", None, _WIDTH_SCALE)
    )


def _row(result: SearchResult, folder: str) -> dict[str, Any]:
    return {
        f"budget_{result.metric}": result.budget,
        "macs": result.cost.macs,
        "params": result.cost.params,
        **({"ms": result.latency_ms} if result.metric == "ms" else {}),
        _ACCURACY: result.inherited_validation_accuracy,
        _PRECISION: result.inherited_validation_ap,
        "width_scale": result.width_scale,
        "folder": folder,
    }


def _judged_by(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns what the networks are judged by: mAP if some have one."""
    is_detection = any(is_number(row.get(_PRECISION)) for row in rows)
    return _PRECISION if is_detection else _ACCURACY


def front_scatter(rows: Sequence[Mapping[str, Any]], *, metric: str) -> str:
    """Returns accuracy, of detectors mAP, over cost, with the Pareto front joined.

    Args:
        rows: With `budget_<metric>`, `<metric>` and `inherited_validation_accuracy` or
            `inherited_validation_ap`; those without either are left out.
        metric: What the budget counts.
    """
    quality = _judged_by(rows)
    complete = [row for row in rows if is_number(row.get(quality))]
    if len(complete) < 2:
        return ""
    points = [(row[metric], row[quality]) for row in complete]
    front = pareto_front(points)
    networks = [
        ScatterNetwork(
            f"budget {format_value(metric, row[f'budget_{metric}'])}",
            cost,
            {"" if index in front else "hollow": accuracy},
        )
        for index, (row, (cost, accuracy)) in enumerate(
            zip(complete, points, strict=True)
        )
    ]
    legend = legend_entry("disc", "on the Pareto front")
    if len(front) < len(networks):
        legend += legend_entry("disc hollow", "dominated")
    return draw_scatter(
        _TITLES[quality],
        networks,
        metric=metric,
        legend=legend,
        line=[points[index] for index in front],
        quantity=quality,
    )


def pareto_front(points: Sequence[tuple[float, float]]) -> tuple[int, ...]:
    """Returns the indices of the `(cost, accuracy)` that none dominates, by cost.

    Another point dominates one that it differs from if it costs no more and is no less
    accurate.
    """
    return tuple(
        index
        for index in sorted(range(len(points)), key=points.__getitem__)
        if not any(
            other != points[index]
            and other[0] <= points[index][0]
            and other[1] >= points[index][1]
            for other in points
        )
    )
