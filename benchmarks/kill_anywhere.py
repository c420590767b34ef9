"""Searches and trainings that are killed, and end as if they had not been.

Each method runs once undisturbed. Then it is killed again and again, half of the times
by SIGKILL at a random moment, half between the writing, the flushing and the renaming
of a file (`kill_launcher`); after each kill the same command is started again. In the
end all results in the run folder (metrics, networks, weights, journals; not what tells
of the starts themselves, nor what is drawn from them) are compared with those of the
undisturbed run, times apart. A kill counts if no start failed, if the next one went on
behind the newest checkpoint (a run that begins anew would end the same, too), and if
nothing differs.

Besides there are stops by SIGTERM, which must leave with status 143, and kills of Ray's
workers. All runs are --deterministic: else two undisturbed runs differ as well.

Run: python -m benchmarks.kill_anywhere --processes=1
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from benchmarks import evidence
from benchmarks.jobs import Job, results_folder, run_jobs, workdir
from benchmarks.run_comparison import differences
from mobilenas_tf.reporting.terminal import format_table

_METHODS = flags.DEFINE_list(
    "methods",
    ["figs", "dnas", "one_shot", "joint", "classifier", "detector"],
    "Which, of METHODS; figs is needed for trainings.",
)
_KILLS = flags.DEFINE_integer("kills", 20, "Kills of each method.", 2)
_STOPS = flags.DEFINE_integer("stops", 2, "Stops of each method by SIGTERM.", 0)
_WORKERS = flags.DEFINE_integer("workers", 4, "Kills of workers of Ray.", 0)

_SAVING = ("--deterministic", "--checkpoint_minutes=0.005")
_DIGITS = ("--dataset=digits", "--batch_size=64")
_FEW_DIGITS = (*_DIGITS, "--max_train_images=256")
_FIGS = ("--space=figs_quantized_16", "--max_macs=6e5,3e5", "--epochs=5")
_CUTS = ("--retrace_steps=0", "--dead_below=0.3")
# The smallest settings that go through everything that a method does; what they must
# have written stands below.
METHODS: dict[str, tuple[str, ...]] = {
    "figs": ("search_figs", *_DIGITS, *_SAVING, *_FIGS, *_CUTS),
    "dnas": (
        *("search_dnas", *_FEW_DIGITS, *_SAVING, "--space=fbnet_32", "--max_macs=6e6"),
        *("--epochs=3", "--num_samples=2"),
    ),
    "one_shot": (
        *("search_one_shot", *_FEW_DIGITS, *_SAVING, "--space=nas_bench_macro"),
        *("--max_macs=40e6", "--epochs=3", "--sampled_networks=1"),
        # By chance: so few images show of no operation that it is behind.
        *("--shrink_by=random", "--shrink_rounds=2", "--calibration_images=64"),
        *("--score_images=64", "--population=6", "--generations=3"),
    ),
    "joint": (
        *("search_joint", *_FEW_DIGITS, "--deterministic", "--max_macs=6e5"),
        *("--epochs=1", "--warmup_epochs=0", "--evaluations=8", "--first_round=4"),
        *("--batch=2", "--pool=64"),
    ),
    "classifier": (
        *("train_classifier", *_DIGITS, *_SAVING, "--architecture={figs}"),
        *("--epochs=5", "--mixup_alpha=0.2", "--ema_decay=0.9"),
    ),
    "detector": (
        *("train_detector", "--dataset=digit_scenes", "--max_train_images=64"),
        *("--batch_size=8", "--image_size_px=64", "--epochs=3", *_SAVING),
        "--architecture=mobilenet_v2_0.35",
    ),
}
WRITTEN = {
    "figs": ("shrinking.json", "snapshots"),
    "dnas": ("operators.json", "samples"),
    "one_shot": ("turned_off.json", "evaluations.jsonl", "front"),
    "joint": ("evaluations.jsonl", "rounds.jsonl", "recipe.json"),
}
_WITH_RAY = ("--workers=ray", "--ray_workers=2")
_NEEDED = "figs"  # finds what is trained
_KILLS_A_JOB = 5
_MOST_RUNS = 10  # for each kill: a run may end before it is killed
_STOP_SECONDS = 300.0  # for a process to answer SIGTERM
# A process that never came to say what it stopped by, or was asked to stop.
_STOPPED = (128 + signal.SIGTERM, -signal.SIGTERM)

Results = Mapping[str, Any]


def main(_: Sequence[str]) -> None:
    """Runs all jobs, prints the table and one JSON object."""
    results = run_jobs(_jobs(), _work, results_folder())
    rows = [_row(method, results) for method in _METHODS.value]
    print(format_table(list(rows[0]), rows))
    total = {key: sum(row[key] for row in rows) for key in rows[0] if key != "method"}
    evidence.finish(
        figures={"rows": rows, "runs": results},
        settings={"methods": METHODS, "kills": _KILLS.value, "stops": _STOPS.value},
        targets=[
            evidence.target(
                f"kills, of {_KILLS.value * len(rows)}, behind which the run went on "
                "and ended the same",
                total["kills_same"],
                _KILLS.value * len(rows),
                at_most=False,
            ),
            *(
                evidence.target(name, total[key], total[of], at_most=False)
                for name, key, of in (
                    ("the same of stops by SIGTERM", "stops_same", "stops"),
                    ("the same of kills of workers", "workers_same", "workers"),
                )
                if total[of]
            ),
        ],
    )


def _row(method: str, results: Results) -> dict[str, Any]:
    row: dict[str, Any] = {"method": method}
    for name, kinds in (
        ("kills", ("timed", "injected")),
        ("stops", ("stopped",)),
        ("workers", ("workers",)),
    ):
        runs = [
            run
            for job, result in results.items()
            for run in result.get("runs", ())
            if job.startswith(f"{method}_") and job.split("_")[-2] in kinds
        ]
        row[name] = sum(len(run["ends"]) for run in runs)
        row[f"{name}_same"] = sum(len(run["ends"]) for run in runs if not run["faults"])
    return row


def _jobs() -> list[Job]:
    methods = dict.fromkeys([_NEEDED, *_METHODS.value])
    jobs = [
        Job(_reference(each), {"command": METHODS[each]}, _needs(each))
        for each in methods
    ]
    for method in _METHODS.value:
        counts = {
            "timed": _KILLS.value // 2,
            "injected": _KILLS.value - _KILLS.value // 2,
            "stopped": _STOPS.value,
            "workers": _WORKERS.value if method == "joint" else 0,
        }
        for kind, count in counts.items():
            for part, start in enumerate(range(0, count, _KILLS_A_JOB)):
                settings = {
                    "command": METHODS[method],
                    "method": method,
                    "kind": kind,
                    "count": min(count - start, _KILLS_A_JOB),
                    "part": part,
                }
                needs = (_reference(method), *_needs(method))
                jobs.append(Job(f"{method}_{kind}_{part}", settings, needs))
    return jobs


def _reference(method: str) -> str:
    return f"{method}_reference"


def _needs(method: str) -> tuple[str, ...]:
    is_trained = any("{figs}" in argument for argument in METHODS[method])
    return (_reference(_NEEDED),) if is_trained else ()


def _work(job: Job, needed: Results) -> dict[str, Any]:
    settings = job.settings
    if "kind" not in settings:
        return _undisturbed(job)
    reference = needed[_reference(settings["method"])]
    kinds = list(METHODS)
    seed = [
        kinds.index(settings["method"]),
        settings["part"],
        *settings["kind"].encode(),
    ]
    rng = np.random.default_rng(seed)
    left, runs, longest = settings["count"], [], reference["seconds"]
    for number in range(_MOST_RUNS * left):
        folder = workdir() / job.name / str(number)
        started = time.monotonic()
        runs.append(_disturbed(folder, settings, left, reference, longest, rng))
        left -= len(runs[-1]["ends"])
        if not runs[-1]["ends"]:  # all of it, perhaps on a host that is quieter by now
            longest = min(longest, time.monotonic() - started)
        if not left:
            break
    return {"runs": runs}


def _undisturbed(job: Job) -> dict[str, Any]:
    """Returns what a run takes, and how many events of writing it has."""
    folder, log = workdir() / job.name, workdir() / f"{job.name}.events"
    shutil.rmtree(folder, ignore_errors=True)
    log.unlink(missing_ok=True)
    started = time.monotonic()
    process, _ = _start(folder, job.settings["command"], log, 0)
    if process.wait():
        raise SystemExit(f"error: {job.name} must end; see {_output(folder)}")
    seconds = time.monotonic() - started
    method = job.name.removesuffix("_reference")
    for name in WRITTEN.get(method, ()):
        if not (folder / name).exists():
            raise SystemExit(f"error: METHODS of {method} must come to write {name}")
    lines = log.read_text().splitlines()
    return {"seconds": seconds, "events": [_without_numbers(line) for line in lines]}


def _without_numbers(event: str) -> str:
    """Returns an event by the name that such files have in all runs."""
    return re.sub(r"\.[0-9a-f]{16}\.|[-\d]+", "", event)


def _disturbed(
    folder: Path,
    settings: Mapping[str, Any],
    most: int,
    reference: Results,
    longest: float,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Returns how a run that was ended up to `most` times came to its end.

    Each start is ended within the `longest` seconds that it may take. `ends` says what
    each end was, `faults` what was wrong.
    """
    kind, command = settings["kind"], tuple(settings["command"])
    command += _WITH_RAY if kind == "workers" else ()
    shutil.rmtree(folder, ignore_errors=True)
    log = folder.parent / "events"
    ends: list[str] = []
    faults: list[str] = []
    while not faults:
        is_killed = len(ends) < most
        saved = _newest_checkpoint(folder)
        log.unlink(missing_ok=True)
        fatal = 0
        if is_killed and kind == "injected":
            fatal = _fatal_event(reference["events"], rng)
        process, said = _start(folder, command, log, fatal)
        told = ""
        if is_killed and kind != "injected":
            told = _end(process, kind, float(rng.uniform(0, longest)))
        status = process.wait()
        output = _output(folder).read_text()[said:]
        if saved and re.search(r"\d+/\d+: ", output) and "Going on in" not in output:
            faults.append(f"it did not go on behind {saved}")
        if status == -signal.SIGKILL and kind != "stopped":
            ends.append(told or log.read_text().splitlines()[-1])
        elif status in _STOPPED and told:
            ends.append(told)
        elif status:
            faults.append(f"status {status}: {output.splitlines()[-1:]}")
        else:
            ends += [told] if told and kind == "workers" else []
            faults += differences(workdir() / _reference(settings["method"]), folder)
            break
    if not faults:
        shutil.rmtree(folder)
    return {"ends": ends, "faults": faults}


