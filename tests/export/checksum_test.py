"""The file of a bundle that is no longer the one that was exported."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.bundle import write_bundle
from export.checksum import checksum
from export.interpreter import load_interpreter, read_tflite
from export.operators import operator_report
from mobilenas_tf.json_io import read_json, write_json
from tests.export.bundle_test import FACTS


@pytest.fixture
def model(tmp_path: Path, float_file: bytes) -> Path:
    return write_bundle(tmp_path, float_file, FACTS, command=["export"]).path


def _flip_a_weight(path: Path) -> None:
    """Changes a byte in the longest piece without a zero: weights."""
    content = path.read_bytes()
    piece = max(content.split(b"\0"), key=len)
    place = content.index(piece) + len(piece) // 2
    flipped = bytes([content[place] ^ 1])
    path.write_bytes(content[:place] + flipped + content[place + 1 :])


def test_the_checksum_stands_in_the_bundle(model: Path, float_file: bytes) -> None:
    made_by = read_json(model.parent / "export.json")
    assert made_by["model_sha256"] == checksum(float_file)
    assert read_tflite(model) == float_file


def test_a_damaged_weight_is_found_in_a_bundle_only(model: Path) -> None:
    _flip_a_weight(model)
    for read in (read_tflite, load_interpreter, operator_report):
        with pytest.raises(ValueError) as error:
            read(model)
        assert str(error.value) == (
            f"{model} must be the file that was exported; it was damaged or replaced, "
            "so export or copy it again, or remove export.json. Received: another "
            f"checksum than the one in {model.parent / 'export.json'}"
        )
    load_interpreter(model.rename(model.parent / "other.tflite"))


def test_bundles_of_earlier_versions_have_no_checksum(model: Path) -> None:
    path = model.parent / "export.json"
    made_by = read_json(path)
    del made_by["model_sha256"]
    write_json(path, made_by)
    load_interpreter(model)


def test_a_damaged_export_file_is_named(model: Path) -> None:
    (model.parent / "export.json").write_text("[")
    with pytest.raises(ValueError, match=r"export\.json must be JSON"):
        load_interpreter(model)
