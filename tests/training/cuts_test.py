from pathlib import Path

import pytest

from mobilenas_tf.json_io import read_json
from mobilenas_tf.training.cuts import CUTS_FILE, Cut, read_cuts, write_cuts

CUTS = (Cut(1, 80_000, {"stem/output": 8}), Cut(3, 60_000, {"stem/output": 0}))


def test_cuts_survive_their_file(tmp_path: Path) -> None:
    assert read_cuts(tmp_path / CUTS_FILE) == ()
    write_cuts(tmp_path / CUTS_FILE, CUTS)
    assert read_cuts(tmp_path / CUTS_FILE) == CUTS
    assert read_json(tmp_path / CUTS_FILE)[0] == {
        "epoch": 1,
        "macs": 80_000,
        "widths": {"stem/output": 8},
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "must be a list"),
        ('[{"epoch": 1}]', r"\[0\] must have the key 'macs'"),
        ('[{"epoch": 1, "macs": 2, "widths": {"a": 1.5}}]', r"\[0\]/widths/a must be"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / CUTS_FILE).write_text(text)
    with pytest.raises(ValueError, match=f"{CUTS_FILE}{words}|{CUTS_FILE} {words}"):
        read_cuts(tmp_path / CUTS_FILE)
