"""Measured latency of blocks, and of networks as the calibrated sum of their blocks.

An entry is a whole fused block in its place (channels, map size), measured as a
`.tflite` file of its own: what a runtime fuses is never torn apart, as sums of single
operators do (Zhang et al., nn-Meter, MobiSys 2021, section 2).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from mobilenas_tf.block_space import BlockSpace
from mobilenas_tf.json_io import from_plain, read_json, to_plain, write_json
from mobilenas_tf.spec import (
    Architecture,
    Block,
    Convolution,
    Head,
    Pooling,
    feature_channels,
    output_size_px,
    walk_blocks,
)

SCHEMA_VERSION = 1
Precision = Literal["int8", "float32"]
# The entry of a file that does nearly nothing: what calling a runtime costs.
CALL = "call"


@dataclasses.dataclass(frozen=True)
class Part:
    """The stem, a block or the head of a network in its place: one entry of a table."""

    layer: Block | Head
    in_channels: int
    in_size_px: int

    @property
    def key(self) -> str:
        """The part's name in a table; parts that compute alike have the same.

        Raises:
            ValueError: If it is a block of fewer bits than what is measured.
        """
        place = f"{self.in_channels}x{self.in_size_px}x{self.in_size_px}"
        return f"{place} {_layer_key(self.layer)}"


def _layer_key(layer: Block | Head) -> str:
    if isinstance(layer, Head):
        parts = [f"head conv{layer.conv_channels or 0}"]
        parts += [f"hidden{layer.hidden_channels or 0}", layer.activation]
        return " ".join([*parts, f"classes{layer.num_classes}"])
    if isinstance(layer, Pooling):
        return f"{layer.kind} k{layer.kernel_size} s{layer.stride}"
    if isinstance(layer, Convolution):
        name = f"conv{layer.out_channels} k{layer.kernel_size} s{layer.stride}"
        return f"{name} {layer.activation}"
    widths = layer.bit_widths
    if widths is not None and not widths.is_int8:
        raise ValueError(
            "blocks of a latency table must have 8-bit weights and activations: it "
            f"measures what int8 kernels execute. Received: {widths.label}"
        )
    branches = "+".join(f"k{b.kernel_size}:{b.channels}" for b in layer.branches)
    parts = [f"block{layer.out_channels} {branches} s{layer.stride} {layer.activation}"]
    if not layer.has_expansion:
        parts.append("no-expansion")
    if layer.has_residual:
        parts.append("residual")
    if layer.squeeze_excite is not None:
        squeeze = layer.squeeze_excite
        parts.append(f"se{squeeze.hidden_channels}/{squeeze.activation}/{squeeze.gate}")
    if layer.expansion_groups > 1 or layer.projection_groups > 1:
        groups = f"g{layer.expansion_groups}/{layer.projection_groups}"
        parts.append(groups + "/shuffle" * layer.has_shuffle)
    if layer.padding_px is not None:
        parts.append(f"pad{layer.padding_px}")
    return " ".join(parts)


def network_parts(architecture: Architecture) -> Iterator[Part]:
    """Yields stem, blocks and head of a classifier, in order.

    Raises:
        ValueError: If the network is a detector.
    """
    head = architecture.head
    if not isinstance(head, Head):
        raise ValueError(
            "architecture must be a classifier: a table has no detection heads. "
            f"Received: {architecture.name}"
        )
    yield Part(architecture.stem, 3, architecture.image_size_px)
    size_px = output_size_px(architecture.stem, architecture.image_size_px)
    for _, block, channels in walk_blocks(architecture):
        yield Part(block, channels, size_px)
        size_px = output_size_px(block, size_px)
    yield Part(head, feature_channels(architecture), size_px)


def space_parts(space: BlockSpace) -> dict[str, Part]:
    """Returns every part of a space's networks by its key, each once."""
    parts = [Part(space.stem, 3, space.image_size_px)]
    for place in space.places:
        parts += [
            Part(candidate.block, place.in_channels, place.in_size_px)
            for candidate in place.candidates
            if candidate.block is not None
        ]
    parts.append(Part(space.head, *space.features))
    return {part.key: part for part in parts}


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


@dataclasses.dataclass(frozen=True)
class Conditions:
    """What a table's latencies hold for: tables of other conditions are not mixed."""

    device: str
    runtime: str
    precision: Precision
    num_threads: int


@dataclasses.dataclass(frozen=True)
class Calibration:
    """`latency = scale * sum of parts + offset_ms`, fitted on whole networks.

    `mean_error` is the mean absolute relative error on the networks of the fit.
    """

    scale: float
    offset_ms: float
    num_networks: int
    mean_error: float


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
        return max(self._entry(part.key) - self._entry(CALL), 0.0)

    def _entry(self, key: str) -> float:
        if key not in self.entries:
            conditions = self.conditions
            raise ValueError(
                f"the latency table of {self.space} must have the entry {key!r}; "
                "measure it with python -m tools.build_latency_table "
                f"--space={self.space} --precision={conditions.precision} "
                f"--num_threads={conditions.num_threads}. It is missing"
            )
        return self.entries[key].median_ms

    def sum_ms(self, architecture: Architecture) -> float:
        """Returns the sum of a network's parts and one call, not calibrated."""
        parts = (self.part_ms(part) for part in network_parts(architecture))
        return sum(parts) + self._entry(CALL)

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
    document = read_json(path)
    if (
        not isinstance(document, dict)
        or document.get("schema_version") != SCHEMA_VERSION
    ):
        raise ValueError(
            f"{path} must be a latency table of schema_version {SCHEMA_VERSION}"
        )
    fields = {field.name for field in dataclasses.fields(LatencyTable)}
    if wrong := sorted(fields ^ (document.keys() - {"schema_version"})):
        raise ValueError(
            f"{path} must have the keys {', '.join(sorted(fields))}. "
            f"Received: {wrong[0]!r} missing or unknown"
        )
    entries = document["entries"]
    if not isinstance(entries, dict) or not isinstance(document["provenance"], dict):
        raise ValueError(f"{path}/entries and {path}/provenance must be JSON objects")
    calibration = document["calibration"]
    return LatencyTable(
        space=from_plain(str, document["space"], f"{path}/space"),
        conditions=from_plain(Conditions, document["conditions"], f"{path}/conditions"),
        entries={
            key: from_plain(LatencyEntry, entry, f"{path}/entries/{key}")
            for key, entry in entries.items()
        },
        calibration=calibration
        and from_plain(Calibration, calibration, f"{path}/calibration"),
        provenance=document["provenance"],
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
