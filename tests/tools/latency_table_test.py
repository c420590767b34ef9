"""The two binaries of latency tables on a table that lacks two entries."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from export.config import BenchmarkConfig, DeviceConfig
from export.latency_builder import probe
from mobilenas_tf.block_spaces import named_block_space
from mobilenas_tf.costs.latency_parts import space_parts
from mobilenas_tf.costs.latency_table import (
    CALL,
    LatencyEntry,
    LatencyTable,
    read_latency_table,
    write_latency_table,
)
from tests.export.benchmark.fake_device import (
    FakeDevice,
    make_device,
    write_binary,
)
from tests.tools.run_binary import run_binary

pytestmark = pytest.mark.slow

PARTS = space_parts(named_block_space("fbnet_32", num_classes=10))
# Such as those of heads for other numbers of classes.
OTHERS = [f"other {index}" for index in range(4)]
QUICK = ("--repeats=3", "--runs=5", "--warmup_runs=1", "--json")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tables")
    conditions, _ = probe("float32", BenchmarkConfig(), DeviceConfig())
    keys = [*[CALL, *PARTS][:-2], *OTHERS]
    table = LatencyTable("fbnet_32", conditions, _made_up_entries(keys))
    write_latency_table(root / "table.json", table)
    return root


def _made_up_entries(keys: Iterable[str]) -> dict[str, LatencyEntry]:
    return {
        key: LatencyEntry(0.01 + 0.001 * index, 0.0, 3)
        for index, key in enumerate(keys)
    }


@pytest.fixture
def device(tmp_path: Path) -> FakeDevice:
    """A phone, and beside it a whole table of its GPU's, `gpu.json`."""
    device = make_device(tmp_path)
    options = DeviceConfig(
        device="adb",
        adb=device.adb,
        benchmark_binary=str(write_binary(tmp_path / "benchmark_model")),
        accelerator="gpu",
    )
    conditions, _ = probe("float32", BenchmarkConfig(), options)
    entries = _made_up_entries([CALL, *PARTS])
    table = LatencyTable("fbnet_32", conditions, entries)
    write_latency_table(tmp_path / "gpu.json", table)
    return device


@pytest.mark.parametrize(
    ("binary", "arguments", "num_runs"),
    [
        ("build_latency_table", ("--output=gpu.json", "--precision=float32"), 0),
        # The file that tells the device's conditions runs twice, and no network.
        ("validate_latency_table", ("--latency_table=gpu.json",), 2),
    ],
)
def test_a_gpus_table_is_not_taken_for_a_cpus(
    tmp_path: Path,
    device: FakeDevice,
    binary: str,
    arguments: tuple[str, ...],
    num_runs: int,
) -> None:
    before = len(device.runs())
    answer = run_binary(
        tmp_path,
        binary,
        *("--device=adb", f"--adb={device.adb}", "--benchmark_binary=benchmark_model"),
        *("--num_classes=10", *arguments, *QUICK),
    )
    assert answer.mistake == (
        "gpu.json must be of accelerator='cpu'; give another file. "
        "Received: accelerator='gpu'"
    )
    assert len(device.runs()) == before + num_runs


def test_a_build_measures_what_is_missing_and_validation_calibrates(root: Path) -> None:
    build = ("--num_classes=10", "--precision=float32", "--output=table.json", *QUICK)
    answer = run_binary(root, "build_latency_table", *build).result
    assert (answer["entries"], answer["measured_now"]) == (len(PARTS) + 1, 2)
    table = read_latency_table(root / "table.json")
    assert table.entries.keys() == {CALL, *PARTS, *OTHERS}
    assert run_binary(root, "build_latency_table", *build).result["measured_now"] == 0

    networks = ("--num_classes=10", "--num_calibration=3", "--num_held_out=3")
    answer = run_binary(
        root,
        "validate_latency_table",
        "--latency_table=table.json",
        *networks,
        *QUICK,
    ).result
    assert answer["num_networks"] == 3 and answer["mape"] >= 0
    calibration = read_latency_table(root / "table.json").calibration
    assert calibration is not None and calibration.num_networks == 3
    assert (root / "table_validation.png").exists()


def test_a_table_of_another_precision_is_refused(root: Path) -> None:
    answer = run_binary(
        root,
        "build_latency_table",
        *("--num_classes=10", "--precision=int8", "--output=table.json", *QUICK),
    )
    assert answer.mistake == (
        "table.json must be of precision='int8'; give another file. "
        "Received: precision='float32'"
    )
