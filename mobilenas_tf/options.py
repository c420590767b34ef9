"""Fields of config dataclasses: default, help text and checks in one place.

The flags of the binaries are generated from these fields.
"""

from __future__ import annotations

import dataclasses
import typing
from typing import Any


def option(default: Any, help_text: str) -> Any:
    """Returns a dataclass field with a default and the help text of its flag."""
    return dataclasses.field(default=default, metadata={"help": help_text})


def require(condition: bool, expected: str, name: str, value: object) -> None:
    """Raises a ValueError that says what `name` must be, unless the condition holds."""
    if not condition:
        raise ValueError(f"{name} must be {expected}. Received: {name}={value!r}")


def require_literals(config: Any) -> None:
    """Checks that every field of a `Literal` type has one of its values.

    Raises:
        ValueError: Names the field and its values.
    """
    for name, expected in typing.get_type_hints(type(config)).items():
        if typing.get_origin(expected) is typing.Literal:
            values = typing.get_args(expected)
            value = getattr(config, name)
            require(value in values, f"one of {', '.join(values)}", name, value)
