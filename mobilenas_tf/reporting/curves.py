"""The courses of search and training as charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.reporting.charts import SMALL, WIDE, Series, line_chart
from mobilenas_tf.reporting.markup import element, escape
from mobilenas_tf.reporting.number_format import COST_NAMES, format_value
from mobilenas_tf.reporting.run_data import SEARCH_PHASE, Run, metric_points

Rows = Sequence[Mapping[str, Any]]
_SEARCH_DETAILS = ("channels_alive", "penalty_strength", "temperature", "gate_entropy")


def search_charts(run: Run) -> str:
    """Returns the course of the search: cost and budget above the others.

    What is left of the supernet is counted in multiply-adds: it joins the cost if that
    counts the same, and has a chart of its own otherwise.
    """
    rows = run.metrics.get(SEARCH_PHASE, ())
    operators = run.documents.get("operators")
    metric = run.search.metric if run.search else ""
    if operators:
        metric = operators["metric"]
    costs = [
        Series("expected", metric_points(rows, "expected_cost"), "c1"),
        Series("derived", metric_points(rows, "derived_cost"), "c3"),
        Series("schedule", metric_points(rows, "target_cost"), "c6", is_dashed=True),
    ]
    details = [_detail_chart({"": rows}, key) for key in _SEARCH_DETAILS]
    left = metric_points(rows, "supernet_macs")
    if metric == "macs":
        costs.insert(0, Series("supernet", left, "c2", is_stepped=True))
    else:
        supernet = Series("", left, "c1", is_stepped=True)
        details.append(
            line_chart(
                "Supernet MACs",
                [supernet],
                quantity="macs",
                size=SMALL,
                includes_zero=True,
            )
        )
    limit = "smallest budget" if run.snapshots else "budget"
    cost_chart = line_chart(
        f"{COST_NAMES.get(metric, 'cost').capitalize()} against the budget",
        costs,
        quantity=metric,
        size=WIDE,
        limit=(limit, run.search.budget) if run.search else None,
        includes_zero=True,
    )
    return (
        _cut_sentence(run)
        + cost_chart
        + _grid("large", _quality_charts({"": rows}))
        + _grid("small", details)
    )


def _cut_sentence(run: Run) -> str:
    """Returns when the supernet was narrowed and what was left, or nothing."""
    if not run.cuts:
        return ""
    *others, last = (str(cut.epoch) for cut in run.cuts)
    epochs = f"epochs {', '.join(others)} and {last}" if others else f"epoch {last}"
    left = format_value("macs", run.cuts[-1].macs)
    if run.search is not None:
        whole = network_cost(run.search.supernet).macs
        left += f" of {format_value('macs', whole)}"
    sentence = (
        f"Live shrinking cut dead channels out of the supernet after {epochs}; {left} "
        "multiply-adds were left."
    )
    return element("p", None, escape(sentence))


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
    """Draws accuracy or mAP, and loss; a phase has one colour.

    Of accuracies those of training images are dashed, of mAPs those at IoU 0.50.
    """
    accuracies, precisions, losses = [], [], []
    for index, (phase, rows) in enumerate(phases.items()):
        color = f"c{index % 6 + 1}"
        validation = metric_points(rows, "validation_accuracy")
        training = metric_points(rows, "accuracy")
        name = f"{phase}, " if phase else ""
        accuracies += [
            Series(f"{name}validation", validation, color),
            Series(f"{name}training", training, color, is_dashed=True),
        ]
        mean, at_half = (
            metric_points(rows, key) for key in ("validation_ap", "validation_ap50")
        )
        precisions += [
            Series(f"{name}IoU 0.50 to 0.95", mean, color),
            Series(f"{name}IoU 0.50", at_half, color, is_dashed=True),
        ]
        losses.append(Series(f"{name}training", metric_points(rows, "loss"), color))
    return [
        line_chart("Accuracy", accuracies, quantity="accuracy"),
        line_chart("Validation mAP", precisions, quantity="ap"),
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
