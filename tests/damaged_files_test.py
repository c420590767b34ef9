"""Damaged files of every kind: refused with one sentence, or harmless.

The readers, their valid files and the judgement are those of
`benchmarks.mutated_inputs`, which tries thousands; the damage here is Hypothesis',
which finds the smallest that a reader does not stand.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.mutated_inputs import judge
from benchmarks.mutation_case import Case
from benchmarks.mutation_json import JSON_CASES
from benchmarks.mutation_reports import REPORT_CASES
from benchmarks.mutation_texts import TEXT_CASES
from tests.damaged import PROPERTY, damaged_bytes, damaged_json, damaged_lines

CASES = [case for case in (*JSON_CASES, *TEXT_CASES) if case.kind != "photo"]
DAMAGE = {"json": damaged_json, "lines": damaged_lines}


def _check(case: Case, folder: Path, max_examples: int) -> None:
    whole = folder / "whole"
    whole.mkdir()
    path = case.make(whole)
    data, place = path.read_bytes(), path.relative_to(whole)

    def copied(name: str) -> Path:
        shutil.rmtree(folder / name, ignore_errors=True)
        return Path(shutil.copytree(whole, folder / name)) / place

    valid = case.read(copied("valid"))
    damages = [damaged_bytes(data)]
    if case.kind in DAMAGE:
        damages += [DAMAGE[case.kind](data)] * 2

    @settings(PROPERTY, max_examples=max_examples)
    @given(st.one_of(damages))
    def is_refused_or_harmless(content: bytes) -> None:
        path = copied("damaged")
        path.write_bytes(content)
        outcome, detail = judge(case, path, valid)
        assert outcome in ("refused", "accepted"), detail

    is_refused_or_harmless()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_damaged_file_is_refused_or_harmless(case: Case, tmp_path: Path) -> None:
    # To go on with a run asks git for its revision.
    _check(case, tmp_path, max_examples=30 if case.name.startswith("run") else 200)


@pytest.mark.parametrize("case", REPORT_CASES, ids=lambda case: case.name)
def test_a_damaged_file_of_a_run_is_shown_or_named(case: Case, tmp_path: Path) -> None:
    _check(case, tmp_path, max_examples=50)
