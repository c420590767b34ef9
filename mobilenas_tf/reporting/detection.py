"""How good a detector is: COCO's numbers, precision over recall, pictures."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from mobilenas_tf.reporting.charts import Series, line_chart
from mobilenas_tf.reporting.documents import ClassFigures, Detection
from mobilenas_tf.reporting.markup import element, escape, figure
from mobilenas_tf.reporting.number_format import format_value, is_number
from mobilenas_tf.reporting.tables import data_table

MAX_CURVES = 12  # six colours, whole and dashed
MAX_OPEN_CLASSES = 20
_NUMBERS = (
    ("IoU 0.50 to 0.95", "ap", "ar100"),
    ("IoU 0.50", "ap50", None),
    ("IoU 0.75", "ap75", None),
    ("small: below 32 × 32 px", "ap_small", "ar_small"),
    ("medium", "ap_medium", "ar_medium"),
    ("large: above 96 × 96 px", "ap_large", "ar_large"),
    ("10 detections of a class in an image", None, "ar10"),
    ("1 detection of a class in an image", None, "ar1"),
)
_MEDIA_TYPES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png"}


def detection_section(document: Detection, contact_sheet: bytes | None = None) -> str:
    """Returns COCO's numbers, curves, the classes' numbers, and the contact sheet.

    Args:
        document: `detection_evaluation.json`.
        contact_sheet: A JPEG or PNG, shown in the page.

    Raises:
        ValueError: If the sheet is no picture.
    """
    curves = document["curves"].get("all")
    charts = element(
        "div", {"class": "grid large"}, _mean_chart(document), _class_chart(document)
    )
    return (
        "".join(element("p", None, escape(text)) for text in _sentences(document))
        + element("div", {"class": "panel"}, _number_table(document["metrics"]))
        + (charts if curves else "")
        + _class_table(document["classes"])
        + _draw_sheet(contact_sheet)
    )


def _sentences(document: Detection) -> list[str]:
    """Returns what was counted, and which threshold is suggested."""
    sentences = []
    if (num_detections := document.get("num_detections")) is not None:
        num_objects = sum(row["num_objects"] for row in document["classes"])
        sentences.append(
            f"{num_detections:,} detections against {num_objects:,} "
            f"objects in {document.get('num_images', 0):,} images, counted by "
            f"{document.get('backend')}."
        )
    if threshold := document["threshold"]:
        figures = {
            key: format_value("score", threshold[key])
            for key in ("score", "f1", "precision", "recall")
        }
        sentences.append(
            f"Suggested score threshold: {figures['score']}. It has the best F1 of all "
            f"({figures['f1']} at IoU 0.50, all classes together), with precision "
            f"{figures['precision']} and recall {figures['recall']}."
        )
    return sentences


def _number_table(metrics: Mapping[str, Any]) -> str:
    rows = [
        {
            "measured at": label,
            "ap": metrics.get(precision) if precision else "",
            "ar": metrics.get(recall) if recall else "",
        }
        for label, precision, recall in _NUMBERS
    ]
    return data_table(("measured at", "ap", "ar"), rows, highlighted=0)


def _mean_chart(document: Detection) -> str:
    curves, recalls = document["curves"].get("all"), document["recalls"]
    if not curves:
        return ""
    lines = [
        _curve("IoU 0.50", curves, "iou50", recalls, "c1"),
        _curve("mean of IoU 0.50 to 0.95", curves, "mean", recalls, "c3"),
    ]
    return _curve_chart("Precision over recall, mean of the classes", lines)


def _class_chart(document: Detection) -> str:
    """Returns the classes' curves, or those of the most frequent if they are many."""
    by_class = document["curves"].get("by_class", {})
    rows = [row for row in document["classes"] if row["class"] in by_class]
    if len(rows) < 2:
        return ""
    title = "Precision over recall at IoU 0.50"
    if len(rows) > MAX_CURVES:
        rows = sorted(rows, key=lambda row: -row["num_objects"])[:6]
        title += ", the 6 most frequent classes"
    lines = [
        _curve(
            str(row["class"]),
            by_class[row["class"]],
            "iou50",
            document["recalls"],
            f"c{index % 6 + 1}",
            is_dashed=index >= 6,
        )
        for index, row in enumerate(rows)
    ]
    return _curve_chart(title, lines)


def _curve(
    name: str,
    curves: Mapping[str, Sequence[float]],
    key: str,
    recalls: Sequence[float],
    color: str,
    *,
    is_dashed: bool = False,
) -> Series:
    """Returns a line; the legend has its mean, which is the average precision."""
    precisions = curves[key]
    mean = format_value("ap", sum(precisions) / len(precisions))
    points = tuple(zip(recalls, precisions, strict=True))
    return Series(name, points, color, is_dashed=is_dashed, note=f"AP {mean}")


def _curve_chart(title: str, lines: Sequence[Series]) -> str:
    return line_chart(
        title, lines, quantity="precision", over="recall", includes_zero=True
    )


def _class_table(classes: Sequence[ClassFigures]) -> str:
    """Returns the classes' numbers, the best first; folded if they are many."""
    by_size = {f"{size}_ap": f"ap_{size}" for size in ("small", "medium", "large")}
    rows = [
        {**row, **{name: row.get(key) for name, key in by_size.items()}}
        for row in classes
    ]
    rows.sort(key=lambda row: -row["ap"] if is_number(row.get("ap")) else 1.0)
    sizes = [name for name in by_size if any(is_number(row[name]) for row in rows)]
    columns = ("class", "num_objects", "ap", "ap50", "ap75", *sizes)
    table = data_table(columns, rows)
    if len(rows) <= MAX_OPEN_CLASSES:
        return element("div", {"class": "panel"}, table)
    summary = element("summary", None, f"The {len(rows)} classes")
    return element("details", None, summary, table)


def _draw_sheet(contact_sheet: bytes | None) -> str:
    """Returns the picture inside the page, which refers to no other file."""
    if contact_sheet is None:
        return ""
    media_types = [
        media_type
        for beginning, media_type in _MEDIA_TYPES.items()
        if contact_sheet.startswith(beginning)
    ]
    if not media_types:
        raise ValueError(
            "contact_sheet must be a JPEG or PNG file. "
            f"Received: one that begins with {contact_sheet[:8]!r}"
        )
    encoded = base64.b64encode(contact_sheet).decode()
    source = f"data:{media_types[0]};base64,{encoded}"
    title = "Ground truth (dashed) and detections"
    # An element without an end.
    picture = f'<img src="{source}" alt="{escape(title)}">'
    return figure(title, "", picture)
