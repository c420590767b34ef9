"""A joint search: its rounds, its front, and which settings of the recipe matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats

from mobilenas_tf.reporting.charts import Series, line_chart
from mobilenas_tf.reporting.comparison_charts import (
    ScatterNetwork,
    draw_scatter,
    legend_entry,
)
from mobilenas_tf.reporting.documents import Joint
from mobilenas_tf.reporting.markup import element, escape
from mobilenas_tf.reporting.number_format import format_budgets
from mobilenas_tf.reporting.tables import data_table


def joint_section(document: Joint) -> str:
    """Returns what `joint.json` holds."""
    return (
        element("p", None, escape(_sentence(document)))
        + _recipe(document)
        + (_front(document) if document["front"] else "")
        + _rounds(document["rounds"])
        + _effects(document["effects"])
    )


def _sentence(document: Joint) -> str:
    budgets = format_budgets(document["budgets"])
    sentence = (
        f"{document['trained']:,} candidates were trained on {document['measure']}: "
        f"the first round to the end, the others to epoch {document['stop_epoch']}, "
        "whose ranking is nearly that of the last. Accuracies are those of validation "
        f"images at that epoch, of networks within {budgets}."
    )
    if document["failed"]:
        sentence += f" {document['failed']} failed."
    best = document["best"]
    if best["accuracy"] is None:
        return sentence + (
            " The network of this run was not trained: it is what the predictor puts "
            f"first, at {100 * best['predicted']:.1f} %."
        )
    return sentence + (
        f" The network and the recipe of this run reach {100 * best['accuracy']:.1f} %."
    )


def _recipe(document: Joint) -> str:
    found, default = document["recipe"], document["default_recipe"]
    rows = [
        {
            "setting": name.replace("_", " "),
            "found": value,
            "default": default.get(name),
        }
        for name, value in found.items()
    ]
    return element("h3", None, "The found recipe") + element(
        "div",
        {"class": "panel"},
        element("p", None, "The learning rate is that of a batch of 256 images."),
        data_table(list(rows[0]), rows),
    )


def _front(document: Joint) -> str:
    metric, front = document["metric"], document["front"]
    points = [(row["costs"][metric], row["accuracy"]) for row in front]
    return draw_scatter(
        "Trained candidates that none beats",
        [
            ScatterNetwork(f"{rank}", cost, {"": accuracy})
            for rank, (cost, accuracy) in enumerate(points)
        ],
        metric=metric,
        legend=legend_entry("disc", "none is better in both"),
        line=points,
        quantity="accuracy",
    )


def _rounds(rounds: Sequence[Mapping[str, Any]]) -> str:
    """Returns the best by round, and what was predicted beside what was reached."""
    best, rows = [], []
    so_far = 0.0
    for done in rounds:
        reached = [value for value in done["accuracies"] if value is not None]
        so_far = max([so_far, *reached])
        best.append((float(done["round"]), 100 * so_far))
        pairs = [
            (told, had)
            for told, had in zip(done["predicted"], done["accuracies"], strict=True)
            if told is not None and had is not None
        ]
        rows.append(
            {
                "round": done["round"],
                "stage": done["stage"],
                "trained": len(done["accuracies"]),
                "failed": len(done["accuracies"]) - len(reached),
                "best (%)": _percent(max(reached, default=None)),
                "mean (%)": _percent(_mean(reached)),
                "predicted mean (%)": _percent(_mean([told for told, _ in pairs])),
                "rank correlation": _correlation(pairs),
            }
        )
    if not rows:
        return ""
    chart = line_chart(
        "Best accuracy by round",
        [Series("best", best, "c1")],
        quantity="accuracy (%)",
        over="round",
    )
    return (
        element("h3", None, "Rounds")
        + element("div", {"class": "grid large"}, chart)
        + element("div", {"class": "panel"}, data_table(list(rows[0]), rows))
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _percent(value: float | None) -> float | str:
    return "–" if value is None else 100 * value


def _correlation(pairs: Sequence[tuple[float, float]]) -> float | str:
    """Returns Spearman's of predicted and reached; of two pairs it tells nothing."""
    if len(pairs) < 3 or min(np.ptp(np.array(pairs), axis=0)) == 0:
        return "–"
    predicted, reached = np.array(pairs).T
    return float(np.asarray(scipy.stats.spearmanr(predicted, reached))[0])


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
