"""The sections of the page; each is empty where the run folder has nothing for it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from mobilenas_tf.reporting.budgets import budget_section
from mobilenas_tf.reporting.comparison_charts import (
    accuracy_scatter,
    latency_chart,
)
from mobilenas_tf.reporting.confusion import confusion_section
from mobilenas_tf.reporting.curves import search_charts, training_charts
from mobilenas_tf.reporting.detection import detection_section
from mobilenas_tf.reporting.documents import Confusion, Summary
from mobilenas_tf.reporting.joint import joint_section
from mobilenas_tf.reporting.markup import element, escape
from mobilenas_tf.reporting.network_drawing import draw_network
from mobilenas_tf.reporting.network_rows import Row, network_rows
from mobilenas_tf.reporting.one_shot import one_shot_section
from mobilenas_tf.reporting.operators import operator_section
from mobilenas_tf.reporting.run_data import SEARCH_PHASE, Run
from mobilenas_tf.reporting.tables import data_table, fact_table

_BENCHMARK_COLUMNS = (
    "model",
    "model_bytes",
    "num_threads",
    "median_ms",
    "p90_ms",
    "p95_ms",
    "mean_ms",
    "stddev_ms",
    "min_ms",
    "first_inference_ms",
    "init_ms",
)


def report_sections(run: Run) -> dict[str, str]:
    """Returns the sections' content by their headings, in the order of the page."""
    sections = {
        "The found network" if run.search else "The network": _network(run),
        "Networks by budget": budget_section(run),
        "Accuracy and cost": _results(run.documents.get("summary")),
        "Course of the search": search_charts(run),
        "Operators": _operators(run),
        "The supernet's networks": _one_shot(run),
        "The joint search": _joint(run),
        "Training": training_charts(run),
        "Confusion": _confusion(run.documents.get("confusion")),
        "Detection": _detection(run),
        "Exported model": _parity(run.documents.get("parity")),
        "Benchmark": _benchmark(run.documents.get("benchmark")),
        "Configuration and provenance": _provenance(run),
    }
    return {heading: content for heading, content in sections.items() if content}


def _network(run: Run) -> str:
    if run.search is not None:
        rows = network_rows(run.search.supernet, run.search.widths)
        probabilities = run.search.probabilities
        title = f"Found in the space {run.search.supernet.name}"
    elif run.architecture is not None:
        rows, probabilities = network_rows(run.architecture, {}), {}
        title = f"{run.architecture.name}, {run.architecture.image_size_px} px"
    else:
        return ""
    drawing = draw_network(rows, title=title, probabilities=probabilities)
    if run.search is None:
        return drawing
    return element("p", None, escape(kept_sentence(rows))) + drawing


def kept_sentence(rows: Sequence[Row]) -> str:
    """Returns in words how much of the supernet is left, and of which kernels."""
    blocks = [row for row in rows if "/" in row.path]
    bars = [bar for row in blocks for bar in row.bars if bar.kind != "squeeze"]
    kept, possible = sum(bar.kept for bar in bars), sum(bar.possible for bar in bars)
    sentence = f"{sum(not row.is_skipped for row in blocks)} of {len(blocks)} blocks"
    if not kept:
        return f"{sentence} are left."
    sentence += f" and {kept:,} of {possible:,} kernel channels are left"
    kinds = sorted({bar.label for bar in bars})
    if len(kinds) > 1:
        channels = {
            kind: sum(bar.kept for bar in bars if bar.label == kind) for kind in kinds
        }
        shares = (f"{100 * channels[kind] / kept:.0f} % {kind}" for kind in kinds)
        sentence += f": {', '.join(shares)}"
    return f"{sentence}."


def _results(summary: Summary | None) -> str:
    rows = summary.get("rows") if summary else None
    if not summary or not rows:
        return ""
    columns = summary.get("columns") or list(rows[0])
    table = data_table(columns, rows, highlighted=0)
    panel = element("div", {"class": "panel"}, table)
    return panel + accuracy_scatter(rows)


def _confusion(document: Confusion | None) -> str:
    return confusion_section(document) if document else ""


def _operators(run: Run) -> str:
    document = run.documents.get("operators")
    rows = run.metrics.get(SEARCH_PHASE, ())
    return operator_section(document, rows) if document else ""


def _joint(run: Run) -> str:
    document = run.documents.get("joint")
    return joint_section(document) if document else ""


def _one_shot(run: Run) -> str:
    document = run.documents.get("one_shot")
    return one_shot_section(document) if document else ""


def _detection(run: Run) -> str:
    document = run.documents.get("detection_evaluation")
    return detection_section(document, run.contact_sheet) if document else ""


def _parity(rows: Sequence[Mapping[str, Any]] | None) -> str:
    if not rows:
        return ""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return element("div", {"class": "panel"}, data_table(columns, rows))


def _benchmark(records: Sequence[Mapping[str, Any]] | None) -> str:
    if not records:
        return ""
    names = _short_names([str(row.get("model", "model")) for row in records])
    rows = [{**row, "model": name} for row, name in zip(records, names, strict=True)]
    columns = [name for name in _BENCHMARK_COLUMNS if any(name in row for row in rows)]
    table = element("div", {"class": "panel"}, data_table(columns, rows))
    others = [
        {name: row[name] for name in row if name == "model" or name not in columns}
        for row in rows
    ]
    return latency_chart(rows) + table + _folded("Device and settings", others)


def _short_names(paths: Sequence[str]) -> list[str]:
    """Returns the paths from the folder on that they have in common."""
    parents = [os.path.dirname(os.path.abspath(path)) for path in paths]
    folder = os.path.commonpath(parents) if parents else ""
    return [os.path.relpath(os.path.abspath(path), folder) for path in paths]


def _folded(title: str, document: Any) -> str:
    summary = element("summary", None, title)
    return element("details", None, summary, fact_table(document))


def _provenance(run: Run) -> str:
    return "".join(
        _folded(title, run.documents[name])
        for title, name in (("Configuration", "config"), ("Provenance", "provenance"))
        if run.documents.get(name)
    )
