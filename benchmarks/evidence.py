"""What every evidence script ends with: one JSON object, printed and stored.

DESIGN of the evidence: a script prints a table for people and, as its last line, one
JSON object with figures, settings, targets, command and machine.
"""

from __future__ import annotations

import json
import re
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


def target(
    name: str,
    value: float,
    bound: float,
    *,
    at_most: bool,
    baseline: float | None = None,
) -> dict[str, Any]:
    """Returns one target: its measured value, its bound, and whether it is met.

    With the value of a trivial baseline it counts as met only if the baseline fails.
    """

    def reaches(measured: float) -> bool:
        return bool(measured <= bound if at_most else measured >= bound)

    result = {
        "name": name,
        "value": float(value),
        "target": f"{'<=' if at_most else '>='} {bound:g}",
        "met": reaches(value),
    }
    if baseline is not None:
        result["baseline"] = baseline
        result["met"] = reaches(value) and not reaches(baseline)
    return result


def finish(
    *,
    figures: Any,
    settings: Mapping[str, Any],
    targets: Sequence[Mapping[str, Any]],
) -> None:
    """Prints the last line, and stores it with --output."""
    script = f"benchmarks.{Path(sys.argv[0]).stem}"
    document = without_folders(
        to_plain(
            {
                "figures": figures,
                "settings": settings,
                "targets": list(targets),
                **describe_provenance(["python", "-m", script, *sys.argv[1:]]),
            }
        )
    )
    if _OUTPUT.value:
        write_json(Path(_OUTPUT.value), document)
    print(json.dumps(document))


def without_folders(value: Any) -> Any:
    """Returns plain JSON with absolute paths cut to their last part.

    A stored result says nothing of the folders of the machine that it comes from.
    """
    if isinstance(value, dict):
        return {key: without_folders(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_folders(item) for item in value]
    if isinstance(value, str):
        return re.sub(r"(^|[=:])/(?!/)\S*/", r"\1", value)
    return value
