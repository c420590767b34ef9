"""Archives of arrays: whole ones, damaged ones, and those that play tricks."""

import io
import os
import pickle
import zipfile

import numpy as np
import pytest

from mobilenas_tf.models.array_file import read_arrays, write_arrays

ARRAYS = {
    "stem.conv/kernel": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "head/bias": np.array([1, 2, 3]),
    "step": np.float32(0.5),
}


@pytest.fixture
def path(tmp_path):
    write_arrays(tmp_path / "arrays.npz", ARRAYS)
    return tmp_path / "arrays.npz"


def _assert_equal(found):
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def _put(path, name, content, **options):
    """Puts a member into the archive in the place of another."""
    with zipfile.ZipFile(path) as archive:
        members = {each: archive.read(each) for each in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for each, old in members.items():
            if each != name:
                archive.writestr(each, old)
        archive.writestr(name, content, **options)


def _array(array, **changes):
    written = io.BytesIO()
    np.lib.format.write_array(written, array)
    content = written.getvalue()
    for old, new in changes.values():
        assert old in content
        content = content.replace(old, new)
    return content


def test_arrays_come_back_as_they_were(path):
    _assert_equal(read_arrays(path))


def test_column_order_comes_back_too(tmp_path):
    array = np.asfortranarray(ARRAYS["stem.conv/kernel"])
    write_arrays(tmp_path / "a.npz", {"a": array})
    np.testing.assert_array_equal(read_arrays(tmp_path / "a.npz")["a"], array)


def test_every_single_flipped_bit_is_found_or_harmless(path):
    data = path.read_bytes()
    refused = 0
    for place in range(len(data)):
        flipped = bytes([data[place] ^ (1 << place % 8)])
        path.write_bytes(data[:place] + flipped + data[place + 1 :])
        try:
            found = read_arrays(path)
        except ValueError as error:
            assert str(error).startswith(f"{path} must be a whole file of arrays. ")
            refused += 1
        else:
            _assert_equal(found)
    assert refused > len(data) / 2


@pytest.mark.parametrize("length", [0, 1, 100, 500, -22, -1])
def test_a_file_that_is_cut_off_is_refused(path, length):
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match="must be a whole file of arrays"):
        read_arrays(path)


def test_a_pickle_is_refused_and_never_loaded(path, tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    _put(path, "step.npy", _array(np.array([Trap()], object)))
    with pytest.raises(ValueError, match="has .* bytes, not object of"):
        read_arrays(path)
    _put(path, "step.npy", pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="magic string is not correct"):
        read_arrays(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (bytes(2**24), {"compress_type": zipfile.ZIP_DEFLATED}, "is compressed"),
        (
            _array(
                np.empty((0, 4), np.float32), shape=(b"(0, 4)", b"(1099511627776, 4)")
            ),
            {},
            "has 12 bytes, not float32 of .1099511627776, 4",
        ),
        (
            _array(np.zeros((4, 4), np.float32), type=(b"<f4", b"<f2")),
            {},
            "has 64 bytes, not float16 of .4, 4",
        ),
        (_array(np.array([np.nan])), {}, "numbers that are not finite"),
        (_array(np.array(["text"])), {}, "not <U4 of"),
    ],
    ids=["compressed", "huge shape", "other type", "not finite", "text"],
)
def test_members_that_play_tricks_are_refused(path, content, options, words):
    _put(path, "step.npy", content, **options)
    with pytest.raises(ValueError, match=words):
        read_arrays(path)


@pytest.mark.parametrize("name", ["../../out.npy", "/tmp/out.npy", "a/../../out.npy"])
def test_names_that_are_paths_to_elsewhere_are_refused(path, tmp_path, name):
    _put(path, name, _array(np.zeros(2)))
    with pytest.raises(ValueError, match="is no name of an array"):
        read_arrays(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["arrays.npz"]


def test_an_array_twice_is_refused(path):
    with (
        zipfile.ZipFile(path, "a") as archive,
        pytest.warns(UserWarning, match="Duplicate name"),
    ):
        archive.writestr("step.npy", _array(np.zeros(2)))
    with pytest.raises(ValueError, match="3 arrays, not 4"):
        read_arrays(path)


def test_a_missing_file_and_a_folder_are_no_damaged_ones(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "absent.npz")
    with pytest.raises(IsADirectoryError):
        read_arrays(tmp_path)
