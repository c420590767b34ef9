from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest

from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.reporting.network_drawing import draw_bar, draw_network
from mobilenas_tf.reporting.network_rows import Bar, Row, network_rows
from mobilenas_tf.reporting.sections import kept_sentence
from mobilenas_tf.spaces import named_space
from mobilenas_tf.spec import (
    Architecture,
    BitWidths,
    Branch,
    Convolution,
    Head,
    InvertedResidual,
    Pooling,
    Stage,
)
from mobilenas_tf.widths import resize
from tests.small_detectors import SSDLITE, small_detector


def _draw(rows: tuple[Row, ...], **options: Any) -> ET.Element:
    options = {"title": "net", "probabilities": {}, **options}
    return ET.fromstring(draw_network(rows, **options))


def _texts(drawing: ET.Element) -> list[str]:
    return [text.text or "" for text in drawing.iter("text")]


def _with_class(drawing: ET.Element, tag: str, *classes: str) -> list[ET.Element]:
    return [
        found
        for found in drawing.iter(tag)
        if set(classes) <= set(found.get("class", "").split())
    ]


def test_rows_hold_kept_and_possible_channels(
    supernet: Architecture, widths: dict[str, int]
) -> None:
    rows = network_rows(supernet, widths)
    kept = {
        row.path: [(bar.label, bar.kept, bar.possible) for bar in row.bars]
        for row in rows
    }
    assert kept == {
        "stem": [],
        "stage1/block0": [("3×3", 10, 40), ("5×5", 80, 80)],
        "stage1/block1": [("3×3", 0, 40), ("5×5", 0, 80)],
        "stage1/block2": [("3×3", 0, 40), ("5×5", 20, 80), ("SE", 5, 20)],
        "head": [("1×1", 24, 32)],
    }
    assert [row.is_skipped for row in rows] == [False, False, True, False, False]
    assert [row.has_residual for row in rows] == [False, False, True, True, False]
    assert [row.stride for row in rows] == [2, 2, 1, 1, 1]
    assert [row.out_size_px for row in rows] == [8, 4, 4, 4, 1]


def test_rows_of_a_residual_chain_share_one_output(
    supernet: Architecture, widths: dict[str, int]
) -> None:
    outputs = [row.output for row in network_rows(supernet, widths)]
    chain = Bar("stage1/block0/output", "output", "output", 8, 16)
    assert outputs[1:4] == [chain] * 3
    assert outputs[0] == Bar("stem/output", "output", "output", 8, 8)


def test_macs_of_the_rows_add_up_to_the_found_network(
    supernet: Architecture, widths: dict[str, int]
) -> None:
    rows = network_rows(supernet, widths)
    assert sum(row.macs for row in rows) == network_cost(resize(supernet, widths)).macs
    assert rows[2].macs == 0


def test_bar_is_filled_by_the_fraction_that_was_kept() -> None:
    bar = Bar("stage1/block0/kernel5", "5×5", "kernel5", 30, 120)
    drawing = ET.fromstring(
        draw_bar(bar, (100, 50, 10), 2.5, is_whole=False, title="t")
    )
    frame, filled = drawing.findall("rect")
    assert (frame.get("x"), frame.get("width")) == ("100", "300")
    assert (filled.get("x"), filled.get("width")) == ("100", "75")
    assert _texts(drawing) == ["30 / 120"]


def test_vanished_kernel_is_a_ghost_without_filling() -> None:
    bar = Bar("stage1/block0/kernel5", "5×5", "kernel5", 0, 120)
    drawing = ET.fromstring(
        draw_bar(bar, (100, 50, 10), 2.5, is_whole=False, title="t")
    )
    (frame,) = drawing.findall("rect")
    assert "ghost" in frame.get("class", "")


def test_drawing_fills_what_was_kept_and_marks_what_was_not(
    supernet: Architecture, widths: dict[str, int]
) -> None:
    drawing = _draw(network_rows(supernet, widths))
    frame = _with_class(drawing, "rect", "possible", "kernel3")[0]
    filled = _with_class(drawing, "rect", "kept", "kernel3")[0]
    ratio = float(filled.get("width", "")) / float(frame.get("width", ""))
    assert ratio == pytest.approx(10 / 40)
    texts = _texts(drawing)
    assert "10 / 40" in texts
    assert "0 / 40" in texts
    assert sum(text.startswith("skipped") for text in texts) == 1
    assert len(_with_class(drawing, "path", "arc")) == 2
    assert texts.count("/2") == 2
    assert {"stem", "stage 1", "head", "8 × 8 px", "4 × 4 px"} <= set(texts)
    labels = {"".join(key.itertext()) for key in drawing.iter("span")}
    assert {"3×3 kernel", "5×5 kernel", "squeeze-excite", "vanished"} <= labels


