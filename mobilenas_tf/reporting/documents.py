"""What the JSON files of a run must hold for the report to show them.

Keys beside those are let be: they are shown as they are, or not at all. Metrics,
architecture and cuts are left to those who write them.
"""

# No annotations as text here: Python 3.11 would take NotRequired for a requirement.

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

from mobilenas_tf.json_io import from_plain, read_json
from mobilenas_tf.json_text import shown
from mobilenas_tf.reporting.number_format import COST_NAMES
from mobilenas_tf.spec import Architecture
from mobilenas_tf.widths import resize

Scalar = str | int | float | bool | None
Row = Mapping[str, Scalar]
Costs = Mapping[str, float]


class Provenance(TypedDict):
    """What a run was made with, as far as the page's head says."""

    started: NotRequired[str]


class Summary(TypedDict):
    """Networks, the run's own first."""

    columns: NotRequired[tuple[str, ...]]
    rows: NotRequired[tuple[Row, ...]]


class Confusion(TypedDict):
    """Images by true class (rows) and predicted class."""

    class_names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    title: NotRequired[str]


Curve = Mapping[str, tuple[float, ...]]


class Curves(TypedDict):
    """Precisions over recalls: of all classes together, and of each."""

    all: Curve | None
    by_class: NotRequired[Mapping[str, Curve]]


class Threshold(TypedDict):
    """The score from which detections are best shown, and how good they are."""

    score: float
    f1: float
    precision: float
    recall: float


ClassFigures = TypedDict(
    "ClassFigures", {"class": str, "num_objects": int, "ap": float | None}
)


class Detection(TypedDict):
    """A detector's evaluation."""

    metrics: Mapping[str, float | None]
    classes: tuple[ClassFigures, ...]
    recalls: tuple[float, ...]
    curves: Curves
    threshold: Threshold | None
    backend: NotRequired[str]
    num_images: NotRequired[int]
    num_detections: NotRequired[int]


class FoundOperators(TypedDict):
    """The candidate of each place, and what the network costs."""

    genotype: Mapping[str, int]
    cost: float


class Operators(TypedDict):
    """A search among operators; probabilities are those of the candidates."""

    metric: str
    budget: float
    candidates: Mapping[str, tuple[str, ...]]
    probabilities: Mapping[str, tuple[float, ...]]
    found: FoundOperators


class ScoredNetwork(TypedDict):
    """A network of a one-shot search's front."""

    costs: Costs
    score: float
    accuracy: float


class Generation(TypedDict):
    """The best score after a generation, and the front's `[cost, score]`."""

    generation: int
    best: float
    front: tuple[tuple[float, float], ...]


class TurnedOff(TypedDict):
    """An operation that is no longer chosen, and what spoke against it."""

    epoch: int
    by: str
    path: str
    operation: str
    best: str
    behind: float
    standard_error: float


class OneShot(TypedDict):
    """A search of a one-shot supernet."""

    metric: str
    budgets: Costs
    log10_networks: float
    measure: str
    evaluated: int
    reliability: NotRequired[float | None]
    generations: tuple[Generation, ...]
    front: tuple[ScoredNetwork, ...]
    turned_off: tuple[TurnedOff, ...]


class Search(TypedDict):
    """What a search of widths has found."""

    supernet: Architecture
    widths: Mapping[str, int]
    metric: Literal["macs", "params", "ms"]
    budget: float
    probabilities: NotRequired[Mapping[str, Mapping[str, float]]]
    inherited_validation_accuracy: NotRequired[float | None]
    inherited_validation_ap: NotRequired[float | None]
    width_scale: NotRequired[float | None]
    derived_cost: NotRequired[Costs]


class Best(TypedDict):
    """The candidate that a joint search ends with."""

    accuracy: float | None
    predicted: float


class Round(TypedDict):
    """Candidates of a round, in the same order."""

    round: int
    stage: str
    predicted: tuple[float | None, ...]
    accuracies: tuple[float | None, ...]


class Trained(TypedDict):
    """A candidate of a joint search's front."""

    costs: Costs
    accuracy: float


class Effect(TypedDict):
    """Predicted accuracies by the values of a setting."""

    setting: str
    values: tuple[Scalar, ...]
    accuracies: tuple[float, ...]
    best: Scalar
    effect: float


class Joint(TypedDict):
    """A joint search."""

    measure: str
    metric: str
    budgets: Costs
    trained: int
    failed: int
    stop_epoch: int
    best: Best
    recipe: Row
    default_recipe: Row
    rounds: tuple[Round, ...]
    front: tuple[Trained, ...]
    effects: tuple[Effect, ...]


# By name of the file without its ending.
KINDS: Mapping[str, Any] = {
    "config": Mapping[str, Any],
    "provenance": Provenance,
    "summary": Summary,
    "confusion": Confusion,
    "detection_evaluation": Detection,
    "operators": Operators,
    "one_shot": OneShot,
    "joint": Joint,
    "search": Search,
    "parity": Any,
    "benchmark": Any,
}


def read_kind(name: str, path: Path) -> Any:
    """Reads the document of a name in `KINDS`.

    Raises:
        ValueError: If the report cannot show it; names file and key.
    """
    document = from_plain(KINDS[name], read_json(path), str(path))
    if name in _RECORDS:
        document = _records(document, str(path))
    if name in _FAULTS and (fault := next(_FAULTS[name](document), None)):
        raise ValueError(f"{path}{fault}")
    return document


def _records(document: Any, where: str) -> Sequence[Mapping[str, Any]]:
    """Returns as a list: records, those under `results`, by name, or a single one."""
    records = [document]
    if isinstance(document, list):
        records = document
    elif isinstance(document, dict) and isinstance(document.get("results"), list):
        records = document["results"]
    elif isinstance(document, dict) and all(
        isinstance(value, dict) for value in document.values()
    ):
        records = [{"model": name, **record} for name, record in document.items()]
    for record in records:
        if not isinstance(record, dict):
            raise ValueError(
                f"{where} must hold JSON objects. Received: {shown(record)}"
            )
    return records