def _fatal_event(events: Sequence[str], rng: np.random.Generator) -> int:
    """Returns the number of an event; each kind of each file is as likely."""
    name = rng.choice(sorted(set(events)))
    return 1 + int(rng.choice([at for at, event in enumerate(events) if event == name]))


def _start(
    folder: Path, command: Sequence[str], log: Path, fatal: int
) -> tuple[subprocess.Popen[bytes], int]:
    """Starts a binary; returns its process, and the length of its output so far."""
    tool, *arguments = (
        argument.format(figs=workdir() / _reference(_NEEDED)) for argument in command
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    launcher = [sys.executable, "-m", "benchmarks.kill_launcher", str(fatal), str(log)]
    with _output(folder).open("ab") as output:
        said = output.tell()
        process = subprocess.Popen(
            [*launcher, f"tools.{tool}", *arguments, f"--workdir={folder}"],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TF_NUM_INTRAOP_THREADS": "1"},
        )
    return process, said


def _output(folder: Path) -> Path:
    return folder.with_suffix(".log")


def _end(process: subprocess.Popen[bytes], kind: str, seconds: float) -> str:
    """Ends a process, or a worker of it, after some seconds; returns what it did.

    Nothing, if the process has come to its own end before.
    """
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        pass
    else:
        return ""
    if kind == "timed":
        process.kill()
        return f"SIGKILL after {seconds:.1f} s"
    if kind == "stopped":
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return f"no answer to SIGTERM after {_STOP_SECONDS:.0f} s"
        return f"SIGTERM after {seconds:.1f} s"
    if not (workers := _workers(process.pid)):
        return ""
    os.kill(workers[0], signal.SIGKILL)
    return f"SIGKILL of a worker after {seconds:.1f} s"


def _workers(process_id: int) -> list[int]:
    """Returns the ids of the workers of Ray that a process has started."""
    parents, names = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat, name = (folder / "stat").read_text(), (folder / "cmdline").read_text()
        except OSError:  # it has ended meanwhile
            continue
        parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
        names[int(folder.name)] = name
    family = {process_id}
    for _ in itertools.repeat(None, len(parents)):
        grown = family | {each for each, parent in parents.items() if parent in family}
        if grown == family:
            break
        family = grown
    return sorted(each for each in family if names[each].startswith("ray::_Actor"))


def _newest_checkpoint(folder: Path) -> str | None:
    names = [path.name for path in (folder / "checkpoints").glob("ckpt-*")]
    return max(names, key=lambda name: [*map(int, name.split("-")[1:])], default=None)


if __name__ == "__main__":
    app.run(main)
