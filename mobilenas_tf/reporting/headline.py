"""The few figures at the top of the page, each with what puts it in relation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.reporting.number_format import format_value, is_number
from mobilenas_tf.reporting.run_data import SEARCH_PHASE, Run, metric_points

_VALIDATED = {
    "validation_accuracy": "validation accuracy",
    "validation_ap": "validation mAP",
}


@dataclasses.dataclass(frozen=True)
class Card:
    """One figure; `note` relates it to another and may be empty."""

    label: str
    figure: str
    note: str = ""


def headline_cards(run: Run) -> tuple[Card, ...]:
    """Returns the run's main figures, as far as they are known.

    The first row of the summary is the run's own network. Without a summary the
    costs come from the architecture and the accuracy, of a detector the mAP, from the
    last validation.
    """
    row = _own_row(run)
    cards = [
        _detection_card(run) or _accuracy_card(run, row),
        _cost_card(run, row, "macs", "multiply-adds"),
        _cost_card(run, row, "params", "parameters"),
        _int8_card(row),
        _known_card(row, "median_ms", "latency, median", "p90_ms", "p90"),
        _known_card(row, "file_bytes", "file size", "", ""),
    ]
    return tuple(card for card in cards if card is not None)


def _own_row(run: Run) -> Mapping[str, Any]:
    summary = run.documents.get("summary") or {}
    return next(iter(summary.get("rows", ())), {})


def _accuracy_card(run: Run, row: Mapping[str, Any]) -> Card | None:
    if is_number(row.get("float_accuracy")):
        return Card("test accuracy", format_value("accuracy", row["float_accuracy"]))
    by_interest = sorted(
        run.metrics, key=lambda phase: (phase == SEARCH_PHASE, phase != "train")
    )
    for phase in by_interest:
        note = "of the supernet" if phase == SEARCH_PHASE else f"last of {phase}"
        for key, label in _VALIDATED.items():
            if points := metric_points(run.metrics[phase], key):
                return Card(label, format_value(key, points[-1][1]), note)
    return None


def _detection_card(run: Run) -> Card | None:
    evaluation = run.documents.get("detection_evaluation") or {}
    metrics = evaluation.get("metrics") or {}
    return _known_card(metrics, "ap", "box AP", "ap50", "AP50")


def _cost_card(
    run: Run, row: Mapping[str, Any], metric: str, label: str
) -> Card | None:
    if is_number(row.get(metric)):
        cost = row[metric]
    elif run.architecture is not None:
        cost = getattr(network_cost(run.architecture), metric)
    else:
        return None
    note = ""
    if run.search is not None and run.search.metric == metric:
        budget = format_value(metric, run.search.budget)
        note = f"{100 * cost / run.search.budget:.1f} % of the budget of {budget}"
    elif run.search is not None:
        whole = getattr(network_cost(run.search.supernet), metric)
        note = f"{100 * cost / whole:.1f} % of the supernet's"
    return Card(label, format_value(metric, cost), note)


def _int8_card(row: Mapping[str, Any]) -> Card | None:
    int8, floating, note = row.get("int8_accuracy"), row.get("float_accuracy"), ""
    if not is_number(int8):
        return None
    if is_number(floating):
        points = f"{100 * (int8 - floating):+.2f}".replace("-", "−")
        note = f"{points} points against float"
    return Card("int8 accuracy", format_value("accuracy", int8), note)


def _known_card(
    row: Mapping[str, Any], key: str, label: str, note_key: str, note_label: str
) -> Card | None:
    if not is_number(row.get(key)):
        return None
    note = ""
    if is_number(row.get(note_key)):
        note = f"{note_label} {format_value(note_key, row[note_key])}"
    return Card(label, format_value(key, row[key]), note)
