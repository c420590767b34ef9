"""Runs binaries as a user does, in processes of their own."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a process printed, and its exit status."""

    status: int
    stdout: str
    stderr: str

    @property
    def result(self) -> Any:
        """The JSON object in the last line, of a process that succeeded."""
        assert self.status == 0, self.stderr
        return json.loads(self.stdout.splitlines()[-1])

    @property
    def mistake(self) -> str:
        """The one sentence that a user gets for a mistake."""
        # LiteRT tells on standard error that it starts to work.
        lines = [
            line for line in self.stderr.splitlines() if not line.startswith("INFO: ")
        ]
        assert (self.status, len(lines)) == (1, 1), self.stderr
        sentence = re.fullmatch("error: (.+)", lines[0])
        assert sentence is not None, self.stderr
        return sentence[1]


def run_binary(folder: Path, name: str, *arguments: str) -> Answer:
    """Returns the answer of `python -m tools.NAME ARGUMENTS`, started in a folder."""
    return _run_python(folder, "-m", f"tools.{name}", *arguments)


def run_binaries(folder: Path, calls: Mapping[str, Sequence[str]]) -> dict[str, Answer]:
    """Returns the answers of several calls, each a binary's name and its arguments.

    One process imports TensorFlow and Keras, which takes seconds, and forks for each
    call.
    """
    answers = _run_python(folder, "-c", _FORK_FOR_EACH, json.dumps(calls)).result
    return {key: Answer(**answer) for key, answer in answers.items()}


def _run_python(folder: Path, *arguments: str) -> Answer:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)  # the tests': a binary has its own
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


_FORK_FOR_EACH = """
import gc, json, os, runpy, sys, tempfile
from tools.flag_config import import_tensorflow

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import_tensorflow()
import keras
gc.freeze()  # a child that ends need not collect what is not its own
answers = {}
for key, (name, *arguments) in json.loads(sys.argv[1]).items():
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        child = os.fork()
        if child == 0:
            os.dup2(stdout.fileno(), 1)
            os.dup2(stderr.fileno(), 2)
            sys.argv = [name, *arguments]
            runpy.run_module(f"tools.{name}", run_name="__main__", alter_sys=True)
            sys.exit()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        answers[key] = {"status": status}
        for name, file in (("stdout", stdout), ("stderr", stderr)):
            file.seek(0)
            answers[key][name] = file.read().decode()
print(json.dumps(answers))
"""
