"""What goes wrong on a phone: one sentence, and nothing left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from export.benchmark.phone import benchmark_models
from export.config import BenchmarkConfig, DeviceConfig
from tests.export.benchmark.fake_device import (
    SERIAL,
    FakeDevice,
    make_device,
    write_binary,
    write_model,
)

REFUSAL = {"model1.tflite": [1, "Op builtin_code out of range: 210."]}
RUNS = "--num_runs=4 "

# By what is wrong: how the phone and the call differ, and the sentence.
FAILURES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no device": (
        {"devices": {}},
        {},
        r"the phone must be attached: .* Received: no device",
    ),
    "several devices": (
        {"devices": {"A1": "device", "B2": "device"}},
        {},
        r"device must name one of the attached devices, .*adb with A1, B2 attached",
    ),
    "another device": (
        {},
        {"device": "adb:B2"},
        rf"B2 must be attached: .* Received: {SERIAL}",
    ),
    "unauthorised": (
        {"devices": {"A1": "unauthorized"}},
        {},
        r"A1 must be ready: unlock the phone and allow .* Received: unauthorized",
    ),
    "offline": (
        {"devices": {"A1": "offline"}},
        {},
        r"A1 must be ready: plug it in again.* Received: offline",
    ),
    "no permission": (
        {"devices": {"A1": "no permissions (missing udev rules?); see [http://x]"}},
        {},
        r"A1 must be ready: let this user open USB devices .* Received: no permis.*",
    ),
    "in recovery": (
        {"devices": {"A1": "recovery"}},
        {},
        r"A1 must be ready: start it into Android\. Received: recovery",
    ),
    "no adb": (
        {},
        {"adb": "no/such/adb"},
        r"adb must be the adb client; .* Received: adb='no/such/adb', No such file.*",
    ),
    "binary for another ABI": (
        {"properties": {"ro.product.cpu.abilist": "x86_64"}},
        {},
        r"benchmark_binary must be built for x86_64, what Google Pixel 8 .* runs\. "
        r"Received: .*benchmark_model for arm64-v8a",
    ),
    "another program": (
        {"runner": {"kind": "other"}},
        {},
        r"benchmark_binary must be benchmark_model of TFLite or of LiteRT, .*",
    ),
    "no room for the runner": (
        {"disk_bytes": 500},
        {},
        rf"{SERIAL} must have room for .*benchmark_model \(0\.0 MB\) .* No space.*",
    ),
    "no room for a model": (
        {"disk_bytes": 1150},
        {},
        rf"{SERIAL} must have room for .*m1\.tflite .* No space left on device",
    ),
    "a model that the runner refuses": (
        {"runner": {"refusals": REFUSAL}},
        {},
        r".*m1\.tflite must be a file that benchmark_model of TFLite runs with "
        r"accelerator=cpu\. Received: exit status 1; Op builtin_code out of range.*",
    ),
    "a model that crashes the runner": (
        {"runner": {"refusals": {"model0.tflite": [139, "Segmentation fault"]}}},
        {},
        r".*m0\.tflite must be a file that .* the end by signal 11; Segmentation fault",
    ),
    "a delegate that refuses": (
        {
            "runner": {
                "refusals": {"model0.tflite": [1, "Failed to apply GPU delegate."]}
            }
        },
        {"accelerator": "gpu"},
        r".*m0\.tflite .* runs with accelerator=gpu\. .*Failed to apply GPU delegate\.",
    ),
    "output cut off and no result file": (
        {"cut": [RUNS, 0], "runner": {"writes_result": False}},
        {},
        r".*m\d\.tflite must be a file that .* Received: output that was cut off; .*",
    ),
    "output cut off before the first run": (
        {"cut": ["--num_runs=20 ", 1]},
        {},
        r".*m1\.tflite must be a file that .* Received: output that was cut off; .*",
    ),
    "operator profile cut off": (
        {"runner": {"cuts_profile": True}},
        {},
        r".*m0\.tflite must get a whole operator profile .* --nooperator_profile .*",
    ),
    "too warm": (
        {"thermal": (3,)},
        {"cool_down_limit_seconds": 1e-9},
        rf"{SERIAL} must cool down within cool_down_limit_seconds=1e-09; .* Received: "
        r"thermal status 3 after \d+ s, battery at 28\.5 degrees Celsius",
    ),
    "a mask that the phone refuses": (
        {"tools": {"taskset": "echo bad mask; exit 1"}},
        {"core_mask": "ff00"},
        rf"core_mask must be one that {SERIAL} takes\. Received: .*'ff00', bad mask",
    ),
    "folder that cannot be made": (
        {"tools": {"mkdir": "echo mkdir: Permission denied; exit 1"}},
        {},
        rf"{SERIAL} must let adb make /data/local/tmp/mobilenas_\w+\. .*denied",
    ),
}


def _benchmark(folder: Path, device: FakeDevice, settings: dict[str, Any]) -> None:
    models = [write_model(folder / f"m{index}.tflite") for index in range(2)]
    binary = write_binary(folder / "benchmark_model")
    defaults = {"device": "adb", "adb": device.adb, "benchmark_binary": str(binary)}
    config = BenchmarkConfig(warmup_runs=1, runs=4, repeats=1)
    benchmark_models(models, config, DeviceConfig(**defaults | settings))


@pytest.mark.parametrize("what", FAILURES)
def test_failure_is_one_sentence_and_leaves_nothing(tmp_path: Path, what: str) -> None:
    scenario, settings, sentence = FAILURES[what]
    device = make_device(tmp_path, **scenario)
    with pytest.raises((ValueError, ConnectionError), match=rf"\A{sentence}\Z"):
        _benchmark(tmp_path, device, settings)
    assert device.left_behind() == []
    assert not device.has_held_clocks()


@pytest.mark.parametrize(
    "when",
    [
        ["m0.tflite", 0],
        ["--num_runs=20 ", 1],  # within the inspection of the second model
        [RUNS, 0],
        ["result0", 1],
        ["--help", 0],
    ],
)
def test_unplugged_phone_is_told_with_what_stays_on_it(
    tmp_path: Path, when: list[Any]
) -> None:
    device = make_device(tmp_path, unplug=when)
    stays = (
        rf"{SERIAL} must stay attached and awake until the end\. .*not found; "
        r"(?P<path>/data/local/tmp/mobilenas_\w+) stays on it, and its clocks stay held"
        r" until it starts anew"
    )
    with pytest.raises(ConnectionError, match=rf"\A{stays}\Z") as caught:
        _benchmark(tmp_path, device, {})
    (folder,) = device.left_behind()
    assert f"/{folder} " in str(caught.value)


def test_interrupted_session_tidies_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("export.benchmark.phone._time_in_turns", interrupt)
    device = make_device(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        _benchmark(tmp_path, device, {})
    assert device.left_behind() == []
    assert device.read_lines("fixed_performance") == ["true", "false"]


def test_missing_runner_and_model_are_found_before_the_phone_is_asked(
    tmp_path: Path,
) -> None:
    device = make_device(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        _benchmark(tmp_path, device, {"benchmark_binary": str(tmp_path / "nowhere")})
    config = DeviceConfig("adb", str(tmp_path / "benchmark_model"), device.adb)
    with pytest.raises(FileNotFoundError, match=r"absent\.tflite"):
        benchmark_models([tmp_path / "absent.tflite"], BenchmarkConfig(), config)
    with pytest.raises(ValueError, match="models must name at least one"):
        benchmark_models([], BenchmarkConfig(), config)
    assert device.calls() == []


def test_silent_adb_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.benchmark.adb._SECONDS", 0.1)
    adb = tmp_path / "adb"
    adb.write_text("#!/bin/sh\nexec sleep 30\n")
    adb.chmod(0o755)
    device = make_device(tmp_path)
    with pytest.raises(ConnectionError, match="adb must answer within 0 s.* devices"):
        _benchmark(tmp_path, device, {"adb": str(adb)})
