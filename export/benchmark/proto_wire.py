"""Protocol buffers in their wire format, read without generated classes.

https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

# By the three bits that say how a value is written.
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def read_fields(message: bytes) -> dict[int, list[int | bytes]]:
    """Returns the values of a message by field number, in their order.

    A varint is an unsigned int; what has a fixed width or a length (float, string,
    message, packed numbers) is bytes.

    Raises:
        ValueError: If the message is cut off or no protocol buffer.
    """
    fields: dict[int, list[int | bytes]] = {}
    position = 0
    while position < len(message):
        key, position = _read_varint(message, position)
        value, position = _read_value(message, position, key & 7)
        fields.setdefault(key >> 3, []).append(value)
    return fields


def _read_value(message: bytes, position: int, kind: int) -> tuple[int | bytes, int]:
    if kind == _VARINT:
        return _read_varint(message, position)
    if kind == _LENGTH:
        length, position = _read_varint(message, position)
    elif kind in (_FIXED64, _FIXED32):
        length = 8 if kind == _FIXED64 else 4
    else:
        raise ValueError(
            "message must be a protocol buffer. Received: one with a value of wire "
            f"type {kind} at byte {position}"
        )
    end = position + length
    if end > len(message):
        raise ValueError(
            f"message must be whole. Received: {len(message)} bytes of at least {end}"
        )
    return message[position:end], end


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):  # 64 bits in pieces of 7
        if position >= len(message):
            break
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError(
        "message must be a whole protocol buffer. Received: "
        f"{len(message)} bytes that end within a number"
    )


def read_message(fields: dict[int, list[int | bytes]], number: int) -> bytes | None:
    """Returns the last message or string of a field, or None if there is none."""
    value = fields.get(number, [None])[-1]
    return value if isinstance(value, bytes) else None


def read_float(fields: dict[int, list[int | bytes]], number: int) -> float | None:
    """Returns the last `float` of a field, or None if there is none."""
    value = fields.get(number, [None])[-1]
    if not isinstance(value, bytes) or len(value) != 4:
        return None
    return struct.unpack("<f", value)[0]


def read_int(fields: dict[int, list[int | bytes]], number: int) -> int | None:
    """Returns the last integer of a field, signed, or None if there is none."""
    value = fields.get(number, [None])[-1]
    if not isinstance(value, int):
        return None
    return value - (1 << 64) if value >= 1 << 63 else value


def read_packed(fields: dict[int, list[int | bytes]], number: int) -> Iterator[int]:
    """Yields the integers of a repeated field, packed or not."""
    for value in fields.get(number, []):
        if isinstance(value, int):
            yield value
            continue
        position = 0
        while position < len(value):
            item, position = _read_varint(value, position)
            yield item
