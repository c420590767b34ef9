"""The report of a run: one HTML file that needs nothing else to be shown."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path

from mobilenas_tf.reporting.headline import headline_cards
from mobilenas_tf.reporting.markup import element, escape
from mobilenas_tf.reporting.run_data import Run, read_run
from mobilenas_tf.reporting.sections import report_sections
from mobilenas_tf.reporting.style import CSS
from mobilenas_tf.whole_files import write_bytes_atomically


def write_report(run_path: Path) -> Path:
    """Writes `report.html` into a run folder and returns its path.

    The page shows what the folder holds: any of config.json, provenance.json,
    metrics.jsonl, architecture.json, search.json, shrinking.json, the search.json in
    each folder of snapshots, summary.json, confusion.json, detection_evaluation.json
    (with contact_sheet.jpg or .png), parity.json and benchmark.json.

    Raises:
        ValueError: If the folder holds none of these, or one that is malformed.
    """
    run_path = Path(run_path)
    report_path = run_path / "report.html"
    write_bytes_atomically(report_path, render_report(read_run(run_path)).encode())
    return report_path


def render_report(run: Run) -> str:
    """Returns the page of a run as HTML."""
    sections = report_sections(run)
    title = _run_name(run)
    body = element(
        "main",
        None,
        _header(run, title, sections),
        *(
            element(
                "section",
                {"id": _anchor(heading)},
                element("h2", None, heading),
                content,
            )
            for heading, content in sections.items()
        ),
        element(
            "footer", None, "Written by mobilenas_tf. Point at a chart for values."
        ),
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{CSS}</style></head>"
        f"<body>{body}</body></html>\n"
    )


def _header(run: Run, title: str, sections: Mapping[str, str]) -> str:
    cards = (
        element(
            "div",
            {"class": "card"},
            element("span", None, escape(card.label)),
            element("b", None, escape(card.figure)),
            element("span", None, escape(card.note)),
        )
        for card in headline_cards(run)
    )
    links = (
        element("a", {"href": f"#{_anchor(heading)}"}, heading) for heading in sections
    )
    return element(
        "header",
        None,
        element("h1", None, escape(title)),
        element("p", None, escape(_subtitle(run))),
        element("nav", None, *links),
        element("div", {"class": "cards"}, *cards),
    )


def _run_name(run: Run) -> str:
    return run.path.resolve().name


def _anchor(heading: str) -> str:
    return heading.lower().replace(" ", "-")


def _subtitle(run: Run) -> str:
    tool = run.documents.get("config", {}).get("tool")
    network = run.architecture.name if run.architecture else None
    started = run.documents.get("provenance", {}).get("started")
    if started:
        started = f"{datetime.datetime.fromisoformat(started):%d %B %Y, %H:%M %Z}"
    return " · ".join(str(part) for part in (tool, network, started) if part)
