from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mobilenas_tf.whole_files import (
    append_line,
    remove_leftovers,
    replace_folder_when_whole,
    replace_when_whole,
    write_bytes_atomically,
)
from tests.small_disk import SIZE_BYTES, fill, small_disk


def test_a_file_is_flushed_then_renamed_then_its_name_is_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, flush, replace = [], os.fsync, os.replace

    def noted_flush(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        calls.append((kind, os.fstat(descriptor).st_size if kind == "file" else 0))
        flush(descriptor)

    def noted_replace(source: Path, target: Path) -> None:
        calls.append(("renamed to", target.name))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_flush)
    monkeypatch.setattr(os, "replace", noted_replace)
    write_bytes_atomically(tmp_path / "a.bin", b"abc")
    assert calls == [("file", 3), ("renamed to", "a.bin"), ("folder", 0)]


def test_files_get_the_usual_permissions(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        write_bytes_atomically(tmp_path / "a.bin", b"abc")
    finally:
        os.umask(umask)
    assert (tmp_path / "a.bin").read_bytes() == b"abc"
    assert stat.S_IMODE((tmp_path / "a.bin").stat().st_mode) == 0o640


def test_what_a_killed_process_leaves_is_removed_and_nothing_else(
    tmp_path: Path,
) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.json", ".hidden", ".0123456789abcdef", ".0123456789abcdeg.a"):
        (tmp_path / name).write_text("theirs")
    program = (
        "import os, signal, sys\n"
        "from mobilenas_tf.whole_files import replace_when_whole\n"
        "with replace_when_whole(sys.argv[1]) as path:\n"
        "    path.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, tmp_path / "sub" / "b.npz"])
    assert killed.returncode == -signal.SIGKILL
    (leftover,) = (tmp_path / "sub").iterdir()
    assert leftover.read_text() == "half" and leftover.suffix == ".npz"
    remove_leftovers(tmp_path)
    assert not leftover.exists()
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("torn", ["", '{"half', "x" * 10_000])
def test_a_line_takes_the_place_of_a_torn_one(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("one\n" + torn)
    append_line(path, "two")
    assert path.read_text() == "one\ntwo\n"


def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_the_old_one(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        write_bytes_atomically(disk / "a.bin", b"old")
        with pytest.raises(OSError, match="No space left") as error:
            write_bytes_atomically(disk / "a.bin", bytes(SIZE_BYTES))
        assert error.value.filename == str(disk / "a.bin")
        assert (disk / "a.bin").read_bytes() == b"old"
        assert os.listdir(disk) == ["a.bin"]


def test_a_full_disk_costs_a_journal_the_last_line_at_most(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        path, line = disk / "rows.jsonl", "x" * 10_000
        append_line(path, line)
        filling = fill(disk, leave_bytes=4096)
        with pytest.raises(OSError, match="No space left") as error:
            append_line(path, line)
        assert error.value.filename == str(path)
        filling.unlink()
        append_line(path, "after")
        assert path.read_text() == f"{line}\nafter\n"


def test_an_error_about_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        with replace_when_whole(tmp_path / "a.bin"):
            (tmp_path / "absent").read_bytes()
    assert error.value.filename == str(tmp_path / "absent")


def _write_folder(path: Path, text: str) -> None:
    with replace_folder_when_whole(path) as folder:
        (folder / "a.txt").write_text(text)


def _kill_in_replacement(path: Path, call: str) -> None:
    """Replaces a folder in a process that is killed on the way.

    Args:
        path: Of the folder.
        call: Where: `write 0` when it is half filled, `replace 1` or `replace 2` before
            the first or second renaming, `remove 0` before the old one is removed.
    """
    program = (
        "import os, shutil, signal, sys\n"
        "from mobilenas_tf.whole_files import replace_folder_when_whole\n"
        "def die():\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "name, left = sys.argv[2], [int(sys.argv[3])]\n"
        "replace = os.replace\n"
        "def counted(*names):\n"
        "    left[0] -= 1\n"
        "    replace(*names) if left[0] else die()\n"
        "if name == 'replace':\n"
        "    os.replace = counted\n"
        "with replace_folder_when_whole(sys.argv[1]) as folder:\n"
        "    (folder / 'a.txt').write_text('new')\n"
        "    if name == 'write':\n"
        "        die()\n"
        "    if name == 'remove':\n"
        "        shutil.rmtree = lambda *_, **__: die()\n"
    )
    command = [sys.executable, "-c", program, str(path), *call.split()]
    assert subprocess.run(command).returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("call", "stands"),
    [
        ("write 0", "old"),
        ("replace 1", "old"),
        ("replace 2", None),  # for as long as nothing else is exported there
        ("remove 0", "new"),
    ],
)
def test_a_folder_outlives_a_kill_of_what_replaces_it(
    tmp_path: Path, call: str, stands: str | None
) -> None:
    path = tmp_path / "bundle"
    _write_folder(path, "old")
    (tmp_path / "other").mkdir()
    _kill_in_replacement(path, call)
    text = (path / "a.txt").read_text() if path.exists() else None
    assert text == stands
    # What is whole is kept: an error in the next attempt leaves it.
    with pytest.raises(ValueError, match="theirs"):
        with replace_folder_when_whole(path):
            raise ValueError("theirs")
    assert (path / "a.txt").read_text() == (stands or "old")
    assert sorted(os.listdir(tmp_path)) == ["bundle", "other"]
    _write_folder(path, "newest")
    assert (path / "a.txt").read_text() == "newest"
    assert sorted(os.listdir(tmp_path)) == ["bundle", "other"]


def test_a_half_filled_folder_is_a_leftover_too(tmp_path: Path) -> None:
    _kill_in_replacement(tmp_path / "sub" / "bundle", "write 0")
    (leftover,) = (tmp_path / "sub").iterdir()
    (leftover / ".0123456789abcdef.a.txt").touch()
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path / "sub") == []


def test_the_leftovers_of_other_folders_are_not_touched(tmp_path: Path) -> None:
    with replace_folder_when_whole(tmp_path / "x.b"):
        _write_folder(tmp_path / "b", "mine")
    assert sorted(os.listdir(tmp_path)) == ["b", "x.b"]


def test_folders_get_the_usual_permissions(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        _write_folder(tmp_path / "bundle", "abc")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "bundle").stat().st_mode) == 0o750
