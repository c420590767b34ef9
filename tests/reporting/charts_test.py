from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from mobilenas_tf.reporting.axes import (
    Scale,
    format_tick,
    nice_step,
    rounded_range,
    ticks_between,
)
from mobilenas_tf.reporting.charts import Series, line_chart, thin_points


def test_scale_maps_linearly_and_may_point_down() -> None:
    assert Scale(0, 10, 100, 200).position(2.5) == 125
    assert Scale(0, 10, 200, 100).position(2.5) == 175


@pytest.mark.parametrize(
    ("span", "count", "step"), [(10, 5, 2), (11, 5, 5), (0.3, 3, 0.1), (700, 7, 100)]
)
def test_step_is_the_smallest_of_1_2_5(span: float, count: int, step: float) -> None:
    assert nice_step(span, count) == pytest.approx(step)


def test_ticks_are_multiples_of_the_step_within_the_range() -> None:
    assert ticks_between(3, 10, 2) == (4, 6, 8, 10)
    assert ticks_between(0, 0.3, 0.1) == pytest.approx((0, 0.1, 0.2, 0.3))


@pytest.mark.parametrize(
    ("values", "includes_zero", "expected"),
    [
        ([0.93, 0.98], False, (0.93, 0.98, 0.01)),
        ([3.0, 9.0], True, (0, 10, 2)),
        ([5.0], False, (4.4, 5.6, 0.2)),
        ([0.0], True, (0, 1, 0.2)),
        ([-3.0, 4.0], False, (-4, 4, 2)),
    ],
)
def test_range_has_whole_steps_around_all_values(
    values: list[float], includes_zero: bool, expected: tuple[float, float, float]
) -> None:
    result = rounded_range(values, includes_zero=includes_zero)
    assert result == pytest.approx(expected)


@pytest.mark.parametrize(
    ("quantity", "value", "step", "label"),
    [
        ("macs", 2_000_000, 500_000, "2.0 M"),
        ("macs", 2_000_000, 1_000_000, "2 M"),
        ("accuracy", 0.975, 0.005, "97.5 %"),
        ("", 12_000, 2_000, "12,000"),
        ("loss", 0.0, 0.5, "0.0"),
        ("penalty_strength", 3e-7, 1e-7, "3e-07"),
    ],
)
def test_tick_label_has_the_decimals_of_its_step(
    quantity: str, value: float, step: float, label: str
) -> None:
    assert format_tick(quantity, value, step) == label


def test_few_points_are_kept_and_many_are_averaged() -> None:
    assert thin_points([(0, 1), (1, 5)], limit=2) == ((0, 1), (1, 5))
    # Five points before the last one, at most two of them: means of 3 and of 2.
    points = [(0, 0), (1, 3), (2, 6), (3, 1), (4, 2), (5, 9)]
    assert thin_points(points, limit=3) == ((1, 3), (3.5, 1.5), (5, 9))


def test_thinning_ten_thousand_points_keeps_the_limit() -> None:
    assert len(thin_points([(step, 0.0) for step in range(10_000)])) <= 160


def test_line_runs_through_the_computed_places() -> None:
    series = Series("net", ((0, 0.0), (5, 0.5), (10, 1.0)), "c1")
    chart = ET.fromstring(
        line_chart("Title", [series], quantity="loss", includes_zero=True)
    )
    line = chart.find(".//polyline")
    # The plot of a 520 x 240 chart spans x 60..498 and y 208 (0) .. 10 (1).
    assert line is not None
    assert line.get("points") == "60.0,208.0 279.0,109.0 498.0,10.0"


def test_stepped_line_falls_where_the_value_before_it_ends() -> None:
    series = Series("net", ((5, 1.0), (10, 0.5)), "c1", is_stepped=True)
    chart = ET.fromstring(
        line_chart("Title", [series], quantity="loss", includes_zero=True)
    )
    line = chart.find(".//polyline")
    # 1.0 (y 10) from step 0 (x 60) to 5 (x 279), then 0.5 (y 109) to 10 (x 498).
    assert line is not None
    expected = "60.0,10.0 279.0,10.0 279.0,109.0 498.0,109.0"
    assert line.get("points") == expected


def test_limit_line_lies_at_its_value_and_in_the_legend() -> None:
    series = Series("net", ((0, 0), (10, 4_000_000)), "c1")
    chart = ET.fromstring(
        line_chart(
            "Cost",
            [series],
            quantity="macs",
            limit=("budget", 1_000_000),
            includes_zero=True,
        )
    )
    line = chart.find(".//line[@class='limit']")
    assert line is not None
    assert float(line.get("y1", "")) == 208 - (208 - 10) / 4
    assert "budget 1.000 M" in "".join(chart.itertext())


def test_legend_has_the_last_value_and_the_tooltip_all_of_a_step() -> None:
    lines = [
        Series("a", ((0, 0.5), (4, 0.25)), "c1"),
        Series("b", ((4, 0.75),), "c2", is_dashed=True),
    ]
    chart = ET.fromstring(line_chart("Accuracy", lines, quantity="accuracy"))
    keys = ["".join(key.itertext()) for key in chart.iter("span")]
    assert keys == ["a 25.00 %", "b 75.00 %"]
    tips = [tip.text for tip in chart.iter("title")]
    assert tips == ["step 0\na 50.00 %\nb –", "step 4\na 25.00 %\nb 75.00 %"]


def test_chart_over_something_else_names_it_and_notes_stand_in_the_legend() -> None:
    line = Series("cat", ((0.0, 1.0), (0.5, 0.25)), "c1", note="AP 0.625")
    text = line_chart("Curve", [line], quantity="precision", over="recall")
    chart = ET.fromstring(text)
    assert ["".join(key.itertext()) for key in chart.iter("span")] == ["cat AP 0.625"]
    tips = [tip.text for tip in chart.iter("title")]
    assert tips == ["recall 0.000\ncat 1.000", "recall 0.500\ncat 0.250"]
    assert "recall" in [label.text for label in chart.iter("text")]


def test_chart_without_points_is_left_out() -> None:
    assert line_chart("Loss", [Series("a", (), "c1")], quantity="loss") == ""


def test_single_point_at_step_zero_is_drawn() -> None:
    text = line_chart("Loss", [Series("a", ((0, 0.0),), "c1")], quantity="loss")
    assert "nan" not in text
    assert ET.fromstring(text).find(".//circle") is not None
