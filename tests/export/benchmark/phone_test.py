"""Sessions on a fake phone: what comes back, and that nothing stays there."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from export.benchmark.device import Thermals
from export.benchmark.measure import measure_latency
from export.benchmark.result import BenchmarkResult
from export.config import BenchmarkConfig, DeviceConfig
from tests.export.benchmark.fake_device import (
    SERIAL,
    FakeDevice,
    make_device,
    write_binary,
    write_model,
)

ONCE = BenchmarkConfig(warmup_runs=1, runs=4, repeats=1)
TWICE = BenchmarkConfig(warmup_runs=1, runs=4, repeats=2)


def _measure(
    folder: Path,
    device: FakeDevice,
    *,
    config: BenchmarkConfig = ONCE,
    num_models: int = 1,
    **settings: Any,
) -> tuple[BenchmarkResult, ...]:
    """Returns the results, after a look at what the session left behind."""
    models = [write_model(folder / f"m{index}.tflite") for index in range(num_models)]
    binary = write_binary(folder / "benchmark_model")
    device_config = DeviceConfig(
        **{"device": "adb", "adb": device.adb, "benchmark_binary": str(binary)}
        | settings
    )
    results = measure_latency(models, config, device_config)
    assert device.left_behind() == []
    assert not device.has_held_clocks()
    return results


NASTY = "a b;'\"$(touch sprung)`touch sprung`\n&& touch sprung #.tflite"


@pytest.mark.parametrize(
    "name", [NASTY, "-pull", "--adb=x", "*?[a].tflite", "ü 猫.tflite"]
)
def test_a_files_name_is_no_word_of_the_phones_shell(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    phone = make_device(tmp_path)
    config = DeviceConfig("adb", str(write_binary(tmp_path / f"{name} run")), phone.adb)
    (result,) = measure_latency([write_model(Path(name))], ONCE, config)
    assert result.model == name
    pushed = [call[3] for call in phone.calls() if call[2:3] == ["push"]]
    assert pushed == [str(tmp_path / f"{name} run"), str(tmp_path / name)]
    for call in phone.calls():
        if call[2:3] == ["shell"]:
            assert re.fullmatch('[^"`\n]*', call[3]) and name not in call[3]
    assert not list(tmp_path.rglob("sprung*"))
    assert phone.left_behind() == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plain")


@pytest.fixture(scope="module")
def device(folder: Path) -> FakeDevice:
    # The looks are before all, before each of two runs, and after all.
    return make_device(folder, thermal=(0, 0, 0, 1))


@pytest.fixture(scope="module")
def result(folder: Path, device: FakeDevice) -> BenchmarkResult:
    """Of two repeats of one model."""
    (result,) = _measure(folder, device, config=TWICE)
    return result


def test_figures_are_those_of_the_result_file(result: BenchmarkResult) -> None:
    assert result.num_runs == 8
    # 1000, 1010, 1020, 1030 us: LiteRT takes element N * percent / 100 of N.
    assert (result.median_ms, result.p95_ms) == pytest.approx((1.020, 1.030))
    assert result.p90_ms is None
    assert result.mean_ms == pytest.approx(1.015)
    assert result.stddev_ms == pytest.approx(0.011)  # sqrt(125) us in whole us
    assert result.min_ms == pytest.approx(1.0)
    assert (result.init_ms, result.first_inference_ms) == pytest.approx((2.5, 3.0))
    assert result.repeat_medians_ms == pytest.approx((1.020, 1.020))
    assert result.spread_over == "repeats"
    assert result.memory_bytes == 2048 * 1024


def test_result_says_what_it_was_measured_with(
    folder: Path, result: BenchmarkResult
) -> None:
    assert (result.device.cpu, result.device.num_cores) == ("Google Tensor G3", 8)
    assert result.device.operating_system == "Android 15 (SDK 35)"
    phone = result.device.phone
    assert phone is not None
    assert (phone.serial, phone.model, phone.sdk) == (SERIAL, "Google Pixel 8", 35)
    assert phone.fingerprint.startswith("google/shiba")
    assert (phone.abi, phone.runner_kind) == ("arm64-v8a", "tflite")
    binary = (folder / "benchmark_model").read_bytes()
    assert phone.runner_sha256 == hashlib.sha256(binary).hexdigest()
    assert phone.has_fixed_performance
    assert phone.thermals_before == Thermals(0, 28.5)
    assert phone.thermals_after == Thermals(1, 28.5)
    assert "--num_runs=4" in result.runner_arguments
    assert "--graph=model0.tflite" in result.runner_arguments
    model = (folder / "m0.tflite").read_bytes()
    assert result.model_sha256 == hashlib.sha256(model).hexdigest()
    json.dumps(result.to_json(), allow_nan=False)


@pytest.mark.usefixtures("result")
def test_clocks_are_held_while_models_run(device: FakeDevice) -> None:
    commands = [call[-1] for call in device.calls() if "shell" in call]
    (held,) = (i for i, text in enumerate(commands) if "enabled true" in text)
    (freed,) = (i for i, text in enumerate(commands) if "enabled false" in text)
    ran = [i for i, text in enumerate(commands) if "--graph=" in text]
    assert held < min(ran) <= max(ran) < freed


def test_every_run_keeps_to_the_largest_core(
    device: FakeDevice, result: BenchmarkResult
) -> None:
    assert result.device.phone and result.device.phone.core_mask == "80"
    # The mask is tried, then used for the inspection and for two repeats.
    assert device.read_lines("masks") == ["80"] * 4


def test_operators_are_those_of_a_run_that_is_not_timed(
    device: FakeDevice, result: BenchmarkResult
) -> None:
    assert [operator.mean_ms for operator in result.operators] == [0.75, 0.25, 0.5]
    assert result.operators[1].kind == "Convolution (NHWC, QS8) IGEMM"
    is_profiled = ["op_profiling" in command for command in device.runs()]
    assert is_profiled == [True, False, False]


def test_delegate_took_all(result: BenchmarkResult) -> None:
    assert (result.delegate, result.num_delegate_partitions) == ("XNNPACK", 1)
    assert (result.delegation, result.undelegated_operators) == ("full", {})


def test_models_take_turns_in_an_order_drawn_anew(tmp_path: Path) -> None:
    device = make_device(tmp_path)
    config = BenchmarkConfig(warmup_runs=1, runs=4, repeats=5)
    results = _measure(
        tmp_path,
        device,
        config=config,
        num_models=2,
        operator_profile=False,
        cool_down_limit_seconds=0,
    )
    assert [Path(result.model).name for result in results] == ["m0.tflite", "m1.tflite"]
    ran = [re.findall(r"model\d", command)[0] for command in device.runs()]
    inspected, turns = ran[:2], ran[2:]
    assert inspected == ["model0", "model1"]
    rounds = [turns[start : start + 2] for start in range(0, 10, 2)]
    assert all(sorted(one) == ["model0", "model1"] for one in rounds)
    assert {one[0] for one in rounds} == {"model0", "model1"}


def test_runner_of_litert_is_called_by_its_own_flags(tmp_path: Path) -> None:
    device = make_device(tmp_path, runner={"kind": "litert"})
    (result,) = _measure(tmp_path, device)
    assert result.device.phone and result.device.phone.runner_kind == "litert"
    flags = {argument.partition("=")[0] for argument in result.runner_arguments}
    assert "--use_cpu" in flags and "--use_xnnpack" not in flags
    assert result.mean_ms == pytest.approx(1.015)
    # Its text is silent about delegates; the runtime info is not.
    assert (result.delegate, result.delegation) == ("XNNPACK", "full")
    assert len(result.operators) == 3


def test_old_runner_tells_means_and_no_delegation(tmp_path: Path) -> None:
    device = make_device(tmp_path, runner={"kind": "old"})
    (result,) = _measure(tmp_path, device)
    assert not any("result_file" in argument for argument in result.runner_arguments)
    assert (result.p95_ms, result.spread_over) == (None, "repeat means")
    assert (result.median_ms, result.mean_ms) == pytest.approx((1.015, 1.015))
    assert (result.delegate, result.delegation) == ("XNNPACK", "unknown")
    assert len(result.operators) == 3


@pytest.mark.parametrize("runner", [{"writes_result": False}, {"cuts_result": True}])
def test_text_serves_where_there_is_no_whole_result_file(
    tmp_path: Path, runner: dict[str, Any]
) -> None:
    device = make_device(tmp_path, runner=runner)
    (result,) = _measure(tmp_path, device, operator_profile=False)
    assert (result.median_ms, result.p95_ms) == pytest.approx((1.020, 1.030))
    assert (result.init_ms, result.first_inference_ms) == pytest.approx((2.5, 3.0))
    assert result.memory_bytes == 2 * 2**20


def test_result_file_serves_where_the_output_is_cut_off(tmp_path: Path) -> None:
    device = make_device(tmp_path, cut=["--num_runs=4 ", 0])
    (result,) = _measure(tmp_path, device)
    assert result.median_ms == pytest.approx(1.020)


def test_few_runs_that_all_took_the_same(tmp_path: Path) -> None:
    runner = {"times_us": [700], "writes_result": False}
    device = make_device(tmp_path, runner=runner)
    config = BenchmarkConfig(warmup_runs=0, runs=1, repeats=1)
    (result,) = _measure(tmp_path, device, config=config)
    assert (result.num_runs, result.stddev_ms) == (1, 0)
    assert (result.median_ms, result.p95_ms, result.min_ms) == (0.7, 0.7, 0.7)


@pytest.mark.parametrize(
    ("accelerator", "delegation", "partitions", "outside"),
    [
        ("gpu", "partial", 2, {"ARG_MAX": 1}),
        ("cpu", "none", 0, {"CONV_2D": 1, "ARG_MAX": 1}),
    ],
)
def test_result_says_what_the_delegate_left(
    tmp_path: Path,
    accelerator: str,
    delegation: str,
    partitions: int,
    outside: dict[str, int],
) -> None:
    device = make_device(tmp_path, runner={"delegation": delegation})
    (result,) = _measure(tmp_path, device, accelerator=accelerator)
    asked = {"gpu": ("GPU", "--use_gpu=true"), "cpu": ("XNNPACK", "--use_xnnpack=true")}
    assert (result.delegate, result.delegation) == (asked[accelerator][0], delegation)
    used = [text for text in result.runner_arguments if text.startswith("--use_")]
    assert used == [asked[accelerator][1]]
    assert result.num_delegate_partitions == partitions
    assert result.undelegated_operators == outside


@pytest.mark.parametrize("kind", ["tflite", "litert"])
def test_runner_that_really_runs_the_files(
    tmp_path: Path, kind: str, int8_file: bytes, float_file: bytes
) -> None:
    device = make_device(tmp_path, runner={"kind": kind, "runs": True})
    # Names that a shell would take for more than a name.
    paths = tmp_path / "a b; rm -rf $HOME.tflite", tmp_path / "-x'.tflite"
    for path, content in zip(paths, (int8_file, float_file), strict=True):
        path.write_bytes(content)
    binary = str(write_binary(tmp_path / "benchmark model"))
    config = DeviceConfig("adb", binary, device.adb, operator_profile=False)
    once = BenchmarkConfig(warmup_runs=1, runs=20, repeats=1)
    results = measure_latency(paths, once, config)
    assert device.left_behind() == []
    assert [result.model for result in results] == [str(path) for path in paths]
    for result in results:
        assert result.num_runs == 20
        assert result.p95_ms is not None
        assert 0 < result.min_ms <= result.median_ms <= result.p95_ms < 1000
        assert result.first_inference_ms > 0 and result.init_ms > 0
    commands = " ".join(call[-1] for call in device.calls() if "shell" in call)
    assert "HOME" not in commands and "-x'" not in commands


def test_file_that_does_not_run_is_refused_by_the_runner(tmp_path: Path) -> None:
    device = make_device(tmp_path, runner={"runs": True})
    with pytest.raises(ValueError, match=r"m0\.tflite must be a file that .* runs"):
        _measure(tmp_path, device)
    assert device.left_behind() == []
    assert not device.has_held_clocks()
