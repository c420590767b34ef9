"""Fields of config dataclasses: default, help text and checks in one place.

The flags of the binaries are generated from these fields.
"""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

from mobilenas_tf.spec_fields import ADDED_LATER


def option(default: Any, help_text: str, *, added_later: bool = False) -> Any:
    """Returns a dataclass field with a default and the help text of its flag.

    Args:
        default: Of the field.
        help_text: Of the flag.
        added_later: Whether older run folders' config.json may lack it.
    """
    later = ADDED_LATER if added_later else {}
    return dataclasses.field(default=default, metadata={"help": help_text, **later})


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
