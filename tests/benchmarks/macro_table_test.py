import json

import pytest

from benchmarks.macro_table import banded, mean_tau, read_table

# Digits: two layers of the first stage, three of the second, three of the third.
ROWS = {
    "00102000": {"mean_acc": 90.0, "flops": 10, "params": 1},
    "00120000": {"mean_acc": 92.0, "flops": 10, "params": 1},  # the same network
    "22222222": {"mean_acc": 93.0, "flops": 18, "params": 3},
    "11111111": {"mean_acc": 91.0, "flops": 12, "params": 2},
    "00000000": {"mean_acc": 60.0, "flops": 3, "params": 1},
}


@pytest.fixture
def entries(tmp_path):
    path = tmp_path / "table.json"
    path.write_text(json.dumps(ROWS))
    return list(read_table(str(path)).values())


def test_keys_of_one_network_are_one_entry_with_their_mean(entries):
    assert sorted(entry.accuracy for entry in entries) == [60.0, 91.0, 91.0, 93.0]
    assert sorted(entry.layers for entry in entries) == [0, 2, 8, 8]


def test_bands_that_are_not_full_are_left_out(entries):
    (band,) = banded(entries, width=10, per_band=3, seed=0)
    assert {entry.macs for entry in band} == {10, 12, 18}
    assert banded(entries, width=10, per_band=4, seed=0) == []


def test_tau_is_1_for_the_right_order_and_0_for_none(entries):
    bands = banded(entries, width=10, per_band=3, seed=0)
    networks = bands[0]
    right = {id(entry): entry.accuracy for entry in networks}
    wrong = {id(entry): -entry.accuracy for entry in networks}
    assert mean_tau(bands, right) == pytest.approx(1.0)
    assert mean_tau(bands, wrong) == pytest.approx(-1.0)
    assert mean_tau(bands, dict.fromkeys(right, 0.0)) == 0.0
