"""Damaged and hostile versions of a file: of its bytes, or of its JSON values.

Which files there are, and what their readers must make of them, is left to
`mutation_cases`.
"""

from __future__ import annotations

import copy
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Mutation = Callable[[bytes, np.random.Generator], bytes]
# What stands for text that json.dumps would not write.
_RAW = "@raw {}@"
_RAW_VALUES = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-1e308",
    "1e-310",
    "9" * 400,
    "9" * 5000,
    '"\\ud800"',
    "[" * 70 + "]" * 70,
    "[" * 100_000 + "]" * 100_000,
    '{"a":' * 100_000 + "0" + "}" * 100_000,
    "01",
    "'text'",
)
_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2**31,
    2**63,
    2**64,
    0.5,
    -0.5,
    1e300,
    "",
    "1",
    "text",
    "NaN",
    "../../../etc/passwd",
    "/etc/passwd",
    "a\nb; rm -rf /",
    "'\"$(true)`",
    "\x00\x1b[2J",
    "x" * 10_000,
    [],
    [[]],
    {},
    {"type": []},
    {"type": {"a": 1}},
    [None] * 1000,
)


def of_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """Returns the bytes with one to four of them changed, lost or added in places."""
    for _ in range(int(rng.integers(1, 5))):
        mutate = _BYTE_MUTATIONS[int(rng.integers(len(_BYTE_MUTATIONS)))]
        data = mutate(data, rng)
    return data


def of_json(data: bytes, rng: np.random.Generator) -> bytes:
    """Returns a JSON text in which a value, key or item is another one."""
    document = json.loads(data)
    raw: dict[str, str] = {}
    for _ in range(int(rng.integers(1, 3))):
        document = _mutate_tree(document, rng, raw)
    text = json.dumps(document)
    for name, value in raw.items():
        text = text.replace(json.dumps(name), value)
    return text.encode()


def of_lines(data: bytes, rng: np.random.Generator) -> bytes:
    """Returns lines of JSON in which one line is another, missing or there twice."""
    lines = data.splitlines(keepends=True)
    at = int(rng.integers(len(lines)))
    kind = int(rng.integers(6))
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(at, lines[int(rng.integers(len(lines)))])
    elif kind == 2:
        lines[at] = lines[at].rstrip(b"\n")  # two lines in one
    else:
        lines[at] = of_json(lines[at], rng) + b"\n"
    return b"".join(lines)


def of_flags(data: bytes, rng: np.random.Generator) -> bytes:
    """Returns a flag file in which a flag's name or value is another one."""
    lines = data.splitlines()
    at = int(rng.integers(len(lines)))
    name, _, value = lines[at].partition(b"=")
    texts = [str(value).encode() for value in _VALUES[:-1]]
    texts += [text.encode() for text in _RAW_VALUES] + [b"\xff\xfe", b"1,2,,", b"="]
    chosen = texts[int(rng.integers(len(texts)))]
    lines[at] = (
        name + b"=" + chosen,
        name + b"_=" + value,
        b"--" + chosen,
        name,
        b"--flagfile=" + chosen,
    )[int(rng.integers(5))]
    return b"\n".join(lines) + b"\n"


def of_photo_size(data: bytes, rng: np.random.Generator) -> bytes:
    """Returns a photo whose header has another width or height; else one of its bytes.

    PNG (its checksum is made to fit), GIF, BMP and JPEG.
    """
    size = int(rng.choice([0, 1, 61, 4_000, 16_000, 65_535, 2**31 - 1]))
    is_height = bool(rng.integers(2))
    if data.startswith(b"\x89PNG"):
        at = 20 if is_height else 16
        header = data[12:at] + struct.pack(">I", size) + data[at + 4 : 29]
        return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]
    if data.startswith(b"GIF"):
        at = 8 if is_height else 6
        return data[:at] + struct.pack("<H", size & 0xFFFF) + data[at + 2 :]
    if data.startswith(b"BM"):
        at = 22 if is_height else 18
        return data[:at] + struct.pack("<I", size) + data[at + 4 :]
    if (start := data.find(b"\xff\xc0")) > 0:  # JPEG's start of frame
        at = start + (5 if is_height else 7)
        return data[:at] + struct.pack(">H", size & 0xFFFF) + data[at + 2 :]
    return of_bytes(data, rng)


def of_archive(data: bytes, rng: np.random.Generator) -> bytes:
    """Returns an archive of arrays with a member that plays a trick."""
    written = io.BytesIO()
    array = np.zeros((4, 4), np.float32)
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(written, "w") as new:
        names = old.namelist()
        chosen = names[int(rng.integers(len(names)))]
        for name in names:
            if name != chosen:
                new.writestr(zipfile.ZipInfo(name), old.read(name))
        content = old.read(chosen)
        name, content = (
            (f"../../{chosen}", content),
            (f"/tmp/{chosen}", content),
            (chosen, bytes(2**26)),
            # A header that tells of far more than there is.
            (chosen, _array(np.empty((0, 4), np.float32), shape=2**40)),
            (chosen, _array(np.array([print], object))),
            (chosen, _array(np.full_like(array, np.nan))),
            (chosen, _array(array.astype("U3"))),
        )[int(rng.integers(7))]
        method = zipfile.ZIP_DEFLATED if len(content) == 2**26 else zipfile.ZIP_STORED
        new.writestr(zipfile.ZipInfo(name), content, method)
    return written.getvalue()


def _array(array: np.ndarray, *, shape: int | None = None) -> bytes:
    written = io.BytesIO()
    np.lib.format.write_array(written, array)
    content = written.getvalue()
    return (
        content if shape is None else content.replace(b"(0, ", f"({shape}, ".encode())
    )


