"""Kinds of fields that specs share, and the checks of their values."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

Activation = Literal["linear", "relu", "relu6", "hard_swish", "swish"]
GateActivation = Literal["sigmoid", "hard_sigmoid"]


# Of a field that older files do not have: its default is what they mean.
ADDED_LATER = {"added_later": True}


def is_added_later(field: dataclasses.Field[Any]) -> bool:
    """Returns whether older files may lack a field."""
    return ADDED_LATER.items() <= field.metadata.items()


def check_positive(owner: object, **values: int) -> None:
    """Raises a ValueError unless every value is an integer of at least 1."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(
                f"{name} of {type(owner).__name__} must be an integer of at least 1. "
                f"Received: {name}={value!r}"
            )


def check_member(owner: object, name: str, options: object) -> None:
    """Raises a ValueError unless the field is one of a Literal's options."""
    value, allowed = getattr(owner, name), getattr(options, "__args__")  # noqa: B009 - a typing.Literal declares no attribute
    if value not in allowed:
        raise ValueError(
            f"{name} of {type(owner).__name__} must be one of {', '.join(allowed)}. "
            f"Received: {name}={value!r}"
        )
