"""Thousands of damaged and hostile files, and what every reader makes of them.

A valid file of each kind that the toolkit reads is damaged: bits flipped, ends cut off,
JSON values, keys and items replaced, nested without end, sizes in headers made huge. A
reader passes if it refuses the file with one sentence that names it, and leaves the
folder as it was; or if what it accepts is no wrong file: the same as the valid one
where there is a checksum, and else a value that is the same when written and read
again.
Anything else counts: another exception or a process that dies (a stack trace), more
than 10 seconds of processor time (a hang), a wrong file accepted.

How many of the damaged JSON files `json.loads` takes stands beside: a check of the
syntax alone would let these through.

Run: python -m benchmarks.mutated_inputs
"""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import queue
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from benchmarks import evidence
from benchmarks.mutation_case import Case
from benchmarks.mutation_json import JSON_CASES
from benchmarks.mutation_models import MODEL_CASES
from benchmarks.mutation_reports import REPORT_CASES
from benchmarks.mutation_texts import TEXT_CASES
from benchmarks.mutations import MUTATIONS
from mobilenas_tf.reporting.terminal import format_table
from tools.flag_config import USER_ERROR_NUMBERS, USER_ERRORS, run

CASES = {
    case.name: case for case in (*JSON_CASES, *REPORT_CASES, *TEXT_CASES, *MODEL_CASES)
}
MAX_SECONDS = 10.0  # of the processor, for a file
MAX_WALL_SECONDS = 180.0
MAX_MEMORY_BYTES = 3 * 2**30  # that a process may take besides what it begins with
MAX_LETTERS = 1000  # of an error message
MIN_MUTATIONS = 10_000
# Every so many files there is a folder in the place of the file.
_FOLDERS = 100
COLUMNS = (
    "reader",
    "files",
    "refused",
    "accepted",
    "stack traces",
    "hangs",
    "wrong",
    "slowest (s)",
)

_MUTATIONS = flags.DEFINE_integer(
    "mutations", 14_000, "Damaged files, all readers together.", 1
)
_SEED = flags.DEFINE_integer("damage_seed", 0, "Of the damage.", 0)
_ONLY = flags.DEFINE_string("only", "", "Only readers whose name holds this.")
_DAMAGED_FOLDER = flags.DEFINE_string(
    "damaged_folder", None, "Used by the script itself."
)


@dataclasses.dataclass(frozen=True)
class Attempt:
    """What became of one damaged file.

    `outcome` is `refused`, `accepted`, `stack trace`, `hang` or `wrong`; `detail` says
    what was thrown or is wrong.
    """

    case: str
    index: int
    outcome: str
    detail: str = ""
    seconds: float = 0.0
    is_json_to_json_loads: bool = False


class HangError(BaseException):
    """A reader took too long; no `except Exception` of it may swallow this."""


def planned(cases: Sequence[Case], mutations: int) -> list[tuple[str, int]]:
    """Returns the damaged files of the cases, `(case, index)`, by their shares."""
    whole = sum(case.share for case in cases)
    return [
        (case.name, index)
        for case in cases
        for index in range(max(round(mutations * case.share / whole), 1))
    ]


def damage(case: Case, data: bytes, *, index: int, seed: int) -> bytes | None:
    """Returns other bytes than a valid file's; None for a folder in its place."""
    rng = np.random.default_rng([seed, zlib.crc32(case.name.encode()), index])
    if rng.integers(_FOLDERS) == 0:
        return None
    mutations = MUTATIONS[case.kind]
    damaged = data
    while damaged == data:
        damaged = mutations[int(rng.integers(len(mutations)))](data, rng)
    return damaged


