"""A search of a one-shot supernet: its front, its course, and what was turned off."""

from __future__ import annotations

from typing import Any

from mobilenas_tf.reporting.charts import Series, line_chart
from mobilenas_tf.reporting.comparison_charts import (
    ScatterNetwork,
    draw_scatter,
    legend_entry,
)
from mobilenas_tf.reporting.documents import OneShot
from mobilenas_tf.reporting.markup import element, escape
from mobilenas_tf.reporting.number_format import format_budgets
from mobilenas_tf.reporting.tables import data_table

_CAVEAT = (
    "With inherited weights and recalibrated batch norms: scores rank networks and are "
    "no results. Train a network to know what it can do."
)


def one_shot_section(document: OneShot) -> str:
    """Returns front, generations and turned-off operations of `one_shot.json`."""
    metric = document["metric"]
    points = [(row["costs"][metric], row["score"]) for row in document["front"]]
    scatter = draw_scatter(
        "Networks of the front",
        [
            ScatterNetwork(f"front/{rank}", cost, {"": score})
            for rank, (cost, score) in enumerate(points)
        ],
        metric=metric,
        legend=legend_entry("disc", "none is better in both"),
        line=points,
        quantity="score",
    )
    best = [
        (float(each["generation"]), float(each["best"]))
        for each in document["generations"]
    ]
    size = [
        (float(each["generation"]), float(len(each["front"])))
        for each in document["generations"]
    ]
    charts = (
        line_chart(
            "Best score by generation",
            [Series("best", best, "c1")],
            quantity="score",
            over="generation",
        ),
        line_chart(
            "Networks on the front by generation",
            [Series("networks", size, "c3")],
            quantity="networks",
            over="generation",
            includes_zero=True,
        ),
    )
    return (
        element("p", None, escape(f"{_sentence(document)} {_CAVEAT}"))
        + scatter
        + _front_table(document)
        + element("div", {"class": "grid large"}, *charts)
        + _turned_off(document["turned_off"])
    )


def _sentence(document: OneShot) -> str:
    budgets = format_budgets(document["budgets"])
    sentence = (
        f"{document['evaluated']:,} networks within {budgets} were scored, of about "
        f"10^{document['log10_networks']:.1f} that the supernet has left: by "
        f"{document['measure']}."
    )
    tau = document.get("reliability")
    if tau is not None:
        sentence += (
            f" Two halves of the images that score rank networks alike with a Kendall's"
            f" tau of {tau:.2f}: smaller differences than that tells are chance."
        )
    return sentence


def _front_table(document: OneShot) -> str:
    rows = [
        {
            "network": f"front/{rank}",
            **row["costs"],
            "score": row["score"],
            "accuracy": row["accuracy"],
        }
        for rank, row in enumerate(document["front"])
    ]
    return element("div", {"class": "panel"}, data_table(list(rows[0]), rows))


def _turned_off(events: Any) -> str:
    if not events:
        return ""
    rows = [
        {
            "epoch": event["epoch"],
            "place": event["path"].removesuffix("/operation"),
            "turned off": event["operation"],
            "best there": event["best"] or "–",
            "points behind": 100 * event["behind"],
            "standard error": 100 * event["standard_error"],
            "told by": event["by"],
        }
        for event in events
    ]
    table = data_table(list(rows[0]), rows)
    return element("h3", None, "Operations that were turned off") + element(
        "div", {"class": "panel"}, table
    )
