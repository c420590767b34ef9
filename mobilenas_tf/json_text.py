"""JSON texts whose values can be worked with: what is let in from outside.

The json module takes more than our files ever hold: keys given twice, numbers that no
float holds, lists nested until the stack ends. Which keys and types a file must have is
left to its reader.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from typing import Any

MAX_DEPTH = 64
"""Lists and objects inside of each other. Ours have about ten levels."""
LARGEST, SMALLEST = 1e100, 1e-300
"""Magnitudes of numbers: with these squares and logarithms are floats too."""
MAX_SHOWN = 120
"""Letters of a value in an error message."""


def parse_json(
    data: bytes,
    where: str,
    *,
    leave_out: Collection[str] = (),
    allow_nan: bool = False,
) -> Any:
    """Returns the plain value of a JSON text.

    Args:
        data: The text, UTF-8.
        where: Names it in error messages.
        leave_out: Keys that objects lose while they are parsed, to spare memory.
        allow_nan: Take `NaN` and `Infinity`, which are no JSON.

    Raises:
        ValueError: If it is no JSON, has a key twice in an object, is nested deeper
            than `MAX_DEPTH`, or has a number beyond `LARGEST` or 64 bits.
    """

    def as_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ValueError(f"the key {shown(twice)} twice in an object")
        for key in leave_out:
            found.pop(key, None)
        return found

    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=as_object,
            parse_constant=float if allow_nan else _refuse_constant,
        )
        _check_values(value, allow_nan=allow_nan)
    except RecursionError as error:
        raise ValueError(f"{where} must be JSON. Received: {_TOO_DEEP}") from error
    except ValueError as error:
        raise ValueError(f"{where} must be JSON. Received: {error}") from error
    return value


_TOO_DEEP = f"values nested deeper than {MAX_DEPTH} levels"


def shown(value: Any) -> str:
    """Returns a value as error messages show it: on one line, and not for ever."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name}, which is no JSON number")


def _check_values(value: Any, *, allow_nan: bool) -> None:
    """Looks at all values, level by level, as the stack may not have room for them."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is dict:
                below += item
                below += item.values()
            elif kind is list:
                below += item
            elif kind is str:
                _check_text(item)
            elif kind is int or kind is float:
                _check_number(item, allow_nan=allow_nan)
        if not below:
            return
        level = below
    raise ValueError(_TOO_DEEP)


def _check_text(text: str) -> None:
    # Half of a surrogate pair is a letter to Python, and none to files and terminals.
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError(f"{shown(text)}, which is no text")


def _check_number(number: int | float, *, allow_nan: bool) -> None:
    if isinstance(number, int):
        if not -(2**63) <= number < 2**63:
            raise ValueError("an integer of more than 64 bits")
    elif not math.isfinite(number):
        if not allow_nan:
            raise ValueError("a number too large for a float")
    elif number and not SMALLEST <= abs(number) <= LARGEST:
        raise ValueError(f"{number!r}, a number beyond {SMALLEST:g} to {LARGEST:g}")
