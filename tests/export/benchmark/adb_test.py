"""The real adb client: what it makes of our arguments, and its words for errors."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from export.benchmark.adb import AdbDevice, find_device, pull, push, shell
from export.benchmark.measure import measure_latency
from export.config import BenchmarkConfig, DeviceConfig
from tests.export.benchmark.fake_adb_server import serve_device
from tests.export.benchmark.fake_device import (
    SERIAL,
    FakeDevice,
    make_device,
    write_binary,
    write_model,
)

ADB = shutil.which("adb") or ""
pytestmark = pytest.mark.skipif(not ADB, reason="needs the adb client")
ATTACHED = AdbDevice(ADB, SERIAL)


@pytest.fixture
def device(tmp_path: Path) -> FakeDevice:
    return make_device(tmp_path, runner={"kind": "litert"})


@pytest.fixture
def services(
    device: FakeDevice, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[str]]:
    """What the client asked of the server."""
    done = subprocess.run([ADB, "version"], capture_output=True, text=True, check=True)
    version = re.search(r"version 1\.0\.(\d+)", done.stdout)
    assert version is not None
    with serve_device(device, int(version[1])) as (port, services):
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
        yield services


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize("serial", [None, SERIAL])
def test_device_is_found(serial: str | None) -> None:
    assert find_device(ADB, serial) == ATTACHED


@pytest.mark.usefixtures("services")
def test_other_device_is_not_found() -> None:
    with pytest.raises(ConnectionError, match=f"X1 must be attached: .*: {SERIAL}"):
        find_device(ADB, "X1")


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize(
    ("command", "status", "output"),
    [
        ("echo one; echo two >&2; exit_3() { return 3; }; exit_3", 3, "one\ntwo\n"),
        ("true", 0, ""),
        ("printf 'no end of line'", 0, "no end of line"),
        ("cd /nowhere && echo never", 2, None),
    ],
)
def test_shell_tells_output_and_status(
    command: str, status: int, output: str | None
) -> None:
    answer = shell(ATTACHED, command)
    assert answer.status == status
    assert output in (None, answer.output)


def test_command_reaches_the_shell_as_it_is(services: list[str]) -> None:
    answer = shell(ATTACHED, "echo 'a  b' \"$((1 + 1))\" *.nothing")
    assert answer.output == "a  b 2 *.nothing\n"
    assert [text for text in services if text.startswith("shell")] == [
        "shell:{ echo 'a  b' \"$((1 + 1))\" *.nothing; } 2>&1; echo mobilenas_status=$?"
    ]


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize("name", ["m.tflite", "a b;'\"$x.tflite", "-p"])
def test_files_go_there_and_back(
    tmp_path: Path, device: FakeDevice, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = bytes(range(256)) * 1000  # more than one packet
    Path(name).write_bytes(content)
    push(ATTACHED, Path(name), "/data/local/tmp/model0.tflite")
    assert (device.state / "data" / "model0.tflite").read_bytes() == content
    assert pull(ATTACHED, "/data/local/tmp/model0.tflite") == content


@pytest.mark.usefixtures("services")
def test_file_that_is_not_there_is_none() -> None:
    assert pull(ATTACHED, "/data/local/tmp/nothing.pb") is None


@pytest.mark.usefixtures("services")
def test_full_disk_is_told(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(bytes(100))
    with pytest.raises(
        ValueError, match="must have room for .*No space left on device"
    ):
        push(ATTACHED, path, "/data/local/tmp/full/model0.tflite")


@pytest.mark.usefixtures("services")
def test_lost_device_is_told(tmp_path: Path) -> None:
    lost = AdbDevice(ADB, "X1")
    path = tmp_path / "m.tflite"
    path.write_bytes(bytes(100))
    sentence = "X1 must stay attached and awake until the end.*not found"
    with pytest.raises(ConnectionError, match=sentence):
        shell(lost, "true")
    with pytest.raises(ConnectionError, match=sentence):
        push(lost, path, "/data/local/tmp/m")
    with pytest.raises(ConnectionError, match=sentence):
        pull(lost, "/data/local/tmp/m")


def test_server_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "99999")
    with pytest.raises(ConnectionError, match="adb must list the attached .*99999"):
        find_device(ADB, None)


@pytest.mark.usefixtures("services")
def test_whole_session(tmp_path: Path, device: FakeDevice) -> None:
    models = [write_model(tmp_path / f"m {index}.tflite") for index in range(2)]
    binary = write_binary(tmp_path / "benchmark_model")
    results = measure_latency(
        models,
        BenchmarkConfig(warmup_runs=1, runs=4, repeats=2),
        DeviceConfig(f"adb:{SERIAL}", str(binary), ADB),
    )
    assert [result.model for result in results] == [str(path) for path in models]
    assert [result.median_ms for result in results] == pytest.approx([1.02, 1.02])
    assert [result.delegation for result in results] == ["full", "full"]
    assert device.left_behind() == []
    assert device.read_lines("fixed_performance") == ["true", "false"]
