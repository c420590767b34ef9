import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mobilenas_tf.training.config import DistributionConfig
from mobilenas_tf.training.distribution import make_strategy
from tests.training import loop_test

ROOT = Path(__file__).resolve().parents[2]


def pytest_of_two_devices(marks):
    """Returns how the tests of `two_devices` end, in a process of their own."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", f"-m={marks}"]
        + ["-p", "tests.training.divided_processor", "tests/training/two_devices.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "marks", ["not slow", pytest.param("slow", marks=pytest.mark.slow)]
)
def test_two_devices_train_as_one(marks):
    done = pytest_of_two_devices(marks)
    assert done.returncode == 0, done.stdout


def search_on_two_workers(folder, epochs):
    """Returns what each of two processes tells."""
    logs = [folder.parent / f"log{index}" for index in range(2)]
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            each.bind(("localhost", 0))
        hosts = [f"localhost:{each.getsockname()[1]}" for each in (first, second)]
    processes = []
    for index, log in enumerate(logs):
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": {"worker": hosts}, "task": task})
        command = [sys.executable, "-m", "tests.training.one_of_two_workers"]
        with log.open("w") as file:
            processes.append(
                subprocess.Popen(
                    [*command, str(folder), str(epochs)],
                    cwd=ROOT,
                    env={**os.environ, "TF_CONFIG": config},
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
            )
    for process, log in zip(processes, logs, strict=True):
        assert process.wait() == 0, log.read_text()
    return [json.loads(log.read_text().splitlines()[-1]) for log in logs]


@pytest.mark.slow
def test_two_workers_search_as_one_and_go_on_where_they_stopped(tmp_path):
    one = loop_test.search_trainer()
    loop_test.train(one, tmp_path / "one", 2)
    search_on_two_workers(tmp_path / "two", 1)
    first, second = search_on_two_workers(tmp_path / "two", 2)
    assert (first["share"], second["share"]) == ([0, 2], [1, 2])
    assert first["folder"] == str(tmp_path / "two") != second["folder"]
    assert first["gates"] == second["gates"]
    assert first["agreed"] == second["agreed"] == [0.5, 0.1]
    rows = loop_test.rows_of(tmp_path / "one")
    for told in (first, second):
        np.testing.assert_allclose(told["rows"], rows, atol=1e-5)
    for ours, theirs in zip(
        first["gates"], one.supernet.architecture_variables, strict=True
    ):
        np.testing.assert_allclose(ours, np.array(theirs), atol=1e-4)


def test_one_device_is_no_strategy():
    assert make_strategy(DistributionConfig()) is None
    with pytest.raises(ValueError, match="none on a machine of one device"):
        make_strategy(DistributionConfig("mirrored"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "chief", "index": 0}}',
        '{"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}',
        '{"cluster": {"worker": "a:1"}, "task": {"type": "worker", "index": 0}}',
    ],
)
def test_workers_need_a_cluster(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=r"TF_CONFIG must be JSON such as \{\"cluster"):
        make_strategy(DistributionConfig("multi_worker"))