def test_tooltip_has_the_gates_probability(
    supernet: Architecture, widths: dict[str, int]
) -> None:
    probabilities = {"head/conv": {"mean": 0.75, "undecided": 0.125}}
    rows = network_rows(supernet, widths)
    drawing = _draw(rows, probabilities=probabilities)
    tips = [tip.text for tip in drawing.iter("title")]
    assert (
        "head/conv: 24 of 32 channels kept\n"
        "mean gate probability 0.750\nundecided gates 12.5 %"
    ) in tips


def test_whole_network_shows_one_count_for_each_bar(supernet: Architecture) -> None:
    drawing = _draw(network_rows(supernet, {}))
    texts = _texts(drawing)
    assert not any(" / " in text for text in texts)
    assert {"40", "80", "20", "32", "10 classes"} <= set(texts)
    assert not _with_class(drawing, "rect", "ghost")


def test_other_blocks_are_described_in_words() -> None:
    blocks = (
        Convolution(12, 1, 1, "hard_swish"),
        Pooling("max", 3, 2),
        InvertedResidual(12, (Branch(3, 12),), has_expansion=False),
    )
    network = Architecture(
        "plain", 8, Convolution(4), (Stage(blocks), Stage()), Head(3)
    )
    rows = network_rows(network, {})
    texts = _texts(_draw(rows))
    assert {"convolution 1×1, hard-swish", "max pooling 3×3", "3 classes"} <= set(texts)
    assert "no expansion" in rows[3].description
    assert rows[2].output == rows[1].output


def test_network_without_any_block_can_be_drawn() -> None:
    network = Architecture("tiny", 8, Convolution(4), (), Head(3))
    assert "3 classes" in _texts(_draw(network_rows(network, {})))


@pytest.mark.parametrize(
    "name", ["figs_mobilenet_v2", "figs_mobilenet_v3_96", "figs_quantized_16"]
)
def test_nothing_leaves_the_drawing_or_covers_its_neighbour(name: str) -> None:
    space = named_space(name)
    drawing = _draw(network_rows(space.supernet, space.smallest()))
    picture = drawing.find(".//svg")
    assert picture is not None
    width, height = map(float, picture.get("viewBox", "").split()[2:])
    for rect in drawing.iter("rect"):
        assert float(rect.get("x", "")) + float(rect.get("width", "")) <= width
        assert float(rect.get("y", "")) + float(rect.get("height", "")) <= height
    counts = _with_class(drawing, "text", "count")
    by_column = [
        sorted(float(text.get("y", "")) for text in counts if _column(text) == column)
        for column in ("bars", "outputs", "costs")
    ]
    for column in by_column:
        gaps = [b - a for a, b in zip(column, column[1:], strict=False)]
        assert min(gaps) >= 12
    for text in counts:
        if _column(text) == "bars":
            letters_px = 8 * len(text.text or "")
            assert float(text.get("x", "")) + letters_px <= 768


def _column(text: ET.Element) -> str:
    if "end" in text.get("class", "").split():
        return "costs"
    return "bars" if float(text.get("x", "")) < 768 else "outputs"


def test_sentence_counts_blocks_and_kernel_channels(
    supernet: Architecture, widths: dict[str, int]
) -> None:
    # Kept: 10 of 3x3 and 80 + 20 of 5x5, out of 3 * (40 + 80).
    assert kept_sentence(network_rows(supernet, widths)) == (
        "2 of 3 blocks and 110 of 360 kernel channels are left: 9 % 3×3, 91 % 5×5."
    )


def test_widths_of_another_supernet_are_refused(supernet: Architecture) -> None:
    with pytest.raises(ValueError, match="widths must name width groups of small"):
        network_rows(supernet, {"stage9/block0/output": 8})


def test_a_detectors_head_has_a_row_for_each_of_its_parts():
    detector = small_detector(SSDLITE)
    rows = network_rows(detector, {"head/extra0/squeeze": 3, "head/conv": 10})
    head = {row.path: row for row in rows if row.path.startswith("head")}
    assert list(head) == [
        *("head/conv", "head/extra0"),
        *("head/level0", "head/level1", "head/level2"),
    ]
    bars = {
        bar.path: (bar.label, bar.kept, bar.possible)
        for row in head.values()
        for bar in row.bars
    }
    assert bars == {
        "head/conv": ("1×1", 10, 16),
        "head/extra0/squeeze": ("squeeze", 3, 8),
        "head/extra0/output": ("output", 12, 12),
    }
    assert head["head/level1"].note == "scores and boxes of 3 anchors a cell"
    assert head["head/level1"].out_size_px == 2


def test_bit_widths_stand_below_the_name_and_in_the_tooltip() -> None:
    block = InvertedResidual(8, (Branch(3, 16),), bit_widths=BitWidths(4, 8))
    stages = (Stage((block, InvertedResidual(8, (Branch(3, 16),)))),)
    network = Architecture("bits", 16, Convolution(8, 3, 2), stages, Head(3))
    rows = network_rows(network, {})
    assert [row.bit_widths for row in rows] == ["", "w4a8", "", ""]
    assert rows[1].description.endswith("4-bit weights, 8-bit activations")
    assert _texts(_draw(rows)).count("w4a8") == 1
