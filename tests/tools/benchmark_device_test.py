"""The benchmark binary on a phone, as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.export.benchmark.fake_device import (
    FakeDevice,
    make_device,
    write_binary,
    write_model,
)
from tests.tools.run_binary import Answer, run_binary

pytestmark = pytest.mark.slow


@pytest.fixture
def device(tmp_path: Path) -> FakeDevice:
    for name in ("a", "b"):
        write_model(tmp_path / f"{name}.tflite")
    write_binary(tmp_path / "benchmark_model")
    return make_device(tmp_path)


def _run(folder: Path, device: FakeDevice, *arguments: str) -> Answer:
    return run_binary(
        folder,
        "benchmark_tflite",
        "--model=a.tflite,b.tflite",
        f"--adb={device.adb}",
        "--benchmark_binary=benchmark_model",
        "--repeats=2",
        "--runs=4",
        *arguments,
    )


def test_table_operators_and_files(tmp_path: Path, device: FakeDevice) -> None:
    answer = _run(tmp_path, device, "--device=adb", "--top_operators=1")
    assert answer.status == 0, answer.stderr
    about, header, *rows = answer.stdout.splitlines()
    assert about.startswith("Google Pixel 8, Android 15 (SDK 35), Google Tensor G3")
    assert "cores 80, clocks held, thermal status 0 before and 0 after" in about
    assert header.split()[0] == "model"
    assert [row.split()[0] for row in rows[:2]] == ["a.tflite", "b.tflite"]
    assert answer.stdout.count("0.500 ms  66.7%  Fully Connected") == 2
    assert rows[-1] == "Median 1.020 ms: benchmark.json and benchmark.png"
    document = json.loads((tmp_path / "benchmark.json").read_text())
    assert document["device_config"]["benchmark_binary"] == "benchmark_model"
    assert document["config"]["runs"] == 4
    assert document["provenance"]["command"][1].startswith("--model=")
    assert [result["model"] for result in document["results"]] == [
        "a.tflite",
        "b.tflite",
    ]
    assert document["results"][0]["operators"][2]["kind"] == "Fully Connected"
    with Image.open(tmp_path / "benchmark.png") as image:
        assert image.size[0] > 100
    assert device.left_behind() == []


def test_the_report_of_a_bundles_run_shows_the_latency(
    tmp_path: Path, device: FakeDevice
) -> None:
    bundle = tmp_path / "run" / "int8_uint8"
    bundle.mkdir(parents=True)
    write_model(bundle / "model.tflite")
    (bundle / "export.json").write_text("{}")
    (bundle.parent / "config.json").write_text('{"tool": "train_classifier"}')
    model = "--model=run/int8_uint8/model.tflite,a.tflite"
    answer = _run(tmp_path, device, "--device=adb", model)
    assert answer.status == 0, answer.stderr
    assert answer.stdout.endswith(": run/benchmark.json and run/benchmark.png\n")
    assert sorted(path.name for path in bundle.iterdir()) == [
        "export.json",
        "model.tflite",
    ]
    report = (bundle.parent / "report.html").read_text()
    assert '<section id="benchmark">' in report

    (bundle.parent / "benchmark.json").unlink()
    _run(tmp_path, device, "--device=adb", model, "--output=other/timings.json")
    assert (tmp_path / "other" / "timings.json").exists()
    assert not (bundle.parent / "benchmark.json").exists()


def test_lost_phone_is_one_sentence_and_no_file(
    tmp_path: Path, device: FakeDevice
) -> None:
    answer = _run(tmp_path, device, "--device=adb:R1")
    assert answer.mistake.startswith("R1 must be attached: connect it by USB")
    assert not (tmp_path / "benchmark.json").exists()
