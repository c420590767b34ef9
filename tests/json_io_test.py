import dataclasses
import json
import os
from typing import Any, Literal, TypedDict

import numpy as np
import pytest

from mobilenas_tf.block_spaces import TABLES as BLOCK_TABLES
from mobilenas_tf.block_spaces import named_block_space
from mobilenas_tf.json_io import (
    architecture_from_plain,
    from_plain,
    read_architecture,
    read_json,
    read_object,
    to_plain,
    write_architecture,
    write_json,
)
from mobilenas_tf.spaces import TABLES, named_space
from mobilenas_tf.spec import Architecture, Convolution, Head, Pooling, Stage
from mobilenas_tf.zoo import ZOO, zoo_architecture

_NETWORK = Architecture(
    name="small",
    image_size_px=32,
    stem=Convolution(8, 3, 2),
    stages=(Stage((Convolution(16), Pooling("average", 3, 2))), Stage()),
    head=Head(10, hidden_channels=20),
)


@dataclasses.dataclass(frozen=True)
class _Settings:
    rate: float
    sizes: tuple[int, ...]
    mode: Literal["fast", "slow"]
    label: str | None


_SETTINGS = {"rate": 0.5, "sizes": [3, 5], "mode": "fast", "label": None}


def _document() -> dict:
    return {"schema_version": 1, "architecture": to_plain(_NETWORK)}


def _read(tmp_path, document):
    path = tmp_path / "architecture.json"
    path.write_text(json.dumps(document))
    return read_architecture(path)


def _error(tmp_path, document) -> str:
    with pytest.raises(ValueError) as error:
        _read(tmp_path, document)
    return str(error.value).removeprefix(str(tmp_path) + os.sep)


@pytest.mark.parametrize("name", ZOO)
def test_zoo_networks_survive_the_round_trip(name, tmp_path):
    network = zoo_architecture(name)
    write_architecture(tmp_path / "a.json", network)
    assert read_architecture(tmp_path / "a.json") == network


@pytest.mark.parametrize("name", TABLES)
def test_sampled_networks_survive_the_round_trip(name, tmp_path):
    space = named_space(name)
    for genotype in (
        space.largest(),
        space.smallest(),
        space.sample(np.random.default_rng(0)),
    ):
        network = space.resolve(genotype)
        write_architecture(tmp_path / "a.json", network)
        assert read_architecture(tmp_path / "a.json") == network


@pytest.mark.parametrize("name", BLOCK_TABLES)
def test_networks_of_chosen_operators_survive_the_round_trip(name, tmp_path):
    space = named_block_space(name)
    network = space.resolve(space.sample(np.random.default_rng(0)))
    write_architecture(tmp_path / "a.json", network)
    assert read_architecture(tmp_path / "a.json") == network


def test_bits_that_cannot_be_are_named_with_file_and_place(tmp_path):
    space = named_block_space("bits_mobilenet_v2_32")
    network = space.resolve(space.sample(np.random.default_rng(0)))
    document = {"schema_version": 1, "architecture": to_plain(network)}
    block = document["architecture"]["stages"][1]["blocks"][0]
    block["bit_widths"]["weights"] = 16
    assert _error(tmp_path, document) == (
        "architecture.json/stages[1]/blocks[0]/bit_widths: weights of BitWidths must "
        "be an integer from 2 to 8. Received: weights=16"
    )


def test_every_kind_of_block_survives_the_round_trip(tmp_path):
    assert _read(tmp_path, _document()) == _NETWORK


def test_the_file_says_version_and_kind_of_block(tmp_path):
    write_architecture(tmp_path / "a.json", _NETWORK)
    document = json.loads((tmp_path / "a.json").read_text())
    assert document["schema_version"] == 1
    blocks = document["architecture"]["stages"][0]["blocks"]
    assert [block["type"] for block in blocks] == ["Convolution", "Pooling"]
    assert blocks[1]["kernel_size"] == 3


def test_an_unknown_key_is_named_with_file_and_place(tmp_path):
    document = _document()
    document["architecture"]["stem"]["kernel"] = 3
    message = _error(tmp_path, document)
    assert message.startswith("architecture.json/stem must have the keys activation, ")
    assert message.endswith("Received: unknown key 'kernel'")


def test_a_missing_key_is_named_with_file_and_place(tmp_path):
    document = _document()
    del document["architecture"]["head"]["num_classes"]
    message = _error(tmp_path, document)
    assert message.startswith("architecture.json/head must have the key 'num_classes'")


