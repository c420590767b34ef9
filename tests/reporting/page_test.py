from __future__ import annotations

import html.parser
import json
import re
from pathlib import Path
from typing import Any

import pytest

from mobilenas_tf.json_io import write_json
from mobilenas_tf.reporting.headline import headline_cards
from mobilenas_tf.reporting.page import write_report
from mobilenas_tf.reporting.run_data import read_run
from mobilenas_tf.spaces import named_space

ALL_FILES = (
    "config.json",
    "provenance.json",
    "metrics.jsonl",
    "architecture.json",
    "search.json",
    "summary.json",
    "confusion.json",
    "parity.json",
    "benchmark.json",
)


class _Page(html.parser.HTMLParser):
    """Collects elements, headings and text, and checks that elements are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.headings: list[str] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag != "meta":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self._open and self._open[-1] == "h2":
            self.headings.append(data)


def _read(path: Path) -> _Page:
    return _Page(path.read_text(encoding="utf-8"))


def test_report_has_every_section(run_path: Path) -> None:
    report = write_report(run_path)
    assert report == run_path / "report.html"
    page = _read(report)
    assert page.headings == [
        "The found network",
        "Accuracy and cost",
        "Course of the search",
        "Training",
        "Confusion",
        "Exported model",
        "Benchmark",
        "Configuration and provenance",
    ]
    assert {"97.50 %", "search_figs", "some cpu", "87.50 %"} <= set(page.texts)


def test_report_of_several_budgets_compares_their_networks(
    shrinking_run_path: Path,
) -> None:
    page = _read(write_report(shrinking_run_path))
    assert page.headings[:3] == [
        "The found network",
        "Networks by budget",
        "Accuracy and cost",
    ]
    assert "run <1>/snapshots/60000_macs" in page.texts


@pytest.mark.parametrize("kept", ALL_FILES)
def test_report_shows_a_single_file(run_path: Path, kept: str) -> None:
    for name in ALL_FILES:
        if name != kept:
            (run_path / name).unlink()
    assert _read(write_report(run_path)).headings


@pytest.mark.parametrize("lost", ALL_FILES)
def test_report_leaves_out_what_is_missing(run_path: Path, lost: str) -> None:
    (run_path / lost).unlink()
    assert len(_read(write_report(run_path)).headings) >= 6


def test_architecture_alone_shows_the_whole_network(run_path: Path) -> None:
    for name in set(ALL_FILES) - {"architecture.json"}:
        (run_path / name).unlink()
    page = _read(write_report(run_path))
    assert page.headings == ["The network"]
    assert "channels of each kernel" in page.texts


def test_header_has_tool_network_and_start(run_path: Path) -> None:
    provenance = {"started": "2026-11-21T23:24:05+00:00"}
    write_json(run_path / "provenance.json", provenance)
    texts = _read(write_report(run_path)).texts
    assert "search_figs · small · 21 November 2026, 23:24 UTC" in texts


def test_names_from_outside_are_shown_and_never_become_markup(run_path: Path) -> None:
    page = _read(write_report(run_path))
    assert "script" not in page.tags
    nasty = "<script>alert('&\"')</script>"
    assert page.texts.count(nasty) >= 3
    assert "run <1>" in page.texts


def test_cut_off_metrics_do_not_stop_the_report(run_path: Path) -> None:
    with (run_path / "metrics.jsonl").open("a") as file:
        file.write('{"phase": "tra')
    assert "Training" in _read(write_report(run_path)).headings


def test_page_refers_to_nothing_outside_and_stays_small(tmp_path: Path) -> None:
    space = named_space("figs_mobilenet_v2")
    search = {
        "metric": "macs",
        "budget": 3e8,
        "supernet": space.supernet,
        "widths": space.smallest(),
    }
    write_json(tmp_path / "search.json", search)
    names = [f"class {index}" for index in range(300)]
    counts = [[3] * 300 for _ in names]
    confusion = {"class_names": names, "counts": counts}
    write_json(tmp_path / "confusion.json", confusion)
    keys = ("loss", "accuracy", "expected_cost", "derived_cost", "channels_alive")
    rows = (
        {"phase": phase, "step": step, **dict.fromkeys(keys, step % 7)}
        for phase in ("search", "train", "uniform")
        for step in range(2000)
    )
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "metrics.jsonl").write_text(lines)
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z]|url\(|@import|\ssrc=|<link|<script", text)
    assert len(text.encode()) < 2_000_000


def test_headline_relates_costs_to_the_budget_and_int8_to_float(
    run_path: Path,
) -> None:
    cards = {card.label: card for card in headline_cards(read_run(run_path))}
    assert cards["test accuracy"].figure == "97.50 %"
    # 45,000 of a budget of 50,000; 97.0 % against 97.5 %.
    assert cards["multiply-adds"].note == "90.0 % of the budget of 0.050 M"
    assert cards["int8 accuracy"].note == "−0.50 points against float"
    assert cards["latency, median"].figure == "0.250 ms"
    assert "file size" not in cards


def test_headline_without_a_summary_has_the_last_validation(run_path: Path) -> None:
    (run_path / "summary.json").unlink()
    (run_path / "search.json").unlink()
    cards = {card.label: card for card in headline_cards(read_run(run_path))}
    assert cards["validation accuracy"].figure == "90.00 %"
    assert cards["validation accuracy"].note == "last of train"
    assert cards["parameters"].note == ""


def test_headline_of_a_search_speaks_of_the_supernet(tmp_path: Path) -> None:
    row = {"phase": "search", "step": 1, "validation_accuracy": 0.5}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    (card,) = headline_cards(read_run(tmp_path))
    assert (card.figure, card.note) == ("50.00 %", "of the supernet")


def test_headline_of_a_detector_s_search_has_its_mean_precision(tmp_path: Path) -> None:
    row = {"phase": "search", "step": 1, "validation_ap": 0.25}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    (card,) = headline_cards(read_run(tmp_path))
    assert (card.label, card.figure) == ("validation mAP", "0.250")


def test_configuration_is_shown_verbatim(run_path: Path) -> None:
    config = {"search": {"max_macs": 1234567, "kernels": [3, 5]}, "seed": None}
    write_json(run_path / "config.json", config)
    texts = _read(write_report(run_path)).texts
    assert {"search / max_macs", "1234567", "[3, 5]", "null"} <= set(texts)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda record: record,
        lambda record: [record],
        lambda record: {"results": [record], "device": "phone"},
        lambda record: {"a.tflite": record},
    ],
)
def test_benchmark_may_be_one_result_or_several(run_path: Path, wrap: Any) -> None:
    record = {"model": "dir/a.tflite", "median_ms": 2.0, "device": {"cpu": "c"}}
    write_json(run_path / "benchmark.json", wrap(record))
    texts = _read(write_report(run_path)).texts
    assert texts.count("2.000 ms") == 2
    assert texts.count("dir/a.tflite") == 0


def test_benchmark_of_something_else_is_refused(run_path: Path) -> None:
    write_json(run_path / "benchmark.json", [1.5])
    with pytest.raises(ValueError, match="benchmark.json must hold JSON objects"):
        write_report(run_path)


def test_failed_report_leaves_the_old_one(run_path: Path) -> None:
    before = write_report(run_path).read_bytes()
    (run_path / "search.json").write_text("{")
    with pytest.raises(ValueError, match="search.json must be JSON"):
        write_report(run_path)
    assert (run_path / "report.html").read_bytes() == before
