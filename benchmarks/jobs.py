"""Many single runs, each in a process of its own, each result stored as it ends.

A script that was stopped goes on where it was; a new seed is only that seed's time.
What a job does is left to the script: it is started again with `--job=NAME`.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from mobilenas_tf.json_io import read_json, to_plain, write_json

_JOB = flags.DEFINE_string("job", None, "Used by the script itself.")
_PROCESSES = flags.DEFINE_integer(
    "processes", 2, "Runs at the same time, each with one thread.", 1
)
_SEEDS = flags.DEFINE_integer("seeds", 5, "Paired seeds.", 2)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the runs; by default runs/ and the script's name."
)
_RESULTS = flags.DEFINE_string(
    "results", None, "Folder of the runs' results; by default in --workdir."
)
_POLL_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class Job:
    """One run: `settings` decide its result, `needs` are jobs that come before."""

    name: str
    settings: Mapping[str, Any]
    needs: tuple[str, ...] = ()


def seeds() -> range:
    """Returns the paired seeds."""
    return range(_SEEDS.value)


def is_job() -> bool:
    """Returns whether this process is to do one job, not all."""
    return _JOB.value is not None


def job_name() -> str:
    """Returns the name of the job that this process is to do."""
    return _JOB.value or ""


def workdir() -> Path:
    """Returns the folder of the runs."""
    return Path(_WORKDIR.value or f"runs/{Path(sys.argv[0]).stem}")


def results_folder() -> Path:
    """Returns the folder of the runs' results."""
    return Path(_RESULTS.value) if _RESULTS.value else workdir() / "results"


def one_thread() -> None:
    """Restricts TensorFlow to one thread; call it before anything is computed."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def run_jobs(
    jobs: Sequence[Job],
    work: Callable[[Job, Mapping[str, Any]], Mapping[str, Any]],
    folder: Path,
) -> dict[str, Any]:
    """Runs the jobs that have no stored result; returns all results by name.

    Called again in the process of one job, it does that job's work and exits.

    Args:
        jobs: In the order in which they are wanted.
        work: `(job, results of what it needs) -> result`, plain values.
        folder: Where results are stored, `NAME.json`.

    Raises:
        ValueError: If the folder holds a result of other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    by_name = {job.name: job for job in jobs}
    if _JOB.value:
        job = by_name[_JOB.value]
        result = work(job, {name: _stored(by_name[name], folder) for name in job.needs})
        document = {"settings": job.settings, "result": result}
        write_json(folder / f"{job.name}.json", to_plain(document))
        sys.exit(0)
    results = {job.name: _stored(job, folder) for job in jobs}
    waiting = [job for job in jobs if results[job.name] is None]
    running: dict[str, subprocess.Popen[bytes]] = {}
    started = time.monotonic()
    while waiting or running:
        for name, process in list(running.items()):
            if process.poll() is not None:
                del running[name]
                if process.returncode:
                    raise SystemExit(f"error: {name} failed; see {_log(folder, name)}")
                results[name] = _stored(by_name[name], folder)
                done = sum(result is not None for result in results.values())
                minutes = (time.monotonic() - started) / 60
                print(f"{done}/{len(jobs)} {name} ({minutes:.0f} min)", flush=True)
        ready = [job for job in waiting if all(results[need] for need in job.needs)]
        for job in ready[: _PROCESSES.value - len(running)]:
            waiting.remove(job)
            running[job.name] = _start(job, folder)
        time.sleep(_POLL_SECONDS)
    return results


def _start(job: Job, folder: Path) -> subprocess.Popen[bytes]:
    script = f"benchmarks.{Path(sys.argv[0]).stem}"
    command = [sys.executable, "-m", script, *sys.argv[1:], f"--job={job.name}"]
    with _log(folder, job.name).open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


def _log(folder: Path, name: str) -> Path:
    return folder / f"{name}.log"


def _stored(job: Job, folder: Path) -> Any:
    path = folder / f"{job.name}.json"
    if not path.exists():
        return None
    document = read_json(path)
    settings = json.loads(json.dumps(to_plain(job.settings)))
    if document["settings"] != settings:
        raise ValueError(
            f"{path} must be of the same settings; give another folder. "
            f"Received: {document['settings']} instead of {settings}"
        )
    return document["result"]
