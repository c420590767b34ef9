"""Where the time of a TensorFlow step goes, by the type of its operators."""

from __future__ import annotations

import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

COLUMNS = ("operator", "calls_per_step", "step_ms", "time_share")
REST, BETWEEN = "other operators", "between operators"
_NUM_NAMED = 12
# The profiler calls an operator `<name in the graph>:<type>`. Other events have no
# colon (`Process`), two (`ThreadpoolListener::Record`) or a space behind it.
_OPERATOR = re.compile(r"[^:]*[^:\s]:(\w+)")


def profile_step(step: Callable[[], Any], *, num_steps: int) -> list[dict[str, Any]]:
    """Returns one row an operator type, the longest first, then what is left.

    Shares are of the step's time by the clock. On one thread operators do not overlap,
    so that the shares add up to 1.

    Args:
        step: Takes one step; its graph is traced already.
        num_steps: Steps to take.
    """
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    step()
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            started = time.perf_counter()
            for _ in range(num_steps):
                step()
            seconds = time.perf_counter() - started
        (path,) = Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace()  # pyright: ignore[reportAttributeAccessIssue]  # a class made at import
        space.ParseFromString(path.read_bytes())
    calls, operator_seconds = sum_operators(space)
    return make_rows(calls, operator_seconds, seconds=seconds, num_steps=num_steps)


def sum_operators(space: Any) -> tuple[Counter[str], Counter[str]]:
    """Returns the calls and the seconds of each operator type in an `XSpace`."""
    calls: Counter[str] = Counter()
    picoseconds: Counter[str] = Counter()
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                if match := _OPERATOR.fullmatch(name):
                    calls[match[1]] += 1
                    picoseconds[match[1]] += event.duration_ps
    seconds = {kind: 1e-12 * value for kind, value in picoseconds.items()}
    return calls, Counter(seconds)


def make_rows(
    calls: Mapping[str, int],
    operator_seconds: Mapping[str, float],
    *,
    seconds: float,
    num_steps: int,
) -> list[dict[str, Any]]:
    """Returns the rows of `num_steps` steps that took `seconds` by the clock."""
    ranked = sorted(operator_seconds, key=operator_seconds.__getitem__, reverse=True)
    named, rest = ranked[:_NUM_NAMED], ranked[_NUM_NAMED:]
    parts = [(kind, calls[kind], operator_seconds[kind]) for kind in named]
    parts.append(
        (
            REST,
            sum(calls[kind] for kind in rest),
            sum(operator_seconds[kind] for kind in rest),
        )
    )
    parts.append((BETWEEN, 0, seconds - sum(operator_seconds.values())))
    return [
        {
            "operator": kind,
            "calls_per_step": count / num_steps,
            "step_ms": 1e3 * part / num_steps,
            "time_share": part / seconds,
        }
        for kind, count, part in parts
    ]