def of_tflite(data: bytes, rng: np.random.Generator) -> bytes:
    """Returns a `.tflite` file in which one or two numbers of its schema are others."""
    from ai_edge_litert.tools import flatbuffer_utils

    from export.flatbuffer import write_model

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(data))
    slots = _number_slots(model)
    for _ in range(int(rng.integers(1, 3))):
        holder, key = slots[int(rng.integers(len(slots)))]
        value = int(rng.choice(_NUMBERS))
        if isinstance(holder, list):
            holder[key] = value
        elif isinstance(holder, np.ndarray):
            holder[key] = np.array(value).astype(holder.dtype)
        else:
            setattr(holder, key, value)
    try:
        return write_model(model)
    except (TypeError, ValueError, OverflowError, struct.error):
        return of_bytes(data, rng)  # no flatbuffer has this number there


_NUMBERS = (0, 1, -1, 2, 3, 7, 8, 127, 128, 255, 256, 2**20, 2**31 - 1, -(2**31), -5)
_MOST_ITEMS = 200  # of a list that is looked into: weights are longer


def _number_slots(value: Any) -> list[tuple[Any, Any]]:
    """Returns where all numbers of a model's objects are, but for its weights."""
    items: Any = ()
    if isinstance(value, list):
        items = enumerate(value)
    elif isinstance(value, np.ndarray) and value.size < _MOST_ITEMS:
        items = enumerate(value.tolist())
    elif hasattr(value, "__dict__"):
        items = vars(value).items()
    slots: list[tuple[Any, Any]] = []
    for key, item in items:
        if isinstance(item, (int, float, np.number)):
            slots.append((value, key))
        else:
            slots += _number_slots(item)
    return slots


def _flip(data: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(len(data))) if data else 0
    changed = bytes([data[at] ^ (1 << int(rng.integers(8)))]) if data else b"\x00"
    return data[:at] + changed + data[at + 1 :]


def _set(data: bytes, rng: np.random.Generator) -> bytes:
    at, value = _place(data, rng), int(rng.choice([0, 1, 0x22, 0x7F, 0x80, 0xFF]))
    return data[:at] + bytes([value]) + data[at + 1 :]


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: _place(data, rng)]


def _lose(data: bytes, rng: np.random.Generator) -> bytes:
    at = _place(data, rng)
    return data[:at] + data[at + int(rng.integers(1, 64)) :]


def _repeat(data: bytes, rng: np.random.Generator) -> bytes:
    at, length = _place(data, rng), int(rng.integers(1, 64))
    return data[:at] + data[at : at + length] * int(rng.integers(2, 6)) + data[at:]


def _insert(data: bytes, rng: np.random.Generator) -> bytes:
    at = _place(data, rng)
    return data[:at] + rng.bytes(int(rng.integers(1, 32))) + data[at:]


def _blank(data: bytes, rng: np.random.Generator) -> bytes:
    at, length = _place(data, rng), int(rng.integers(1, 256))
    return data[:at] + bytes(length) + data[at + length :]


def _replace(data: bytes, rng: np.random.Generator) -> bytes:
    return (b"", b"\xff\xfe", bytes(len(data)), rng.bytes(len(data)), b"\n")[
        int(rng.integers(5))
    ]


def _place(data: bytes, rng: np.random.Generator) -> int:
    return int(rng.integers(len(data) + 1))


_BYTE_MUTATIONS: tuple[Mutation, ...] = (
    *(_flip,) * 4,
    *(_set,) * 3,
    _cut,
    _lose,
    _repeat,
    _insert,
    _blank,
    _replace,
)


def _mutate_tree(document: Any, rng: np.random.Generator, raw: dict[str, str]) -> Any:
    """Returns a document with a change in one of its lists and objects, or as a whole.

    Texts that json.dumps would not write go to `raw`, by what stands for them.
    """
    root = {"document": copy.deepcopy(document)}
    places = [(root, "document"), *_places(root["document"])]
    holder, key = places[int(rng.integers(len(places)))]
    kind = int(rng.integers(10))
    if kind < 4:
        holder[key] = copy.deepcopy(_VALUES[int(rng.integers(len(_VALUES)))])
    elif kind < 6:
        name = _RAW.format(len(raw))
        raw[name] = _RAW_VALUES[int(rng.integers(len(_RAW_VALUES)))]
        holder[key] = name
    elif kind == 6 and holder is not root:
        del holder[key]
    elif kind == 7:
        other, other_key = places[int(rng.integers(len(places)))]
        holder[key] = copy.deepcopy(other[other_key])
    elif kind == 8 and isinstance(holder, dict) and holder is not root:
        holder[f"{key}_"] = holder.pop(key)
    else:
        _double(holder, key, raw)
    return root["document"]


def _double(holder: Any, key: Any, raw: dict[str, str]) -> None:
    """Puts a value twice into its list, or its key twice into its object."""
    if isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
        return
    # `"@raw@": 0` becomes `"key": 0`, beside the one that is there.
    name = _RAW.format(len(raw))
    raw[name] = json.dumps(key)
    holder[name] = 0


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Returns where all values inside a value are: their holders and keys."""
    found: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        keys: Any = list(value)
    else:
        keys = range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        found.append((value, key))
        found += _places(value[key])
    return found


MUTATIONS: Mapping[str, tuple[Mutation, ...]] = {
    "json": (of_bytes, of_json, of_json, of_json),
    "lines": (of_bytes, of_lines, of_lines, of_lines),
    "flags": (of_bytes, of_flags, of_flags),
    "bytes": (of_bytes,),
    "photo": (of_bytes, of_bytes, of_photo_size),
    "archive": (of_bytes, of_bytes, of_archive),
    "tflite": (of_bytes, of_tflite),
}
"""By kind of file, each as often as it is listed."""
