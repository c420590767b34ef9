"""Files of a supernet that are damaged, or of another one."""

import json

import numpy as np
import pytest

from mobilenas_tf.json_io import read_json, write_json
from mobilenas_tf.models.array_file import read_arrays, write_arrays
from mobilenas_tf.models.one_shot_supernet import OneShotSupernet
from mobilenas_tf.search.config import OneShotConfig
from mobilenas_tf.search.one_shot_supernets import (
    TurnOff,
    check_same_images,
    read_supernet,
    read_turn_offs,
    write_supernet,
)
from mobilenas_tf.training.config import DataConfig
from tests.small_one_shot_space import small_one_shot_space

SPACE = small_one_shot_space()
LEFT = SPACE.without("stage2/block1/operation", "k3_e2")
EVENT = TurnOff(5, "score", "stage2/block1/operation", "k3_e2", "k5_e3", 0.03, 0.01)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("supernet")
    supernet = OneShotSupernet(SPACE, name="supernet")
    write_supernet(folder, supernet, LEFT, OneShotConfig())
    return folder, supernet


@pytest.fixture
def folder(whole, tmp_path):
    for path in whole[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_a_supernet_comes_back_with_what_was_turned_off(whole):
    supernet, left = read_supernet(whole[0], SPACE)
    assert left == LEFT
    for ours, theirs in zip(whole[1].weights, supernet.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert sorted(path.name for path in whole[0].iterdir()) == [
        "supernet.json",
        "supernet.npz",
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"space": "large"},
            "supernet.json must be of space=small. Received: space='l",
        ),
        ({"num_classes": "3"}, "supernet.json/num_classes must be of type int"),
        ({"has_shared_kernels": 1}, "supernet.json/has_shared_kernels must be of type"),
        ({"turned_off": [["a"]]}, r"supernet.json/turned_off\[0\] must be a list of 2"),
        ({"turned_off": [["a", "b"]]}, "supernet.json must fit the space: operation"),
        ({"colour": "red"}, "supernet.json must have the keys .* unknown key 'colour'"),
    ],
)
def test_a_description_that_is_off_is_named(folder, changes, words):
    path = folder / "supernet.json"
    write_json(path, {**read_json(path), **changes})
    with pytest.raises(ValueError, match=words):
        read_supernet(folder, SPACE)


@pytest.mark.parametrize("change", ["lost", "more", "shape"])
def test_weights_of_another_supernet_are_named(folder, change):
    arrays = read_arrays(folder / "supernet.npz")
    name = sorted(arrays)[0]
    if change == "lost":
        del arrays[name]
    else:
        arrays[f"{name}_" if change == "more" else name] = np.zeros(1, np.float32)
    write_arrays(folder / "supernet.npz", arrays)
    with pytest.raises(
        ValueError, match="supernet.npz must hold the weights of small. "
    ):
        read_supernet(folder, SPACE)


def test_damaged_weights_are_named(folder):
    data = (folder / "supernet.npz").read_bytes()
    (folder / "supernet.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="supernet.npz must be a whole file of arrays"):
        read_supernet(folder, SPACE)


def test_turn_offs_are_read_those_of_older_files_too(tmp_path):
    path = tmp_path / "turned_off.json"
    assert read_turn_offs(path) == ()
    row = {**vars(EVENT), "type": "Evidence"}
    for rows in ([vars(EVENT)], [row]):
        write_json(path, rows)
        assert read_turn_offs(path) == (EVENT,)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "turned_off.json must be a list"),
        ("[{}]", r"turned_off.json\[0\] must have the key 'behind'"),
        (
            json.dumps([{**vars(EVENT), "epoch": "5"}]),
            r"\[0\]/epoch must be of type int",
        ),
    ],
)
def test_turn_offs_that_are_off_are_named(tmp_path, text, words):
    (tmp_path / "turned_off.json").write_text(text)
    with pytest.raises(ValueError, match=words):
        read_turn_offs(tmp_path / "turned_off.json")


def test_images_that_a_supernet_has_learnt_from_do_not_score_it(tmp_path):
    check_same_images(tmp_path, DataConfig())
    write_json(tmp_path / "config.json", {"data": DataConfig()})
    check_same_images(tmp_path, DataConfig(batch_size=8))
    with pytest.raises(
        ValueError, match=r"validation_fraction must be as in .*=0.2 instead of 0.1"
    ):
        check_same_images(tmp_path, DataConfig(validation_fraction=0.2))
