"""The wire format, on the examples of protobuf.dev/programming-guides/encoding."""

from __future__ import annotations

import pytest

from export.benchmark.proto_wire import (
    read_fields,
    read_float,
    read_int,
    read_message,
    read_packed,
)


def test_number_of_two_bytes() -> None:
    assert read_int(read_fields(b"\x08\x96\x01"), 1) == 150


def test_text() -> None:
    assert read_message(read_fields(b"\x12\x07testing"), 2) == b"testing"


def test_message_within_a_message() -> None:
    inner = read_message(read_fields(b"\x1a\x03\x08\x96\x01"), 3)
    assert inner is not None
    assert read_int(read_fields(inner), 1) == 150


def test_packed_and_single_numbers() -> None:
    packed = read_fields(b"\x32\x06\x03\x8e\x02\x9e\xa7\x05")
    assert list(read_packed(packed, 6)) == [3, 270, 86942]
    single = read_fields(b"\x30\x03\x30\x8e\x02")
    assert list(read_packed(single, 6)) == [3, 270]
    assert list(read_packed(single, 7)) == []


def test_float_and_double() -> None:
    fields = read_fields(b"\x0d\x00\x00\x20\x40\x11" + bytes(8))
    assert read_float(fields, 1) == 2.5
    assert read_float(fields, 2) is None  # a double
    assert read_float(fields, 3) is None


def test_negative_number_takes_ten_bytes() -> None:
    assert read_int(read_fields(b"\x08" + b"\xfe" + b"\xff" * 8 + b"\x01"), 1) == -2


def test_last_value_counts() -> None:
    assert read_int(read_fields(b"\x08\x01\x08\x02"), 1) == 2


def test_value_of_another_kind_is_none() -> None:
    fields = read_fields(b"\x08\x01\x12\x01a")
    assert (read_message(fields, 1), read_int(fields, 2)) == (None, None)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (b"\x08", "end within a number"),
        (b"\x08\x96", "end within a number"),
        (b"\x12\x07test", "Received: 6 bytes of at least 9"),
        (b"\x0d\x00", "Received: 2 bytes of at least 5"),
        (b"\x0b", "wire type 3"),
        (b"\x08" + b"\xff" * 11, "end within a number"),
    ],
)
def test_damaged_message_is_refused(message: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_fields(message)