def attempt(
    case: Case, whole: Path, file: Path, valid: Any, *, index: int, seed: int
) -> Attempt:
    """Returns what a reader makes of one damaged file.

    Args:
        case: The reader.
        whole: Folder with the valid file.
        file: Its path in the folder.
        valid: What the reader makes of the valid file.
        index: Which damage.
        seed: Of all damage.
    """
    data = damage(case, (whole / file).read_bytes(), index=index, seed=seed)
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "input"
        shutil.copytree(whole, folder)
        path = folder / file
        path.unlink()
        if data is None:
            path.mkdir()
        else:
            path.write_bytes(data)
        started = time.perf_counter()
        outcome, detail = judge(case, path, valid)
        seconds = time.perf_counter() - started
    return Attempt(case.name, index, outcome, detail, seconds, _is_json(data))


def judge(case: Case, path: Path, valid: Any) -> tuple[str, str]:
    """Returns outcome and detail, as an `Attempt` has them, of a file that is there.

    Args:
        case: The reader.
        path: Of the damaged file, in a folder that has nothing but the case's files.
        valid: What the reader makes of the valid file.
    """
    before = _content(path.parent)
    previous = signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)
    try:
        outcome, detail = _try(case, path, valid)
    except HangError:
        outcome, detail = "hang", f"more than {MAX_SECONDS:g} s"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)
    if outcome == "refused" and _content(path.parent) != before:
        return "wrong", f"refused, and changed the folder: {detail}"
    return outcome, detail


def _stop(*_: Any) -> None:
    raise HangError


def _try(case: Case, path: Path, valid: Any) -> tuple[str, str]:
    try:
        found = case.read(path)
        fine = case.accept(found, valid)
    except Exception as error:  # any: that none but a user's comes is to be shown
        is_users = isinstance(error, USER_ERRORS)
        if is_users or getattr(error, "errno", None) in USER_ERROR_NUMBERS:
            return _refused(case, path, error)
        return "stack trace", repr(error)[:MAX_LETTERS]
    return ("accepted", "") if fine else ("wrong", "accepted a wrong file")


def _refused(case: Case, path: Path, error: Exception) -> tuple[str, str]:
    text = " ".join(str(error).split())
    if case.names_file and path.name not in text and path.parent.name not in text:
        return "wrong", f"refused without naming the file: {text[:MAX_LETTERS]}"
    if not text or len(text) > MAX_LETTERS:
        return "wrong", f"refused in {len(text)} letters: {text[:MAX_LETTERS]}"
    return "refused", text[:200]