def _record_faults(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for index, record in enumerate(records):
        yield from _figure_faults(record, f", result {index},")


def _start_faults(document: Provenance) -> Iterator[str]:
    started = document.get("started", "")
    try:
        datetime.datetime.fromisoformat(started or "2000-01-01")
    except ValueError:
        yield f"/started must be a date of ISO 8601. Received: {shown(started)}"


def _summary_faults(document: Summary) -> Iterator[str]:
    for index, row in enumerate(document.get("rows", ())):
        yield from _figure_faults(row, f"/rows[{index}]")


def _confusion_faults(document: Confusion) -> Iterator[str]:
    names, counts = document["class_names"], document["counts"]
    if not names or [len(row) for row in counts] != [len(names)] * len(names):
        yield (
            "/counts must be a square with one row and column for each of the "
            f"{len(names)} class_names. Received: {len(counts)} rows of lengths "
            f"{shown(sorted({len(row) for row in counts}))}"
        )
    if any(count < 0 for row in counts for count in row):
        yield "/counts must be 0 or more. Received: a negative one"


def _detection_faults(document: Detection) -> Iterator[str]:
    curves = document["curves"]
    all_classes = ("all classes", curves["all"] or {})
    for name, curve in (all_classes, *curves.get("by_class", {}).items()):
        for key, precisions in curve.items():
            if len(precisions) != len(document["recalls"]) or not precisions:
                yield (
                    f"/curves must have a precision for each of the "
                    f"{len(document['recalls'])} recalls. Received: "
                    f"{len(precisions)} under {key} of {shown(name)}"
                )
        if curve and not {"iou50", "mean"} <= curve.keys():
            yield f"/curves must have iou50 and mean. Received: {shown(list(curve))}"


def _operators_faults(document: Operators) -> Iterator[str]:
    yield from _metric_faults(document["metric"], "/metric")
    chosen = document["found"]["genotype"]
    for path, candidates in document["candidates"].items():
        if len(document["probabilities"].get(path, ())) != len(candidates):
            yield f"/probabilities must be one for each candidate of {shown(path)}"
        if not 0 <= chosen.get(path, -1) < len(candidates):
            yield f"/found/genotype must choose a candidate of {shown(path)}"


def _one_shot_faults(document: OneShot) -> Iterator[str]:
    yield from _budget_faults(document["metric"], document["budgets"])
    if not document["front"]:
        yield "/front must have at least one network"
    yield from _front_faults(document["metric"], document["front"], "score")


def _joint_faults(document: Joint) -> Iterator[str]:
    yield from _budget_faults(document["metric"], document["budgets"])
    yield from _front_faults(document["metric"], document["front"], "accuracy")
    for index, row in enumerate(document["rounds"]):
        if len(row["predicted"]) != len(row["accuracies"]):
            yield f"/rounds[{index}] must have as many predicted as accuracies"
    for index, effect in enumerate(document["effects"]):
        if len(effect["values"]) != len(effect["accuracies"]):
            yield f"/effects[{index}] must have as many values as accuracies"


def _search_faults(document: Search) -> Iterator[str]:
    if document["budget"] <= 0:
        yield f"/budget must be above 0. Received: {document['budget']}"
    try:
        resize(document["supernet"], document["widths"])
    except ValueError as error:
        yield f"/widths must fit the supernet: {error}"


def _metric_faults(metric: str, where: str) -> Iterator[str]:
    if metric not in COST_NAMES:
        names = ", ".join(COST_NAMES)
        yield f"{where} must be one of {names}. Received: {shown(metric)}"


def _budget_faults(metric: str, budgets: Costs) -> Iterator[str]:
    yield from _metric_faults(metric, "/metric")
    for name in budgets:
        yield from _metric_faults(name, "/budgets")


def _front_faults(
    metric: str, front: Sequence[Mapping[str, Any]], quality: str
) -> Iterator[str]:
    for index, row in enumerate(front):
        cost, value = row["costs"].get(metric), row[quality]
        if cost is None or cost < 0 or not 0 <= value <= 1:
            yield (
                f"/front[{index}] must have a cost in {metric} from 0 and a {quality} "
                f"in [0, 1]. Received: {cost} and {value}"
            )


def _figure_faults(row: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yields what cannot be of a row's figures, by the last word of their names.

    Args:
        row: Figures by name; those that are no numbers are not looked at.
        where: Names the row.
    """
    for name, value in row.items():
        word = name.rsplit("_", 1)[-1]
        numbers = value if isinstance(value, (list, tuple)) else (value,)
        for number in numbers:
            if not isinstance(number, (int, float)):
                continue
            if word in _SHARES and not 0 <= number <= 1:
                yield f"{where}/{name} must be in [0, 1]. Received: {number}"
            if word in _AMOUNTS and number < 0:
                yield f"{where}/{name} must be 0 or more. Received: {number}"


_SHARES = ("accuracy", "agreement", "ap", "ap50")
_AMOUNTS = ("bytes", "macs", "ms", "params")
_RECORDS = ("parity", "benchmark")
_FAULTS: Mapping[str, Callable[[Any], Iterator[str]]] = {
    **dict.fromkeys(_RECORDS, _record_faults),
    "provenance": _start_faults,
    "summary": _summary_faults,
    "confusion": _confusion_faults,
    "detection_evaluation": _detection_faults,
    "operators": _operators_faults,
    "one_shot": _one_shot_faults,
    "joint": _joint_faults,
    "search": _search_faults,
}
