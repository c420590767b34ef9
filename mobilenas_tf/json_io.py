"""Strict, versioned JSON for dataclasses.

What the dataclasses mean is left to the modules that define them.
"""

from __future__ import annotations

import dataclasses
import json
import os
import types
import typing
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from mobilenas_tf.json_text import parse_json, shown
from mobilenas_tf.spec import Architecture
from mobilenas_tf.spec_fields import is_added_later
from mobilenas_tf.whole_files import write_bytes_atomically

SCHEMA_VERSION = 1
T = TypeVar("T")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes `value` (dataclasses welcome) as indented JSON, whole or not at all."""
    text = json.dumps(to_plain(value), indent=2, allow_nan=False) + "\n"
    write_bytes_atomically(path, text.encode())


def read_json(
    path: str | os.PathLike[str],
    *,
    leave_out: Collection[str] = (),
    allow_nan: bool = False,
) -> Any:
    """Reads a JSON file; options and errors, which name the file, are `parse_json`'s.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is no JSON, or holds values that none of our files has.
    """
    return parse_json(
        Path(path).read_bytes(), str(path), leave_out=leave_out, allow_nan=allow_nan
    )


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
    """Builds a value of a type from plain JSON.

    Args:
        expected: The type to build: a scalar, `Any`, a Literal, a dataclass with
            resolved annotations, or a tuple, mapping or union of these. A TypedDict
            takes other keys than its own too, and leaves them as they are.
        value: Plain JSON.
        where: Names file and key in error messages.

    Raises:
        ValueError: On an unknown or missing key or a value of another type.
    """
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin in (typing.Union, types.UnionType):
        return _union_from_plain(arguments, value, where)
    if origin is tuple:
        return _tuple_from_plain(arguments, value, where)
    if origin in (dict, Mapping):
        return {
            key: from_plain(arguments[1], item, f"{where}/{key}")
            for key, item in _object(value, where).items()
        }
    if origin is typing.Literal:
        if not any(value == each and type(value) is type(each) for each in arguments):
            raise ValueError(
                f"{where} must be one of {arguments}. Received: {shown(value)}"
            )
        return value
    if dataclasses.is_dataclass(expected):
        return _dataclass_from_plain(typing.cast(type, expected), value, where)
    if typing.is_typeddict(expected):
        return _typed_dict_from_plain(expected, value, where)
    return _scalar_from_plain((expected,), value, where)


def _scalar_from_plain(options: tuple[Any, ...], value: Any, where: str) -> Any:
    if Any in options or type(value) in options:
        return value
    if float in options and type(value) is int:
        return float(value)
    names = ("null" if each is type(None) else each.__name__ for each in options)
    raise ValueError(
        f"{where} must be of type {' or '.join(names)}. Received: {shown(value)}"
    )


def _tuple_from_plain(types_: tuple[Any, ...], value: Any, where: str) -> Any:
    if not isinstance(value, list):
        raise ValueError(f"{where} must be a list. Received: {shown(value)}")
    if types_[-1] is Ellipsis:
        types_ = types_[:1] * len(value)
    elif len(value) != len(types_):
        raise ValueError(
            f"{where} must be a list of {len(types_)}. Received: {shown(value)}"
        )
    return tuple(
        from_plain(expected, item, f"{where}[{index}]")
        for index, (expected, item) in enumerate(zip(types_, value, strict=True))
    )


def _union_from_plain(options: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in options:
        return None
    remaining = [option for option in options if option is not type(None)]
    if len(remaining) == 1:
        return from_plain(remaining[0], value, where)
    if not all(map(dataclasses.is_dataclass, remaining)):
        return _scalar_from_plain(options, value, where)
    by_name = {option.__name__: option for option in remaining}
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in by_name:
        raise ValueError(
            f"{where}/type must be one of {', '.join(by_name)}. Received: {shown(kind)}"
        )
    return from_plain(by_name[kind], value, where)


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be a JSON object. Received: {shown(value)}")
    return value


def _dataclass_from_plain(expected: type[T], value: Any, where: str) -> T:
    hints = typing.get_type_hints(expected)
    definitions = dataclasses.fields(typing.cast(Any, expected))
    fields = {field.name for field in definitions}
    needed = {f.name for f in definitions if not is_added_later(f)}
    value = dict(_object(value, where))
    kind = value.pop("type", expected.__name__)
    if kind != expected.__name__:
        raise ValueError(
            f"{where}/type must be {expected.__name__}. Received: {shown(kind)}"
        )
    if unknown := sorted(set(value) - fields):
        raise ValueError(
            f"{where} must have the keys {', '.join(sorted(fields))} only. "
            f"Received: unknown key {shown(unknown[0])}"
        )
    _require_keys(needed, value, where)
    arguments = {
        name: from_plain(hints[name], item, f"{where}/{name}")
        for name, item in value.items()
    }
    try:
        return expected(**arguments)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _typed_dict_from_plain(expected: Any, value: Any, where: str) -> dict[str, Any]:
    hints = typing.get_type_hints(expected)
    value = _object(value, where)
    _require_keys(expected.__required_keys__, value, where)
    return {
        key: from_plain(hints[key], item, f"{where}/{key}") if key in hints else item
        for key, item in value.items()
    }


def _require_keys(needed: Collection[str], value: Collection[str], where: str) -> None:
    if missing := sorted(set(needed) - set(value)):
        raise ValueError(f"{where} must have the key {missing[0]!r}. It is missing")


def read_object(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a JSON file that holds an object.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it holds anything else.
    """
    return _object(read_json(path), str(path))


def read_document(
    path: str | os.PathLike[str], *, version: int, keys: Collection[str]
) -> dict[str, Any]:
    """Reads a JSON object with these keys and a `schema_version`.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is of another version, or has other keys.
    """
    document = read_object(path)
    found = document.pop("schema_version", None)
    if type(found) is not int or found != version:
        raise ValueError(
            f"{path} must have schema_version {version}. Received: {shown(found)}"
        )
    if wrong := sorted(document.keys() ^ set(keys)):
        raise ValueError(
            f"{path} must have the keys schema_version and "
            f"{', '.join(sorted(keys))} only. Received: {shown(wrong[0])}, which is "
            f"{'unknown' if wrong[0] in document else 'missing'}"
        )
    return document


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
    document = read_document(path, version=SCHEMA_VERSION, keys=["architecture"])
    return architecture_from_plain(document["architecture"], str(path))


def architecture_from_plain(value: Any, where: str) -> Architecture:
    """Builds an `Architecture` from plain JSON; `where` names it in errors."""
    return from_plain(Architecture, value, where)