def test_a_key_that_older_files_do_not_have_takes_its_default(tmp_path):
    network = zoo_architecture("mobilenet_v2")
    plain = to_plain(network)
    for key in ("padding_px", "bit_widths"):
        assert plain["stages"][0]["blocks"][0].pop(key) is None
    document = {"schema_version": 1, "architecture": plain}
    assert _read(tmp_path, document) == network


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_version_is_refused(tmp_path, version):
    message = _error(tmp_path, {**_document(), "schema_version": version})
    assert message.startswith("architecture.json must have schema_version 1. Received:")


def test_a_document_without_version_is_refused(tmp_path):
    message = "architecture.json must have schema_version 1. Received: None"
    assert _error(tmp_path, to_plain(_NETWORK)) == message
    assert _error(tmp_path, [_document()]).startswith(
        "architecture.json must be a JSON object. Received: [{'schema_version': 1, "
    )
    assert _error(tmp_path, {**_document(), "schema_version": True}) == (
        "architecture.json must have schema_version 1. Received: True"
    )


def test_a_key_beside_the_architecture_is_refused(tmp_path):
    message = _error(tmp_path, {**_document(), "comment": "mine"})
    assert "must have the keys schema_version and architecture only" in message
    assert "comment" in message


def test_a_channel_count_of_0_is_named_with_file_and_place(tmp_path):
    document = _document()
    document["architecture"]["stem"]["out_channels"] = 0
    assert _error(tmp_path, document) == (
        "architecture.json/stem: out_channels of Convolution must be an integer of at "
        "least 1. Received: out_channels=0"
    )


def test_a_channel_count_of_0_is_named_once_for_a_relative_path():
    plain = to_plain(_NETWORK)
    plain["stages"][0]["blocks"][0]["out_channels"] = 0
    with pytest.raises(ValueError) as error:
        architecture_from_plain(plain, "run/architecture.json")
    message = str(error.value)
    assert message.startswith("run/architecture.json/stages[0]/blocks[0]: out_channels")
    assert message.count("architecture.json") == 1


def test_a_block_that_does_not_fit_is_named_by_its_path(tmp_path):
    document = {
        "schema_version": 1,
        "architecture": to_plain(named_space("figs_mobilenet_v2_16").supernet),
    }
    document["architecture"]["stages"][0]["blocks"][0]["out_channels"] = 24
    message = _error(tmp_path, document)
    assert "out_channels of stage1/block0 must equal its 16 input channels" in message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("8", "stem/out_channels must be of type int. Received: '8'"),
        (8.0, "stem/out_channels must be of type int. Received: 8.0"),
        (True, "stem/out_channels must be of type int. Received: True"),
        (None, "stem/out_channels must be of type int. Received: None"),
    ],
)
def test_a_value_of_another_type_is_refused(tmp_path, value, message):
    document = _document()
    document["architecture"]["stem"]["out_channels"] = value
    assert message in _error(tmp_path, document)


def test_another_kind_of_block_is_refused(tmp_path):
    document = _document()
    block = document["architecture"]["stages"][0]["blocks"][0]
    block["type"] = "Attention"
    assert (
        "architecture.json/stages[0]/blocks[0]/type must be one of InvertedResidual, "
        "Convolution, Pooling. Received: 'Attention'" in _error(tmp_path, document)
    )
    del block["type"]
    assert "Received: None" in _error(tmp_path, document)
    document["architecture"]["stem"]["type"] = "Pooling"
    assert "stem/type must be Convolution. Received: 'Pooling'" in _error(
        tmp_path, document
    )


def test_a_file_that_is_no_json_is_named_with_the_place(tmp_path):
    path = tmp_path / "architecture.json"
    path.write_text('{"schema_version": 1,')
    with pytest.raises(ValueError, match="architecture.json must be JSON.*line"):
        read_architecture(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="architecture.json must be JSON"):
        read_architecture(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.json"):
        read_json(tmp_path / "absent.json")


def test_plain_values_become_a_dataclass():
    assert from_plain(_Settings, _SETTINGS, "s") == _Settings(0.5, (3, 5), "fast", None)
    settings = from_plain(_Settings, {**_SETTINGS, "rate": 1, "label": "a"}, "s")
    assert settings == _Settings(1.0, (3, 5), "fast", "a")
    assert type(settings.rate) is float


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": True}, "s/rate must be of type float. Received: True"),
        ({"sizes": 3}, "s/sizes must be a list. Received: 3"),
        ({"sizes": [3, "5"]}, "s/sizes[1] must be of type int. Received: '5'"),
        ({"mode": "lazy"}, "s/mode must be one of ('fast', 'slow'). Received: 'lazy'"),
        ({"label": 3}, "s/label must be of type str. Received: 3"),
    ],
)
def test_plain_values_of_another_type_are_refused(changes, message):
    with pytest.raises(ValueError) as error:
        from_plain(_Settings, {**_SETTINGS, **changes}, "s")
    assert str(error.value) == message


