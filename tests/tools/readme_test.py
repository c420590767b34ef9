"""What README.md and the binaries' own examples tell the user to type exists."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mobilenas_tf.block_spaces import TABLES as BLOCK_TABLES
from mobilenas_tf.joint_spaces import SPACES as JOINT_SPACES
from mobilenas_tf.one_shot_spaces import SPACES as ONE_SHOT_SPACES
from mobilenas_tf.spaces import TABLES
from mobilenas_tf.zoo import ZOO

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BINARIES = sorted(path.stem for path in ROOT.glob("tools/*.py"))
FLAG = re.compile(r"--(\w+)(?:=([\w.]+))?")
EVIDENCE = re.compile(r"`python -m benchmarks\.(\w+)([^`]*)`")
CALL = re.compile(r"python -m tools\.(\w+)")


@functools.cache
def _flags(binary: str) -> frozenset[str]:
    """Returns the names of a binary's flags, from its own help."""
    done = subprocess.run(
        [sys.executable, "-m", f"tools.{binary}", "--helpxml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    elements = ElementTree.fromstring(done.stdout).findall("flag")
    # --flagfile is absl's own, and every binary's.
    return frozenset(
        {"flagfile", *(str(element.findtext("name")) for element in elements)}
    )


def _commands(text: str) -> list[tuple[str, str]]:
    """Returns `(binary, arguments)` of each call; a call ends with its line or row.

    A row of a table that begins with `...` goes on with the binary above it.
    """
    commands, binary = [], ""
    for line in text.replace("\\\n", " ").splitlines():
        calls = list(CALL.finditer(line))
        if calls:
            binary = calls[-1][1]
            commands.append((binary, line[calls[-1].end() :]))
        elif "`... --" in line:
            commands.append((binary, line))
    return commands


def _docstring_commands() -> list[tuple[str, str]]:
    docstrings = [
        ast.get_docstring(ast.parse((ROOT / "tools" / f"{name}.py").read_text())) or ""
        for name in BINARIES
    ]
    return [command for text in docstrings for command in _commands(text)]


def test_every_binary_of_the_readme_exists_and_has_the_flags() -> None:
    commands = _commands(README)
    assert len(commands) >= 15
    assert {binary for binary, _ in commands} <= set(BINARIES)
    for binary, arguments in commands:
        used = {name for name, _ in FLAG.findall(arguments)}
        assert used <= _flags(binary), f"tools.{binary}"


def test_every_flag_of_the_readme_is_some_binarys() -> None:
    known = frozenset().union(*(_flags(binary) for binary, _ in _commands(README)))
    of_others = {"logdir"}  # tensorboard's
    readme = EVIDENCE.sub("", README)
    used = {name for name, _ in FLAG.findall(readme)} - of_others
    assert used <= known | {"help"}


def test_the_examples_of_the_binaries_have_flags_that_exist() -> None:
    commands = _docstring_commands()
    assert len(commands) >= 8
    for binary, arguments in commands:
        used = {name for name, _ in FLAG.findall(arguments)}
        assert used <= _flags(binary), f"tools.{binary}"


@pytest.mark.parametrize(
    ("flag", "known"),
    [
        ("space", {*TABLES, *BLOCK_TABLES, *ONE_SHOT_SPACES, *JOINT_SPACES, *ZOO}),
        ("architecture", {*ZOO, "runs", "network.json"}),
    ],
)
def test_every_name_in_the_readme_is_known(flag: str, known: set[str]) -> None:
    values = {value for name, value in FLAG.findall(README) if name == flag}
    assert values
    assert values <= set(known)


def test_every_evidence_script_of_the_readme_exists_and_has_the_flags() -> None:
    commands = EVIDENCE.findall(README)
    assert len(commands) >= 5
    for name, arguments in commands:
        source = _with_imported_scripts(name)
        for flag, _ in FLAG.findall(arguments):
            assert f'"{flag}"' in source, f"benchmarks.{name} --{flag}"


def _with_imported_scripts(name: str) -> str:
    """Returns the text of an evidence script and of those whose flags it takes over."""
    source = (ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")
    imported = re.findall(r"^from benchmarks\.(\w+) import", source, re.MULTILINE)
    for names in re.findall(r"^from benchmarks import (.+)", source, re.MULTILINE):
        imported += names.split(", ")
    return "".join([source, *map(_with_imported_scripts, imported)])


def test_every_target_of_make_in_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"(?:`|^)make (\w+)", README, re.MULTILINE))
    assert {"demo", "test"} <= targets
    assert targets <= set(re.findall(r"^(\w+):", makefile, re.MULTILINE))
