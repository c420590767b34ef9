"""Operator times out of the runner's tables."""

from __future__ import annotations

import pytest

from export.benchmark.operator_profile import format_top_operators, read_profile
from export.benchmark.result import OperatorTime
from tests.export.benchmark.fake_runner import CSV_PROFILE

OPERATORS = (
    OperatorTime("[a, b]:2", "TfLiteXNNPackDelegate", 0.75, 1, False),
    OperatorTime(
        "Delegate/Convolution:0", "Convolution (NHWC, QS8) IGEMM", 0.25, 1, True
    ),
    OperatorTime("Delegate/Fully Connected:1", "Fully Connected", 0.5, 1, True),
)
# As printed, with the column that older runners have.
TEXT_PROFILE = """INFO: Operator-wise Profiling Info for Regular Benchmark Runs:
============================== Run Order ==============================
\t             [node type]\t          [start]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
\t                 CONV_2D\t            0.000\t    4.269\t    4.269\t  0.107%\t  0.107%\t     0.000\t        0\t[a/b, c;d/e]:0
\t                     ADD\t            4.270\t    2.150\t    2.150\t  0.054%\t  0.161%\t     0.000\t        2\t[f]:1

============================== Top by Computation Time ==============================
\t             [node type]\t          [start]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
\t                 CONV_2D\t            0.000\t    4.269\t    4.269\t  0.107%\t  0.107%\t     0.000\t        0\t[a/b, c;d/e]:0

Number of nodes executed: 2
Timings (microseconds): count=50 first=1 curr=1 min=1 max=1 avg=4e+06 std=2
Memory (bytes): count=0
2 nodes observed
"""  # noqa: E501


def test_csv_has_the_operators_of_the_runs_alone() -> None:
    assert read_profile(CSV_PROFILE) == OPERATORS


def test_csv_may_have_another_column() -> None:
    old = CSV_PROFILE.replace("node type, first", "node type, start, first")
    for kind in ("TfLiteXNNPackDelegate", "IGEMM", "\nFully Connected"):
        old = old.replace(f"{kind}, ", f"{kind}, 0.001, ")
    assert read_profile(old) == OPERATORS


def test_printed_tables_are_read_by_their_headings() -> None:
    assert read_profile(TEXT_PROFILE) == (
        OperatorTime("[a/b, c;d/e]:0", "CONV_2D", 4.269, 0, False),
        OperatorTime("[f]:1", "ADD", 2.15, 2, False),
    )


def test_tables_without_a_heading_are_of_the_runs() -> None:
    _, _, tables = TEXT_PROFILE.partition("\n")
    assert len(read_profile(f"INFO: \n{tables}")) == 2


def test_subgraphs_follow_each_other() -> None:
    _, _, tables = TEXT_PROFILE.partition("\n")
    assert len(read_profile(TEXT_PROFILE + tables)) == 4


@pytest.mark.parametrize(
    "text", ["", "INFO: STARTING!\n", CSV_PROFILE.partition("Operator-wise")[0]]
)
def test_text_without_a_profile_of_the_runs_has_no_operator(text: str) -> None:
    assert read_profile(text) == ()


@pytest.mark.parametrize(
    "last",
    [
        "node type, fir",
        "[a, b",
        "executed: 1",
        "IGEMM, 0.3",
        "Fully Connected:1",
        "2 nodes",
    ],
)
def test_profile_that_is_cut_off_is_refused(last: str) -> None:
    end = CSV_PROFILE.rindex(last) + len(last)
    with pytest.raises(ValueError, match="profile"):
        read_profile(CSV_PROFILE[:end])


def test_unknown_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="must have the columns .*times called"):
        read_profile(CSV_PROFILE.replace("times called", "calls"))


def test_slowest_operators_are_those_inside_the_delegate() -> None:
    first, second = format_top_operators(OPERATORS, 5).splitlines()
    assert first.split()[:5] == ["0.500", "ms", "66.7%", "Fully", "Connected"]
    assert second.split()[:3] == ["0.250", "ms", "33.3%"]
    assert format_top_operators(OPERATORS, 1) == first


def test_delegate_whose_operators_are_unknown_is_listed() -> None:
    assert "TfLiteXNNPackDelegate" in format_top_operators(OPERATORS[:1], 5)
    assert format_top_operators((), 5) == "  the runner told none"
