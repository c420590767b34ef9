"""What of JSON is let in: plain values of sound size, and nothing given twice."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilenas_tf.json_text import LARGEST, MAX_DEPTH, parse_json, shown
from tests.damaged import PROPERTY, VALUES


def _nested(depth, inner="0"):
    return ("[" * depth + inner + "]" * depth).encode()


def test_plain_values_come_as_json_has_them():
    data = '{"a": [1, -2.5, true, null, "ä"], "b": {}}'.encode()
    assert parse_json(data, "f") == {"a": [1, -2.5, True, None, "ä"], "b": {}}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "Expecting value: line 1"),
        (b"\xff\xfe{}", "'utf-8' codec can't decode"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b"[NaN]", "NaN, which is no JSON number"),
        (b"[-Infinity]", "-Infinity, which is no JSON number"),
        (b"[1e999]", "a number too large for a float"),
        (b"[1e101]", "1e[+]101, a number beyond 1e-300 to 1e[+]100"),
        (b"[-1e-310]", "-1e-310, a number beyond"),
        (b"[9223372036854775808]", "an integer of more than 64 bits"),
        (b"9" * 5000, "4300 digits"),
        (b'{"a": 1, "b": 2, "a": 1}', "the key 'a' twice in an object"),
        (rb'["\ud800"]', "which is no text"),
        (rb'{"\udcff": 1}', "which is no text"),
        (_nested(MAX_DEPTH + 1), f"nested deeper than {MAX_DEPTH} levels"),
        (_nested(100_000), f"nested deeper than {MAX_DEPTH} levels"),
        (b'{"a":' * 100_000 + b"0" + b"}" * 100_000, "nested deeper than"),
    ],
)
def test_what_no_file_of_ours_has_is_refused(data, words):
    with pytest.raises(
        ValueError, match=rf"^f\.json must be JSON\. Received: .*{words}"
    ):
        parse_json(data, "f.json")


def test_the_bounds_themselves_are_let_in():
    assert parse_json(_nested(MAX_DEPTH), "f")
    numbers = [2**63 - 1, -(2**63), LARGEST, -LARGEST, 1e-300, 0.0, -0.0]
    assert parse_json(json.dumps(numbers).encode(), "f") == numbers


def test_keys_can_be_left_out_and_nan_let_in():
    data = b'[{"outline": [[1]], "box": [NaN, 1e999]}]'
    ((nan, inf),) = (
        row["box"]
        for row in parse_json(data, "f", leave_out=["outline"], allow_nan=True)
        if row.keys() == {"box"}
    )
    assert math.isnan(nan) and inf == math.inf


def test_values_are_shown_on_one_line_and_not_for_ever():
    assert shown({"a\n": 1}) == "{'a\\n': 1}"
    assert len(shown(["x" * 1000] * 1000)) < 130


def _is_sound(value):
    if isinstance(value, dict):
        return all(map(_is_sound, [*value, *value.values()]))
    if isinstance(value, list):
        return all(map(_is_sound, value))
    if isinstance(value, float):
        return value == 0 or 1e-300 <= abs(value) <= 1e100
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return True


@PROPERTY
@given(VALUES)
def test_sound_values_come_back_and_no_other_is_let_in(value):
    data = json.dumps(value).encode()
    if _is_sound(value):
        assert parse_json(data, "f") == value
    else:
        with pytest.raises(ValueError, match="^f must be JSON"):
            parse_json(data, "f")


@PROPERTY
@given(st.binary(max_size=30) | st.text(alphabet='[]{}",:0e-nulNa ').map(str.encode))
def test_any_bytes_are_a_sound_value_or_refused(data):
    try:
        value = parse_json(data, "f")
    except ValueError as error:
        assert str(error).startswith("f must be JSON. Received: ")
    else:
        assert _is_sound(value)
        assert json.loads(json.dumps(value, allow_nan=False)) == value
