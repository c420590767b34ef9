"""Measured latency of parts, and of networks as the calibrated sum of their parts.

Which parts a network has is said by `latency_parts` and, where widths are searched, by
`operators`; between measured widths `width_latency` interpolates.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from mobilenas_tf.costs.latency_parts import Part, network_parts
from mobilenas_tf.json_io import from_plain, read_document, to_plain, write_json
from mobilenas_tf.spec import Architecture
from mobilenas_tf.spec_fields import ADDED_LATER, check_positive

SCHEMA_VERSION = 1
Precision = Literal["int8", "float32"]
# The entry of a file that does nearly nothing: what calling a runtime costs.
CALL = "call"


@dataclasses.dataclass(frozen=True)
class LatencyEntry:
    """One measured part: median of the repeats' medians, and their spread.

    `spread` is the interquartile range of the repeats over the median.
    """

    median_ms: float
    spread: float
    num_repeats: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.median_ms) and self.median_ms > 0):
            raise ValueError(
                "median_ms must be a finite number above 0. "
                f"Received: median_ms={self.median_ms}"
            )
        if not (math.isfinite(self.spread) and self.spread >= 0):
            raise ValueError(
                f"spread must be a finite number from 0. Received: spread={self.spread}"
            )
        check_positive(self, num_repeats=self.num_repeats)


@dataclasses.dataclass(frozen=True)
class Conditions:
    """What a table's latencies hold for: tables of other conditions are not mixed.

    `accelerator` is what was asked to run the graph, `core_mask` to which cores of a
    phone it was asked to keep, as in a benchmark's options.
    """

    device: str
    runtime: str
    precision: Precision
    num_threads: int
    accelerator: Literal["cpu", "gpu"] = dataclasses.field(
        default="cpu", metadata=ADDED_LATER
    )
    core_mask: str = dataclasses.field(default="auto", metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        check_positive(self, num_threads=self.num_threads)


@dataclasses.dataclass(frozen=True)
class Calibration:
    """`latency = scale * sum of parts + offset_ms`, fitted on whole networks.

    `mean_error` is the mean absolute relative error on the networks of the fit.
    """

    scale: float
    offset_ms: float
    num_networks: int
    mean_error: float

    def __post_init__(self) -> None:
        check_positive(self, num_networks=self.num_networks)


@dataclasses.dataclass(frozen=True)
class LatencyTable:
    """Latencies of parts by their key, under the same conditions.

    Attributes:
        space: Whose parts were measured.
        conditions: What the latencies hold for.
        entries: By key; `call` is what calling the runtime costs.
        calibration: None until the table was compared with whole networks.
        provenance: Of its measurement.
    """

    space: str
    conditions: Conditions
    entries: Mapping[str, LatencyEntry]
    calibration: Calibration | None = None
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def part_ms(self, part: Part) -> float:
        """Returns a part's latency in a network, the cost of the call taken off.

        Raises:
            ValueError: If the table has no such entry.
        """
        return max(self._entry(part.key) - self.call_ms, 0.0)

    @property
    def call_ms(self) -> float:
        """Latency of calling the runtime."""
        return self._entry(CALL)

    def _entry(self, key: str) -> float:
        if key not in self.entries:
            conditions = self.conditions
            raise ValueError(
                f"the latency table of {self.space} must have the entry {key!r}; "
                "measure it with python -m tools.build_latency_table "
                f"--space={self.space} --precision={conditions.precision} "
                f"--num_threads={conditions.num_threads} and the data's --num_classes. "
                "It is missing"
            )
        return self.entries[key].median_ms

    def sum_ms(self, architecture: Architecture) -> float:
        """Returns the sum of a network's parts and one call, not calibrated."""
        parts = (self.part_ms(part) for part in network_parts(architecture))
        return sum(parts) + self.call_ms

    def network_ms(self, architecture: Architecture) -> float:
        """Returns the latency that the table predicts for a whole network."""
        return self.calibrated(self.sum_ms(architecture))

    def calibrated(self, sum_ms: Any) -> Any:
        """Returns the prediction for a sum of parts and one call."""
        if self.calibration is None:
            return sum_ms
        return self.calibration.scale * sum_ms + self.calibration.offset_ms


def write_latency_table(path: Path, table: LatencyTable) -> None:
    """Writes a table as JSON, whole or not at all."""
    plain = to_plain(table)
    del plain["type"]
    write_json(path, {"schema_version": SCHEMA_VERSION, **plain})


def read_latency_table(path: Path) -> LatencyTable:
    """Reads a table that `write_latency_table` wrote.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: On anything that is off; the message names file and key.
    """
    fields = [field.name for field in dataclasses.fields(LatencyTable)]
    document = read_document(path, version=SCHEMA_VERSION, keys=fields)
    return from_plain(LatencyTable, document, str(path))


def required_table(table: LatencyTable | None, space: str) -> LatencyTable:
    """Returns the table that a budget in milliseconds needs in a named space.

    Raises:
        ValueError: If there is none.
    """
    if table is None:
        raise ValueError(
            "latency_table must be given with max_ms; python -m "
            f"tools.build_latency_table --space={space} measures one. Received: none"
        )
    return table


def check_space(path: Path, table: LatencyTable, wanted: str) -> None:
    """Raises a ValueError if a table is of another space, whose searches refuse it."""
    if table.space != wanted:
        raise ValueError(
            f"{path} must be of space={wanted!r}; give another file. "
            f"Received: space={table.space!r}"
        )


def check_conditions(path: Path, table: LatencyTable, wanted: Conditions) -> None:
    """Raises a ValueError if a table holds for other conditions than these."""
    for field in dataclasses.fields(Conditions):
        have, want = (getattr(each, field.name) for each in (table.conditions, wanted))
        if have != want:
            raise ValueError(
                f"{path} must be of {field.name}={want!r}; give another file. "
                f"Received: {field.name}={have!r}"
            )
