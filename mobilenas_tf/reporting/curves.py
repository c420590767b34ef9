"""The courses of search and training as charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mobilenas_tf.reporting.charts import SMALL, WIDE, Series, line_chart
from mobilenas_tf.reporting.markup import element
from mobilenas_tf.reporting.run_data import SEARCH_PHASE, Run, metric_points

Rows = Sequence[Mapping[str, Any]]
_COST_NAMES = {"macs": "Multiply-adds", "params": "Parameters"}
_SEARCH_DETAILS = ("channels_alive", "penalty_strength", "temperature", "gate_entropy")


def search_charts(run: Run) -> str:
    """Returns the course of the search: cost and budget above the others."""
    rows = run.metrics.get(SEARCH_PHASE, ())
    metric = run.search.metric if run.search else ""
    costs = (
        Series("expected", metric_points(rows, "expected_cost"), "c1"),
        Series("derived", metric_points(rows, "derived_cost"), "c3"),
        Series("schedule", metric_points(rows, "target_cost"), "c6", is_dashed=True),
    )
    cost_chart = line_chart(
        f"{_COST_NAMES.get(metric, 'Cost')} against the budget",
        costs,
        quantity=metric,
        size=WIDE,
        limit=("budget", run.search.budget) if run.search else None,
        includes_zero=True,
    )
    details = [_detail_chart({"": rows}, key) for key in _SEARCH_DETAILS]
    return (
        cost_chart
        + _grid("large", _quality_charts({"": rows}))
        + _grid("small", details)
    )


def training_charts(run: Run) -> str:
    """Returns the courses of all phases but the search, a colour each."""
    phases = {
        phase.replace("_", " "): rows
        for phase, rows in run.metrics.items()
        if phase != SEARCH_PHASE
    }
    details = [_detail_chart(phases, "learning_rate")]
    return _grid("large", _quality_charts(phases)) + _grid("small", details)


def _quality_charts(phases: Mapping[str, Rows]) -> list[str]:
    """Draws accuracy and loss; a phase has one colour, its training images dashes."""
    accuracies, losses = [], []
    for index, (phase, rows) in enumerate(phases.items()):
        color = f"c{index % 6 + 1}"
        validation = metric_points(rows, "validation_accuracy")
        training = metric_points(rows, "accuracy")
        name = f"{phase}, " if phase else ""
        accuracies += [
            Series(f"{name}validation", validation, color),
            Series(f"{name}training", training, color, is_dashed=True),
        ]
        losses.append(Series(f"{name}training", metric_points(rows, "loss"), color))
    return [
        line_chart("Accuracy", accuracies, quantity="accuracy"),
        line_chart("Loss", losses, quantity="loss"),
    ]


def _detail_chart(phases: Mapping[str, Rows], key: str) -> str:
    series = [
        Series(phase, metric_points(rows, key), f"c{index % 6 + 1}")
        for index, (phase, rows) in enumerate(phases.items())
    ]
    title = key.replace("_", " ").capitalize()
    return line_chart(title, series, quantity=key, size=SMALL, includes_zero=True)


def _grid(size: str, charts: Sequence[str]) -> str:
    content = "".join(charts)
    return element("div", {"class": f"grid {size}"}, content) if content else ""
