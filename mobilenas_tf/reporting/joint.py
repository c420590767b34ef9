"""A joint search: its rounds, its front, and which settings of the recipe matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mobilenas_tf.reporting.charts import Series, line_chart
from mobilenas_tf.reporting.comparison_charts import (
    ScatterNetwork,
    draw_scatter,
    legend_entry,
)
from mobilenas_tf.reporting.markup import element, escape
from mobilenas_tf.reporting.number_format import COST_NAMES, format_value
from mobilenas_tf.reporting.tables import data_table


def joint_section(document: Mapping[str, Any]) -> str:
    """Returns what `joint.json` holds."""
    return (
        element("p", None, escape(_sentence(document)))
        + _front(document)
        + element("div", {"class": "grid large"}, *_round_charts(document["rounds"]))
        + _effects(document["effects"])
    )


def _sentence(document: Mapping[str, Any]) -> str:
    budgets = " and ".join(
        f"{format_value(metric, budget)} {COST_NAMES[metric]}"
        for metric, budget in document["budgets"].items()
    )
    sentence = (
        f"{document['trained']:,} candidates were trained on {document['measure']}: "
        f"the first round to the end, the others to epoch {document['stop_epoch']}, "
        "whose ranking is nearly that of the last. Accuracies are those of validation "
        f"images at that epoch, of networks within {budgets}."
    )
    if document["failed"]:
        sentence += f" {document['failed']} failed."
    if document["best"]["accuracy"] is None:
        sentence += (
            " The network of this run was not trained: it is what the predictor puts "
            f"first, at {100 * document['best']['predicted']:.1f} %."
        )
    return sentence


def _front(document: Mapping[str, Any]) -> str:
    metric, front = document["metric"], document["front"]
    points = [(row["costs"][metric], 100 * row["accuracy"]) for row in front]
    return draw_scatter(
        "Trained candidates that none beats",
        [
            ScatterNetwork(f"{rank}", cost, {"": accuracy})
            for rank, (cost, accuracy) in enumerate(points)
        ],
        metric=metric,
        legend=legend_entry("disc", "none is better in both"),
        line=points,
        quantity="accuracy (%)",
    )


def _round_charts(rounds: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the best by round, and predicted against reached accuracy."""
    best, so_far = [], 0.0
    for row in rounds:
        so_far = max([so_far, *(a for a in row["accuracies"] if a is not None)])
        best.append((float(row["round"]), 100 * so_far))
    means = [
        (float(row["round"]), _mean(row, "predicted"), _mean(row, "accuracies"))
        for row in rounds
        if any(value is not None for value in row["predicted"])
    ]
    charts = []
    if best:
        charts.append(
            line_chart(
                "Best accuracy by round",
                [Series("best", best, "c1")],
                quantity="accuracy (%)",
                over="round",
            )
        )
    if means:
        charts.append(
            line_chart(
                "Predicted and reached, mean of a round",
                [
                    Series("predicted", [(n, told) for n, told, _ in means], "c2"),
                    Series("reached", [(n, had) for n, _, had in means], "c1"),
                ],
                quantity="accuracy (%)",
                over="round",
            )
        )
    return charts


def _mean(row: Mapping[str, Any], key: str) -> float:
    """Returns the mean in percent over candidates that have an accuracy."""
    values = [
        value
        for value, accuracy in zip(row[key], row["accuracies"], strict=True)
        if accuracy is not None
    ]
    return 100 * sum(values) / max(len(values), 1)


def _effects(effects: Sequence[Mapping[str, Any]]) -> str:
    if not effects:
        return ""
    rows = [
        {
            "setting": row["setting"].removeprefix("recipe/").replace("_", " "),
            "best": row["best"],
            "points between best and worst": 100 * row["effect"],
            "by value": ", ".join(
                f"{value}: {100 * accuracy:.1f} %"
                for value, accuracy in zip(
                    row["values"], row["accuracies"], strict=True
                )
            ),
        }
        for row in effects
    ]
    return element("h3", None, "What the settings of the recipe do") + element(
        "div",
        {"class": "panel"},
        element(
            "p",
            None,
            "As predicted, the mean over candidates with one setting changed; learning "
            "rate and weight decay as multiples of the optimizer's usual ones.",
        ),
        data_table(list(rows[0]), rows),
    )