def test_an_object_is_expected_where_a_dataclass_is():
    with pytest.raises(ValueError, match="s must be a JSON object. Received:"):
        from_plain(_Settings, [1, 2], "s")


def test_mappings_and_nested_values_become_plain():
    assert to_plain({3: (Head(2), None)}) == {
        "3": [
            {
                "type": "Head",
                "num_classes": 2,
                "conv_channels": None,
                "hidden_channels": None,
                "has_hidden_bias": True,
                "activation": "relu6",
            },
            None,
        ]
    }


def test_writing_makes_folders_and_leaves_no_temporary_file(tmp_path):
    path = tmp_path / "a" / "b.json"
    write_json(path, {"x": 1})
    write_json(path, {"x": 2})
    assert read_json(path) == {"x": 2}
    assert os.listdir(path.parent) == ["b.json"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_json(path, {"x": 1})

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_json(path, {"x": 2})
    assert read_json(path) == {"x": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_value_that_json_lacks_writes_nothing(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert os.listdir(tmp_path) == []


@dataclasses.dataclass(frozen=True)
class _Shapes:
    pairs: tuple[tuple[str, int], ...]
    by_name: dict[str, float]
    scalar: str | int | None
    anything: Any


_SHAPES = {"pairs": [["a", 1]], "by_name": {"x": 2}, "scalar": 3, "anything": [{}]}


class _Open(TypedDict):
    rows: tuple[int, ...]


def test_mappings_pairs_and_scalars_become_a_dataclass():
    shapes = from_plain(_Shapes, _SHAPES, "s")
    assert shapes == _Shapes((("a", 1),), {"x": 2.0}, 3, [{}])
    assert type(shapes.by_name["x"]) is float
    assert from_plain(_Shapes, {**_SHAPES, "scalar": None}, "s").scalar is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pairs": [["a"]]}, "s/pairs[0] must be a list of 2. Received: ['a']"),
        ({"pairs": [["a", "1"]]}, "s/pairs[0][1] must be of type int. Received: '1'"),
        ({"by_name": []}, "s/by_name must be a JSON object. Received: []"),
        ({"by_name": {"x": "2"}}, "s/by_name/x must be of type float. Received: '2'"),
        (
            {"scalar": True},
            "s/scalar must be of type str or int or null. Received: True",
        ),
    ],
)
def test_mappings_pairs_and_scalars_of_another_type_are_refused(changes, message):
    with pytest.raises(ValueError) as error:
        from_plain(_Shapes, {**_SHAPES, **changes}, "s")
    assert str(error.value) == message


def test_a_typed_dict_takes_other_keys_too():
    assert from_plain(_Open, {"rows": [1], "x": None}, "s") == {"rows": (1,), "x": None}
    with pytest.raises(ValueError, match="s must have the key 'rows'. It is missing"):
        from_plain(_Open, {"x": None}, "s")
    with pytest.raises(ValueError, match=r"s/rows\[0\] must be of type int"):
        from_plain(_Open, {"rows": [1.5]}, "s")


@pytest.mark.parametrize("kind", [[], {}, 3, None, "Attention"])
def test_a_kind_of_block_that_is_no_name_is_refused(tmp_path, kind):
    document = _document()
    document["architecture"]["stages"][0]["blocks"][0]["type"] = kind
    assert "blocks[0]/type must be one of InvertedResidual" in _error(
        tmp_path, document
    )


def test_a_literal_does_not_take_an_equal_value_of_another_type():
    with pytest.raises(ValueError, match=r"s must be one of \(1, 2\). Received: True"):
        from_plain(Literal[1, 2], True, "s")


def test_what_is_shown_of_a_wrong_value_is_short(tmp_path):
    assert len(_error(tmp_path, {**_document(), "architecture": "x" * 10**6})) < 300


def test_a_file_of_something_else_than_an_object_is_named(tmp_path):
    write_json(tmp_path / "a.json", [1])
    with pytest.raises(
        ValueError, match=r"a.json must be a JSON object. Received: \[1\]"
    ):
        read_object(tmp_path / "a.json")


def test_a_name_with_line_ends_is_refused(tmp_path):
    document = _document()
    document["architecture"]["name"] = "two\nlines"
    assert "name of Architecture must be a name on one line" in _error(
        tmp_path, document
    )
