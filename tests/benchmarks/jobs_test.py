import json
import sys

import pytest
from absl import flags

from benchmarks import jobs

SCRIPT = """
import sys
from pathlib import Path
from absl import app
from benchmarks.jobs import Job, run_jobs

def work(job, needed):
    if job.settings.get("fails"):
        raise ValueError("as it should")
    Path(job.name + ".started").touch()
    return {"value": job.settings["value"] + sum(r["value"] for r in needed.values())}

def main(_):
    first = Job("first", {"value": 2})
    second = Job("second", {"value": 3, **SETTINGS}, needs=("first",))
    print(run_jobs([second, first], work, Path("results")))

app.run(main)
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Returns a function that runs two jobs, the second of which needs the first."""
    import subprocess
    from pathlib import Path

    root = Path(jobs.__file__).resolve().parent.parent
    package = tmp_path / "benchmarks"
    package.mkdir()
    for name in ("__init__", "jobs"):
        source = root / "benchmarks" / f"{name}.py"
        (package / f"{name}.py").write_text(
            source.read_text() if source.exists() else ""
        )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{root}")

    def run(settings="{}"):
        path = package / "script.py"
        path.write_text(SCRIPT.replace("SETTINGS", settings))
        return subprocess.run(
            [sys.executable, "-m", "benchmarks.script"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    return run


def test_results_are_stored_and_handed_to_those_that_need_them(script, tmp_path):
    done = script()
    assert done.returncode == 0, done.stderr
    assert "{'second': {'value': 5}, 'first': {'value': 2}}" in done.stdout
    stored = json.loads((tmp_path / "results" / "second.json").read_text())
    assert stored == {"settings": {"value": 3}, "result": {"value": 5}}


def test_a_stopped_script_runs_what_is_missing(script, tmp_path):
    script()
    (tmp_path / "results" / "second.json").unlink()
    for path in tmp_path.glob("*.started"):
        path.unlink()
    assert script().returncode == 0
    assert [path.name for path in tmp_path.glob("*.started")] == ["second.started"]


def test_a_failed_job_stops_the_script_and_names_its_log(script, tmp_path):
    done = script("{'fails': True}")
    assert done.returncode == 1
    assert "error: second failed; see results/second.log" in done.stderr
    assert "as it should" in (tmp_path / "results" / "second.log").read_text()
    assert (tmp_path / "results" / "first.json").exists()


def test_results_of_other_settings_are_refused(script):
    script()
    done = script("{'value': 4}")
    assert done.returncode == 1
    assert "must be of the same settings; give another folder" in done.stderr


def test_the_number_of_processes_is_a_flag():
    assert flags.FLAGS["processes"].default == 2
