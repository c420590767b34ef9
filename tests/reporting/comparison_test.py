"""Tests of the scatter, the latency bars and the confusion matrix."""

from __future__ import annotations

import itertools
import math
import xml.etree.ElementTree as ET

import pytest

from mobilenas_tf.reporting.comparison_charts import (
    ScatterNetwork,
    accuracy_scatter,
    draw_scatter,
    latency_chart,
)
from mobilenas_tf.reporting.confusion import (
    confused_pairs,
    confusion_section,
    draw_confusion,
)


def test_scatter_places_points_by_macs_and_accuracy() -> None:
    rows = [
        {"name": "a", "macs": 5e6, "float_accuracy": 0.96, "int8_accuracy": 0.95},
        {"name": "b", "macs": 10e6, "float_accuracy": 1.0},
        {"name": "no accuracy", "macs": 1e6},
    ]
    chart = ET.fromstring(accuracy_scatter(rows))
    places = [
        (float(point.get("cx", "")), float(point.get("cy", "")))
        for point in chart.iter("circle")
    ]
    # 0..10 M lie at x 60..1050, 95..100 % at y 240..14.
    assert places == [(555, 240 - 226 / 5), (555, 240), (1050, 14)]
    assert {"a", "b"} <= {text.text for text in chart.iter("text")}


def test_scatter_needs_two_networks() -> None:
    assert accuracy_scatter([{"name": "a", "macs": 1, "float_accuracy": 0.5}]) == ""


def test_labels_of_equal_networks_do_not_cover_each_other() -> None:
    rows = [
        {"name": f"network {index}", "macs": 1e6, "float_accuracy": 0.9}
        for index in range(4)
    ]
    chart = ET.fromstring(accuracy_scatter(rows))
    labels = [text for text in chart.iter("text") if text.get("class") == "label"]
    places = {(text.get("x"), text.get("y")) for text in labels}
    assert len(places) == 4


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_accuracy_axis_stays_between_0_and_100_percent(accuracy: float) -> None:
    networks = [ScatterNetwork("a", 1e6, {"": accuracy})] * 2
    chart = ET.fromstring(draw_scatter("T", networks, metric="macs", legend=""))
    ticks = {str(text.text) for text in chart.iter("text")}
    ticks = {tick for tick in ticks if tick.endswith(" %")}
    assert f"{100 * accuracy:.0f} %" in ticks
    assert all(0 <= float(tick.removesuffix(" %")) <= 100 for tick in ticks)


def test_scatter_of_parameters_has_their_name_and_unit() -> None:
    networks = [ScatterNetwork("a", 200e3, {"": 0.5})]
    chart = ET.fromstring(draw_scatter("T", networks, metric="params", legend=""))
    assert {"parameters", "200 k"} <= {text.text for text in chart.iter("text")}
    assert [tip.text for tip in chart.iter("title")] == ["a: 50.00 %, 200.0 k"]


def test_labels_keep_off_the_line_that_joins_their_points() -> None:
    points = [(2e6, 0.5), (6e6, 0.52), (10e6, 0.6)]
    networks = [ScatterNetwork("a network", x, {"": y}) for x, y in points]
    chart = ET.fromstring(
        draw_scatter("T", networks, metric="macs", legend="", line=points)
    )
    # 0..10 M lie at x 60..1050, 50..60 % at y 240..14.
    joints = [(258, 240), (654, 240 - 226 / 5), (1050, 14)]
    places = [
        (float(text.get("x", "")), float(text.get("y", "")) - 4)
        for text in chart.iter("text")
        if text.get("class") == "label"
    ]
    assert len(places) == 3
    for left, middle in places:
        for x in (left, left + 63):  # nine letters
            for (x1, y1), (x2, y2) in itertools.pairwise(joints):
                if x1 <= x <= x2:
                    assert abs(y1 + (y2 - y1) * (x - x1) / (x2 - x1) - middle) > 6


def test_latency_bar_is_as_long_as_the_median() -> None:
    results = [
        {
            "model": "a.tflite",
            "median_ms": 3.0,
            "p90_ms": 4.0,
            "p95_ms": 6.0,
            "repeat_medians_ms": [2.5, 3.5],
        },
        {"model": "untimed"},
    ]
    chart = ET.fromstring(latency_chart(results))
    (bar,) = [rect for rect in chart.iter("rect")]
    # 0..6 ms lie at x 200..930.
    assert float(bar.get("width", "")) == 730 / 2
    dots = [float(dot.get("cx", "")) for dot in chart.iter("circle")]
    assert dots == pytest.approx([200 + 730 * 2.5 / 6, 200 + 730 * 3.5 / 6], abs=0.01)
    assert "3.000 ms" in {text.text for text in chart.iter("text")}


def test_latency_chart_without_times_is_left_out() -> None:
    assert latency_chart([{"model": "a"}]) == ""


def test_confusion_colours_by_the_share_of_the_true_class() -> None:
    drawing = ET.fromstring(
        draw_confusion(["cat", "dog"], [[3, 1], [0, 4]], title="Test")
    )
    opacities = {
        (rect.get("class"), float(rect.get("fill-opacity", "")))
        for rect in drawing.iter("rect")
        if rect.get("fill-opacity")
    }
    assert opacities == {
        ("right", 3 / 4),
        ("wrong", math.sqrt(1 / 4)),
        ("wrong", 0.0),
        ("right", 1.0),
    }
    texts = [text.text for text in drawing.iter("text")]
    assert {"3", "1", "4", "75.0 %", "100.0 %"} <= set(texts)
    assert "0" not in texts
    tips = {tip.text for tip in drawing.iter("title")}
    assert "cat taken for dog: 1" in tips


def test_class_without_images_has_no_accuracy() -> None:
    drawing = draw_confusion(["cat", "dog"], [[0, 0], [0, 4]], title="Test")
    assert "–" in {text.text for text in ET.fromstring(drawing).iter("text")}


def test_most_confused_pairs_come_first() -> None:
    counts = [[8, 2, 0], [1, 9, 0], [0, 5, 5]]
    assert confused_pairs(["a", "b", "c"], counts, limit=2) == [
        {"true class": "c", "taken for": "b", "images": 5, "share": 0.5},
        {"true class": "a", "taken for": "b", "images": 2, "share": 0.2},
    ]


def test_many_classes_become_a_table() -> None:
    names = [f"class {index}" for index in range(21)]
    counts = [[5 * (i == j) for j in range(21)] for i in range(21)]
    counts[3][7] = 2
    section = confusion_section({"class_names": names, "counts": counts})
    assert "<svg" not in section
    assert "class 3" in section
    assert "28.57 %" in section  # 2 of 7
