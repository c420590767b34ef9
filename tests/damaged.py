"""Damage to valid files as strategies of Hypothesis, and how it is tried."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# The same examples at every run: a test that fails here fails everywhere.
PROPERTY = settings(
    max_examples=200,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TEXTS = st.text(max_size=8) | st.sampled_from(
    ["../../etc/passwd", "/etc/passwd", "a\nb", "\x00", "'; rm -rf /", "NaN"]
)
NUMBERS = (
    st.integers()
    | st.floats()
    | st.sampled_from([2**63, -(2**63) - 1, 10**400, 1e308, 5e-324, -1, 0])
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def damaged_json(draw: st.DrawFn, data: bytes) -> bytes:
    """Gives a JSON text in which one value, key or item is another one."""
    root = {"document": json.loads(data)}
    holder, key = draw(st.sampled_from([(root, "document"), *_places(root)[1:]]))
    kind = draw(st.sampled_from(["value", "value", "lose", "rename", "add", "swap"]))
    if holder is root or kind == "value":
        holder[key] = draw(VALUES)
    elif kind == "lose":
        del holder[key]
    elif kind == "swap":
        other, other_key = draw(st.sampled_from(_places(root)))
        holder[key] = copy.deepcopy(other[other_key])
    elif isinstance(holder, list):
        holder.insert(key, draw(VALUES))
    else:
        holder[draw(TEXTS)] = holder.pop(key) if kind == "rename" else draw(VALUES)
    return json.dumps(root["document"]).encode()


@st.composite
def damaged_lines(draw: st.DrawFn, data: bytes) -> bytes:
    """Gives lines of JSON of which one is damaged."""
    lines = data.splitlines()
    at = draw(st.integers(0, len(lines) - 1))
    lines[at] = draw(damaged_json(lines[at]))
    return b"".join(line + b"\n" for line in lines)


@st.composite
def damaged_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    """Gives bytes of which a few are others, too many or missing."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        lost = draw(st.integers(0, 8) | st.just(len(data)))
        data = data[:at] + draw(st.binary(max_size=8)) + data[at + lost :]
    return data


def _places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    keys = list(value) if isinstance(value, dict) else range(len(value))
    for key in keys:
        found.append((value, key))
        if isinstance(value[key], (dict, list)):
            found += _places(value[key])
    return found
