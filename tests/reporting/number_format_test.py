from __future__ import annotations

import pytest

from mobilenas_tf.reporting.number_format import format_heading, format_value
from mobilenas_tf.reporting.terminal import format_table


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("macs", 300_774_272, "300.8 M"),
        ("macs", 1_234_567, "1.235 M"),
        ("macs", 0, "0 M"),
        ("params", 3_504_872, "3,505 k"),
        ("params", 940, "0.940 k"),
        ("float_accuracy", 0.97222, "97.22 %"),
        ("accuracy", 1, "100.00 %"),
        ("top1_agreement", 0.5, "50.00 %"),
        ("file_bytes", 123_400, "123.4 kB"),
        ("median_ms", 0.3124, "0.312 ms"),
        ("signal_to_noise_db", 24.31, "24.3 dB"),
        ("accuracy_drop_points", -0.125, "-0.12 points"),
        ("num_runs", 1500, "1,500"),
        ("learning_rate", 0.00012345, "0.0001234"),
        ("macs", None, "–"),
        ("loss", float("nan"), "–"),
        ("has_bias", True, "yes"),
        ("name", "a <b>", "a <b>"),
        ("repeat_medians_ms", [1.0, 2.0], "1.000 ms, 2.000 ms"),
    ],
)
def test_unit_and_decimals_follow_from_the_name(
    name: str, value: object, text: str
) -> None:
    assert format_value(name, value) == text


@pytest.mark.parametrize(
    ("name", "heading"),
    [
        ("macs", "MACs"),
        ("params", "parameters"),
        ("float_accuracy", "float accuracy"),
        ("file_bytes", "file size"),
        ("p90_ms", "p90"),
        ("num_images", "images"),
        ("ms", "ms"),
    ],
)
def test_heading_leaves_out_what_the_values_carry(name: str, heading: str) -> None:
    assert format_heading(name) == heading


def test_terminal_table_is_aligned_with_numbers_to_the_right() -> None:
    rows = [
        {"name": "figs", "macs": 1_500_000, "int8_accuracy": 0.98},
        {"name": "uniform", "macs": 12_500_000, "int8_accuracy": None},
    ]
    assert format_table(("name", "macs", "int8_accuracy"), rows).split("\n") == [
        "name        MACs  int8 accuracy",
        "───────  ───────  ─────────────",
        "figs     1.500 M        98.00 %",
        "uniform  12.50 M              –",
    ]


def test_terminal_table_without_rows_has_its_headings() -> None:
    assert format_table(("name", "macs"), []) == "name  MACs\n────  ────"
