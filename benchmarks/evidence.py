"""What every evidence script ends with: one JSON object, printed and stored.

DESIGN of the evidence: a script prints a table for people and, as its last line, one
JSON object with figures, settings, targets, command and machine.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from mobilenas_tf.json_io import to_plain, write_json
from mobilenas_tf.provenance import describe_provenance

_OUTPUT = flags.DEFINE_string(
    "output", None, "JSON file for the result, e.g. benchmarks/results/NAME.json."
)


def target(name: str, value: float, bound: float, *, at_most: bool) -> dict[str, Any]:
    """Returns one target: its measured value, its bound, and whether it is met."""
    met = value <= bound if at_most else value >= bound
    sign = "<=" if at_most else ">="
    return {"name": name, "value": value, "target": f"{sign} {bound:g}", "met": met}


def finish(
    *,
    figures: Any,
    settings: Mapping[str, Any],
    targets: Sequence[Mapping[str, Any]],
) -> None:
    """Prints the last line, and stores it with --output."""
    document = to_plain(
        {
            "figures": figures,
            "settings": settings,
            "targets": list(targets),
            **describe_provenance(sys.argv),
        }
    )
    if _OUTPUT.value:
        write_json(Path(_OUTPUT.value), document)
    print(json.dumps(document))
