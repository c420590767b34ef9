from __future__ import annotations

import base64
import html.parser
import re
from pathlib import Path
from typing import Any

import pytest

from mobilenas_tf.json_io import write_json
from mobilenas_tf.reporting.detection import detection_section
from mobilenas_tf.reporting.headline import headline_cards
from mobilenas_tf.reporting.page import write_report
from mobilenas_tf.reporting.run_data import read_run

_PNG = b"\x89PNG\r\n\x1a\n..."
_NASTY = "<b>cat</b>"


class _Section(html.parser.HTMLParser):
    """Collects the table's rows, the figures' titles and legends, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.texts: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self.tags[-1] in ("th", "td"):
            self.rows[-1][-1] += data


def _class(name: str, ap: float | None, **numbers: Any) -> dict[str, Any]:
    return {"class": name, "num_objects": 5, "ap": ap, **numbers}


def evaluation_document(**changes: Any) -> dict[str, Any]:
    curve = {"iou50": [1.0, 0.5, 0.0], "mean": [0.5, 0.25, 0.0]}
    return {
        "backend": "pycocotools",
        "num_images": 1200,
        "num_detections": 34567,
        "metrics": {
            "ap": 0.25,
            "ap50": 0.5,
            "ap75": 0.2,
            "ap_small": 0.1,
            "ap_medium": 0.3,
            "ap_large": None,
            "ar1": 0.15,
            "ar10": 0.35,
            "ar100": 0.4,
            "ar_small": 0.12,
            "ar_medium": 0.45,
            "ar_large": None,
        },
        "threshold": {"score": 0.3125, "f1": 0.6, "precision": 0.75, "recall": 0.5},
        "classes": [
            _class(_NASTY, 0.2, ap50=0.5, ap75=0.125, ap_small=0.1),
            _class("never", None),
            _class("dog", 0.3, ap50=0.5, ap75=0.25, ap_small=None),
        ],
        "recalls": [0.0, 0.5, 1.0],
        "curves": {"all": curve, "by_class": {_NASTY: curve, "dog": curve}},
        **changes,
    }


def test_the_twelve_numbers_stand_in_one_table() -> None:
    rows = _Section(detection_section(evaluation_document())).rows
    assert rows[:9] == [
        ["measured at", "AP", "AR"],
        ["IoU 0.50 to 0.95", "0.250", "0.400"],
        ["IoU 0.50", "0.500", ""],
        ["IoU 0.75", "0.200", ""],
        ["small: below 32 × 32 px", "0.100", "0.120"],
        ["medium", "0.300", "0.450"],
        ["large: above 96 × 96 px", "–", "–"],
        ["10 detections of a class in an image", "", "0.350"],
        ["1 detection of a class in an image", "", "0.150"],
    ]


def test_classes_are_sorted_and_sizes_that_none_has_left_out() -> None:
    rows = _Section(detection_section(evaluation_document())).rows
    assert rows[9:] == [
        ["class", "objects", "AP", "AP50", "AP75", "AP small"],
        ["dog", "5", "0.300", "0.500", "0.250", "–"],
        [_NASTY, "5", "0.200", "0.500", "0.125", "0.100"],
        ["never", "5", "–", "–", "–", "–"],
    ]


def test_counts_and_threshold_are_told() -> None:
    texts = _Section(detection_section(evaluation_document())).texts
    assert (
        "34,567 detections against 15 objects in 1,200 images, counted by pycocotools."
    ) in texts
    (sentence,) = (text for text in texts if text.startswith("Suggested"))
    assert sentence == (
        "Suggested score threshold: 0.312. It has the best F1 of all (0.600 at IoU "
        "0.50, all classes together), with precision 0.750 and recall 0.500."
    )
    without = detection_section(evaluation_document(threshold=None))
    assert "Suggested" not in without


def test_curves_have_their_average_precision_in_the_legend() -> None:
    texts = _Section(detection_section(evaluation_document())).texts
    # (1 + 0.5 + 0) / 3 and half of it.
    assert {"IoU 0.50 AP 0.500", "mean of IoU 0.50 to 0.95 AP 0.250"} <= set(texts)
    assert {f"{_NASTY} AP 0.500", "dog AP 0.500"} <= set(texts)
    assert "recall" in texts


def _with_classes(count: int) -> dict[str, Any]:
    curve = {"iou50": [1.0, 0.5, 0.0], "mean": [0.5, 0.25, 0.0]}
    names = [f"class {index}" for index in range(count)]
    classes = [
        {**_class(name, 0.5), "num_objects": index} for index, name in enumerate(names)
    ]
    curves = {"all": curve, "by_class": dict.fromkeys(names, curve)}
    return evaluation_document(classes=classes, curves=curves)


def test_many_classes_show_the_curves_of_the_most_frequent() -> None:
    few = detection_section(_with_classes(12))
    assert len(re.findall("class [0-9]+ AP", few)) == 12
    many = _Section(detection_section(_with_classes(13)))
    shown = [text for text in many.texts if re.fullmatch("class [0-9]+ AP .*", text)]
    assert shown == [f"class {index} AP 0.500" for index in range(12, 6, -1)]
    assert any(text.endswith("the 6 most frequent classes") for text in many.texts)


def test_more_than_20_classes_are_folded() -> None:
    assert "details" not in _Section(detection_section(_with_classes(20))).tags
    folded = _Section(detection_section(_with_classes(21)))
    assert "details" in folded.tags and "The 21 classes" in folded.texts


def test_one_class_has_one_chart() -> None:
    assert _Section(detection_section(_with_classes(1))).tags.count("figure") == 1
    assert _Section(detection_section(_with_classes(2))).tags.count("figure") == 2


def test_nothing_to_find_shows_the_table_without_charts() -> None:
    document = evaluation_document(
        metrics=dict.fromkeys(evaluation_document()["metrics"]),
        threshold=None,
        classes=[{**_class("cat", None), "num_objects": 0}],
        curves={"all": None, "by_class": {}},
    )
    section = _Section(detection_section(document))
    assert "figure" not in section.tags
    assert section.rows[1] == ["IoU 0.50 to 0.95", "–", "–"]


@pytest.mark.parametrize(
    ("picture", "media_type"),
    [(_PNG, "image/png"), (b"\xff\xd8\xff\xe0...", "image/jpeg")],
)
def test_contact_sheet_is_inside_the_page(picture: bytes, media_type: str) -> None:
    section = detection_section(evaluation_document(), picture)
    (source,) = re.findall('<img src="([^"]*)"', section)
    head, _, encoded = source.partition(",")
    assert head == f"data:{media_type};base64"
    assert base64.b64decode(encoded) == picture


def test_names_never_become_markup() -> None:
    assert "<b>cat</b>" not in detection_section(evaluation_document())


def test_sheet_that_is_no_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="contact_sheet must be a JPEG or PNG file"):
        detection_section(evaluation_document(), b"GIF89a")


def test_report_of_an_evaluation_alone(tmp_path: Path) -> None:
    write_json(tmp_path / "detection_evaluation.json", evaluation_document())
    (tmp_path / "contact_sheet.png").write_bytes(_PNG)
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert re.findall("<h2>(.*?)</h2>", text) == ["Detection"]
    assert base64.b64encode(_PNG).decode() in text
    (card,) = headline_cards(read_run(tmp_path))
    assert (card.label, card.figure, card.note) == ("box AP", "0.250", "AP50 0.500")


def test_report_without_an_evaluation_has_no_such_section(run_path: Path) -> None:
    (run_path / "contact_sheet.jpg").write_bytes(b"\xff\xd8\xff")
    assert "Detection</h2>" not in write_report(run_path).read_text(encoding="utf-8")
