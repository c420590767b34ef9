"""What a phone says about itself, and how it is held, on the fake one."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.benchmark import android
from export.benchmark.adb import AdbDevice
from export.benchmark.device import Thermals
from tests.export.benchmark.fake_device import PROPERTIES, SERIAL, make_device

FOUR_THREE_ONE = dict(enumerate([1_700] * 4 + [2_300] * 3 + [2_900]))


@pytest.mark.parametrize(
    ("frequencies", "threads", "mask"),
    [
        (FOUR_THREE_ONE, 1, 0b1000_0000),
        (FOUR_THREE_ONE, 2, 0b1111_0000),
        (FOUR_THREE_ONE, 4, 0b1111_0000),
        (FOUR_THREE_ONE, 5, 0b1111_1111),
        (FOUR_THREE_ONE, 99, 0b1111_1111),
        ({0: 2_000, 1: 2_000}, 1, 0b11),  # one cluster
        ({0: 2_900, 1: 1_700, 2: 2_900}, 1, 0b101),  # in any order
        ({0: 1_000}, 1, 0b1),
    ],
)
def test_whole_clusters_are_taken_from_the_fastest_on(
    frequencies: dict[int, int], threads: int, mask: int
) -> None:
    assert android.big_core_mask(frequencies, threads) == mask


def _attach(folder: Path, **settings) -> AdbDevice:
    return AdbDevice(make_device(folder, **settings).adb, SERIAL)


def test_mask_is_derived_or_taken_as_it_is(tmp_path: Path) -> None:
    device = _attach(tmp_path)
    for wanted, threads, mask in (
        ("auto", 1, "80"),
        ("auto", 4, "f0"),
        ("0f", 1, "0f"),
        ("none", 1, None),
    ):
        assert android.choose_core_mask(device, wanted, threads) == mask


def test_any_core_is_allowed_without_frequencies_or_taskset(tmp_path: Path) -> None:
    device = _attach(tmp_path / "a", tools={"taskset": "exit 1"})
    assert android.choose_core_mask(device, "auto", 1) is None
    device = _attach(tmp_path / "b")
    for path in tmp_path.glob("b/device/cpu/*/cpufreq/cpuinfo_max_freq"):
        path.unlink()
    assert android.choose_core_mask(device, "auto", 1) is None


@pytest.mark.parametrize("status", range(4))
def test_temperature_is_read(tmp_path: Path, status: int) -> None:
    device = _attach(tmp_path, thermal=(status,))
    assert android.read_thermals(device) == Thermals(status, 28.5)


def test_phone_that_tells_no_temperature_is_not_waited_for(tmp_path: Path) -> None:
    device = _attach(tmp_path, tools={"dumpsys": "echo no such service; exit 20"})
    assert android.read_thermals(device) == Thermals(None, None)
    android.wait_until_cool(device, 1e9)


def test_warm_phone_is_waited_for_up_to_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(android, "_SECONDS_BETWEEN_LOOKS", 0)
    cools = make_device(tmp_path / "a", thermal=(2, 2, 1, 0))
    android.wait_until_cool(AdbDevice(cools.adb, SERIAL), 1e9)
    assert len(cools.calls()) == 4
    stays_warm = make_device(tmp_path / "b", thermal=(3,))
    android.wait_until_cool(AdbDevice(stays_warm.adb, SERIAL), 0)
    assert stays_warm.calls() == []
    with pytest.raises(
        ConnectionError, match=r"thermal status 3 after \d+ s, .* 28\.5"
    ):
        android.wait_until_cool(AdbDevice(stays_warm.adb, SERIAL), 1e-9)


@pytest.mark.parametrize(
    ("sdk", "wanted", "cmd", "written", "is_held"),
    [
        (30, True, None, ["true", "false"], True),
        (29, True, None, [], False),
        (30, False, None, [], False),
        (30, True, "echo Failed to set >&2; exit 255", [], False),
    ],
)
def test_clocks_are_held_where_that_is_wanted_and_possible(
    tmp_path: Path,
    sdk: int,
    wanted: bool,
    cmd: str | None,
    written: list[str],
    is_held: bool,
) -> None:
    device = make_device(tmp_path, tools={"cmd": cmd} if cmd else None)
    attached = AdbDevice(device.adb, SERIAL)
    with android.run_folder(attached, sdk, fixed_performance=wanted) as folder:
        assert device.left_behind() == [Path(folder.path).name]
        assert folder.has_fixed_performance == is_held
    assert device.left_behind() == []
    assert device.read_lines("fixed_performance") == written


def test_run_folders_have_names_of_their_own(tmp_path: Path) -> None:
    device = _attach(tmp_path)
    with (
        android.run_folder(device, 1, fixed_performance=False) as one,
        android.run_folder(device, 1, fixed_performance=False) as other,
    ):
        assert one.path != other.path


def test_older_phone_tells_other_properties(tmp_path: Path) -> None:
    old = dict.fromkeys(PROPERTIES, "") | {
        "ro.product.model": "Old",
        "ro.board.platform": "msm8998",
        "ro.product.cpu.abi": "armeabi-v7a",
        "ro.build.version.sdk": "23",
    }
    properties = android.read_properties(_attach(tmp_path, properties=old))
    assert (properties.model, properties.soc) == ("Old", "msm8998")
    assert (properties.sdk, properties.abis) == (23, ("armeabi-v7a",))


def test_phone_without_an_abi_is_refused(tmp_path: Path) -> None:
    none = {"ro.product.cpu.abi": "", "ro.product.cpu.abilist": ""}
    device = _attach(tmp_path, properties=none)
    with pytest.raises(ConnectionError, match="must tell its ABI and SDK by getprop"):
        android.read_properties(device)
