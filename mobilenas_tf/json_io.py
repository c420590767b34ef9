"""Strict, versioned JSON for dataclasses.

What the dataclasses mean is left to the modules that define them.
"""

from __future__ import annotations

import dataclasses
import json
import os
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from mobilenas_tf.spec import Architecture
from mobilenas_tf.spec_fields import is_added_later
from mobilenas_tf.whole_files import write_bytes_atomically

SCHEMA_VERSION = 1
T = TypeVar("T")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes `value` (dataclasses welcome) as indented JSON, whole or not at all."""
    text = json.dumps(to_plain(value), indent=2, allow_nan=False) + "\n"
    write_bytes_atomically(path, text.encode())


def read_json(path: str | os.PathLike[str]) -> Any:
    """Reads a JSON file; a malformed one is an error that names file and place."""
    try:
        return json.loads(
            Path(path).read_text(encoding="utf-8"), parse_constant=_refuse_constant
        )
    except ValueError as error:
        raise ValueError(f"{path} must be a JSON file. Received: {error}") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def to_plain(value: Any) -> Any:
    """Turns nested dataclasses, mappings and sequences into plain JSON values.

    Members of a union of dataclasses carry their class in the key `type`.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        plain = {
            field.name: to_plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
        }
        return {"type": type(value).__name__, **plain}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return value


def from_plain(expected: Any, value: Any, where: str) -> Any:
    """Builds `expected` (a dataclass, tuple, union or scalar type) from plain JSON.

    Args:
        expected: The type to build, with resolved annotations.
        value: Plain JSON.
        where: Names file and key in error messages.

    Raises:
        ValueError: On an unknown or missing key or a value of another type.
    """
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin in (typing.Union, types.UnionType):
        return _union_from_plain(arguments, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{where} must be a list. Received: {value!r}")
        return tuple(
            from_plain(arguments[0], item, f"{where}[{index}]")
            for index, item in enumerate(value)
        )
    if origin is typing.Literal:
        if value not in arguments:
            raise ValueError(f"{where} must be one of {arguments}. Received: {value!r}")
        return value
    if dataclasses.is_dataclass(expected):
        return _dataclass_from_plain(typing.cast(type, expected), value, where)
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not expected:
        name = "null" if expected is type(None) else expected.__name__
        raise ValueError(f"{where} must be of type {name}. Received: {value!r}")
    return value


def _union_from_plain(options: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in options:
        return None
    remaining = [option for option in options if option is not type(None)]
    if len(remaining) == 1:
        return from_plain(remaining[0], value, where)
    by_name = {option.__name__: option for option in remaining}
    kind = value.get("type") if isinstance(value, dict) else None
    if kind not in by_name:
        raise ValueError(
            f"{where}/type must be one of {', '.join(by_name)}. Received: {kind!r}"
        )
    return from_plain(by_name[kind], value, where)


def _dataclass_from_plain(expected: type[T], value: Any, where: str) -> T:
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be a JSON object. Received: {value!r}")
    hints = typing.get_type_hints(expected)
    definitions = dataclasses.fields(typing.cast(Any, expected))
    fields = {field.name for field in definitions}
    needed = {f.name for f in definitions if not is_added_later(f)}
    value = dict(value)
    kind = value.pop("type", expected.__name__)
    if kind != expected.__name__:
        raise ValueError(f"{where}/type must be {expected.__name__}. Received: {kind}")
    if unknown := sorted(set(value) - fields):
        raise ValueError(
            f"{where} must have the keys {', '.join(sorted(fields))} only. "
            f"Received: unknown key {unknown[0]!r}"
        )
    if missing := sorted(needed - set(value)):
        raise ValueError(f"{where} must have the key {missing[0]!r}. It is missing")
    arguments = {
        name: from_plain(hints[name], item, f"{where}/{name}")
        for name, item in value.items()
    }
    try:
        return expected(**arguments)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def write_architecture(
    path: str | os.PathLike[str], architecture: Architecture
) -> None:
    """Writes `architecture.json`."""
    write_json(path, {"schema_version": SCHEMA_VERSION, "architecture": architecture})


def read_architecture(path: str | os.PathLike[str]) -> Architecture:
    """Reads an `architecture.json` written by `write_architecture`.

    Raises:
        ValueError: On another schema version, or any key or value that is off; the
            message names the file and the key.
    """
    document = read_json(path)
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"{path} must have schema_version {SCHEMA_VERSION}. Received: {version!r}"
        )
    if set(document) != {"schema_version", "architecture"}:
        raise ValueError(
            f"{path} must have the keys schema_version and architecture only. "
            f"Received: {', '.join(sorted(document))}"
        )
    return architecture_from_plain(document["architecture"], str(path))


def architecture_from_plain(value: Any, where: str) -> Architecture:
    """Builds an `Architecture` from plain JSON; `where` names it in errors."""
    return from_plain(Architecture, value, where)
