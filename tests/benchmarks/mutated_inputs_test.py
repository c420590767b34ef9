"""The damage is damage, the same at every run, and the oracle finds bad readers."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import mutated_inputs
from benchmarks.mutated_inputs import CASES, damage, find_targets, judge, planned
from benchmarks.mutation_case import PLAIN, Case, survives, writes
from benchmarks.mutations import MUTATIONS
from mobilenas_tf.json_io import read_json, write_json

VALID = {"a": [1, 2], "b": {"c": "text"}}


def _case(
    read: Callable[[Path], Any] = read_json,
    accept: Callable[[Any, Any], bool] | None = None,
    *,
    names_file: bool = True,
) -> Case:
    return Case(
        "made up",
        "json",
        writes("a.json", write_json, VALID),
        read,
        accept or survives(write_json, read_json),
        names_file=names_file,
    )


def _judged(folder: Path, case: Case, content: bytes = b"[") -> tuple[str, str]:
    case.make(folder).write_bytes(content)
    return judge(case, folder / "a.json", VALID)


@pytest.mark.parametrize("name", [c.name for c in CASES.values() if c.group == PLAIN])
def test_damage_is_damage_and_repeats(name: str, tmp_path: Path) -> None:
    data = CASES[name].make(tmp_path).read_bytes()
    damaged = [damage(CASES[name], data, index=index, seed=3) for index in range(150)]
    assert data not in damaged
    again = [damage(CASES[name], data, index=index, seed=3) for index in (7, 149)]
    assert again == [damaged[7], damaged[149]]
    assert len(set(damaged)) > 75  # short files have few versions
    assert damage(CASES[name], data, index=7, seed=4) != damaged[7]


def test_damaged_json_is_often_json_still(tmp_path: Path) -> None:
    case = CASES["architecture"]
    data = case.make(tmp_path).read_bytes()
    damaged = [damage(case, data, index=index, seed=0) or b"" for index in range(200)]
    count = 0
    for content in damaged:
        try:
            json.loads(content)
        except (ValueError, RecursionError):
            continue
        count += 1
    assert 60 < count < 180


def test_some_files_become_folders() -> None:
    case = _case()
    damaged = [damage(case, b"[1, 2]", index=index, seed=0) for index in range(1000)]
    assert 3 <= damaged.count(None) <= 22  # 10 of 1000, 4 * sqrt(10) = 13


def test_every_kind_of_file_and_group_has_its_cases() -> None:
    assert {case.kind for case in CASES.values()} == MUTATIONS.keys()
    plan = planned(list(CASES.values()), mutated_inputs.MIN_MUTATIONS + 1000)
    assert len(plan) >= mutated_inputs.MIN_MUTATIONS
    assert {name for name, _ in plan} == CASES.keys()


def test_a_good_reader_passes(tmp_path: Path) -> None:
    assert _judged(tmp_path, _case()) == (
        "refused",
        f"{tmp_path}/a.json must be JSON. Received: Expecting value: line 1 column 2 "
        "(char 1)",
    )
    assert _judged(tmp_path, _case(), b'{"a": 3}') == ("accepted", "")


def _raising(error: Exception) -> Callable[[Path], Any]:
    def read(path: Path) -> Any:
        raise error

    return read


def _hang(path: Path) -> Any:
    while True:
        pass


def _leave_something(path: Path) -> Any:
    path.with_name("half.json").write_text("{")
    return read_json(path)


@pytest.mark.parametrize(
    ("case", "outcome", "detail"),
    [
        (_case(_raising(KeyError("a"))), "stack trace", "KeyError('a')"),
        (_case(_raising(RecursionError())), "stack trace", "RecursionError()"),
        (_case(_raising(MemoryError())), "stack trace", "MemoryError()"),
        (_case(_raising(OSError(errno.EIO, "x"))), "stack trace", "OSError(5, 'x')"),
        (_case(_raising(ValueError("no"))), "wrong", "without naming the file: no"),
        (_case(_raising(ValueError(""))), "wrong", "without naming the file"),
        (_case(_raising(ValueError("a.json" * 999))), "wrong", "in 5994 letters"),
        (_case(_leave_something), "wrong", "refused, and changed the folder"),
        (_case(lambda path: 1, lambda *_: False), "wrong", "accepted a wrong file"),
        (_case(lambda path: {1}), "stack trace", "TypeError"),
        (_case(_hang), "hang", "more than 0.2 s"),
    ],
)
def test_a_bad_reader_is_found(
    case: Case,
    outcome: str,
    detail: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mutated_inputs, "MAX_SECONDS", 0.2)
    found, told = _judged(tmp_path, case)
    assert found == outcome
    assert detail in told


def test_a_reader_of_contents_need_not_name_the_file(tmp_path: Path) -> None:
    case = _case(_raising(ValueError("no")), names_file=False)
    assert _judged(tmp_path, case) == ("refused", "no")


def test_targets_count_only_if_a_check_of_the_syntax_fails_them() -> None:
    attempts = [
        mutated_inputs.Attempt("a", 0, "refused", is_json_to_json_loads=True),
        mutated_inputs.Attempt("a", 1, "accepted", is_json_to_json_loads=True),
        mutated_inputs.Attempt("a", 2, "hang"),
    ]
    total = mutated_inputs.summarize("all", attempts)
    assert (total["files"], total["refused"], total["hangs"]) == (3, 1, 1)
    targets = {t["name"]: t for t in find_targets(total, attempts)}
    assert not targets["damaged files"]["met"]
    assert targets["stack traces"]["met"] and not targets["hangs"]["met"]
    (wrong,) = (t for name, t in targets.items() if name.startswith("wrong"))
    assert wrong["met"] and wrong["baseline"] == 1.0