def _content(folder: Path) -> dict[Path, bytes | None]:
    return {
        path: path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def _is_json(data: bytes | None) -> bool:
    try:
        json.loads(data or b"")
    except (ValueError, RecursionError):
        return False
    return True


def work(plan: Sequence[tuple[str, int]], examples: Path, *, seed: int) -> None:
    """Tries the files of a plan, in the process of one group; tells each as it ends."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    wholes: dict[str, tuple[Path, Path, Any]] = {}
    is_limited = False
    for name, index in plan:
        case = CASES[name]
        if name not in wholes:
            whole = examples / _folder_name(case)
            file = Path((examples / f"{_folder_name(case)}.path").read_text())
            with tempfile.TemporaryDirectory() as parent:
                folder = Path(parent) / "input"
                shutil.copytree(whole, folder)
                wholes[name] = (whole, file, case.read(folder / file))
        if not is_limited:
            _limit_memory()
            is_limited = True
        done = attempt(case, *wholes[name], index=index, seed=seed)
        print(json.dumps(dataclasses.asdict(done)), file=out, flush=True)


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MAX_MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _folder_name(case: Case) -> str:
    return f"{zlib.crc32(case.name.encode()):08x}"


def write_examples(cases: Sequence[Case], folder: Path) -> None:
    """Writes the valid file of every case."""
    for case in cases:
        whole = folder / _folder_name(case)
        whole.mkdir()
        path = case.make(whole)
        (folder / f"{_folder_name(case)}.path").write_text(str(path.relative_to(whole)))


def run_group(plan: Sequence[tuple[str, int]], examples: Path) -> Iterator[Attempt]:
    """Gives what became of each file; a process that dies is started anew behind it."""
    done = 0
    while done < len(plan):
        plan_path = examples / "plan.json"
        plan_path.write_text(json.dumps(plan[done:]))
        command = [sys.executable, "-m", "benchmarks.mutated_inputs"]
        process = subprocess.Popen(
            [*command, f"--damaged_folder={examples}", f"--damage_seed={_SEED.value}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        lines = _lines_of(process)
        detail = "the process died"
        while done < len(plan):
            try:
                line = lines.get(timeout=MAX_WALL_SECONDS)
            except queue.Empty:
                process.kill()
                detail = f"nothing for {MAX_WALL_SECONDS:g} s"
                break
            if line is None:
                break
            yield Attempt(**json.loads(line))
            done += 1
        status = process.wait()
        if done < len(plan):
            outcome = "hang" if "nothing" in detail else "stack trace"
            yield Attempt(*plan[done], outcome, f"{detail}, status {status}")
            done += 1


def _lines_of(process: subprocess.Popen[str]) -> queue.Queue[str | None]:
    """Returns a process' lines as they come, with None behind the last."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in process.stdout or ():
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    return lines


def summarize(name: str, attempts: Sequence[Attempt]) -> dict[str, Any]:
    """Returns the row of a reader, or of all."""
    counts = collections.Counter(each.outcome for each in attempts)
    return {
        "reader": name,
        "files": len(attempts),
        "refused": counts["refused"],
        "accepted": counts["accepted"],
        "stack traces": counts["stack trace"],
        "hangs": counts["hang"],
        "wrong": counts["wrong"],
        "slowest (s)": max(each.seconds for each in attempts),
    }


def find_targets(
    total: Mapping[str, Any], attempts: Sequence[Attempt]
) -> list[dict[str, Any]]:
    """Returns the targets; what json.loads takes and readers refuse is the baseline."""
    missed = sum(e.is_json_to_json_loads and e.outcome == "refused" for e in attempts)
    return [
        evidence.target("damaged files", total["files"], MIN_MUTATIONS, at_most=False),
        evidence.target("stack traces", total["stack traces"], 0, at_most=True),
        evidence.target("hangs", total["hangs"], 0, at_most=True),
        evidence.target(
            "wrong files accepted, folders changed, files not named",
            total["wrong"],
            0,
            at_most=True,
            baseline=float(missed),
        ),
    ]


def main() -> None:
    """Damages files and prints what became of them."""
    if _DAMAGED_FOLDER.value:
        examples = Path(_DAMAGED_FOLDER.value)
        plan = json.loads((examples / "plan.json").read_text())
        work(plan, examples, seed=_SEED.value)
        return
    cases = [case for case in CASES.values() if _ONLY.value in case.name]
    plan = planned(cases, _MUTATIONS.value)
    attempts: list[Attempt] = []
    with tempfile.TemporaryDirectory() as folder:
        write_examples(cases, Path(folder))
        for group in sorted({case.group for case in cases}):
            part = [entry for entry in plan if CASES[entry[0]].group == group]
            for each in run_group(part, Path(folder)):
                attempts.append(each)
                if each.outcome not in ("refused", "accepted"):
                    print(f"{each.case} [{each.index}]: {each.outcome}: {each.detail}")
                if len(attempts) % 1000 == 0:
                    print(f"{len(attempts)}/{len(plan)} files", flush=True)
    rows = [
        summarize(case.name, [each for each in attempts if each.case == case.name])
        for case in cases
    ]
    total = summarize("all", attempts)
    print(format_table(COLUMNS, [*rows, total]))
    evidence.finish(
        figures={
            "readers": rows,
            "all": total,
            "refused_although_json": sum(
                e.is_json_to_json_loads and e.outcome == "refused" for e in attempts
            ),
            "faults": [
                dataclasses.asdict(each)
                for each in attempts
                if each.outcome not in ("refused", "accepted")
            ],
        },
        settings={
            "mutations": _MUTATIONS.value,
            "seed": _SEED.value,
            "max_seconds": MAX_SECONDS,
            "max_memory_bytes": MAX_MEMORY_BYTES,
        },
        targets=find_targets(total, attempts),
    )


if __name__ == "__main__":
    run(main)
