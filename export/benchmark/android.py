"""What an Android device says about itself, and how it is held while it is measured."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import secrets
import time
from collections.abc import Iterator, Mapping

from export.benchmark.adb import AdbDevice, shell
from export.benchmark.device import Thermals

_COOL = 0  # THERMAL_STATUS_NONE of android.os.PowerManager
_SECONDS_BETWEEN_LOOKS = 5.0
_FIRST_SDK_WITH_FIXED_PERFORMANCE = 30  # Android 11
_FIXED_PERFORMANCE = "cmd power set-fixed-performance-mode-enabled"
_FREQUENCIES = "/sys/devices/system/cpu/cpu*/cpufreq/cpuinfo_max_freq"


@dataclasses.dataclass(frozen=True)
class AndroidProperties:
    """What a device is, out of `getprop`; `abis` are those it runs, its own first."""

    model: str
    soc: str
    fingerprint: str
    release: str
    sdk: int
    abis: tuple[str, ...]
    num_cores: int


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """Our folder on the device, and whether its clocks are held."""

    path: str
    has_fixed_performance: bool


def read_properties(device: AdbDevice) -> AndroidProperties:
    """Returns what the device says about itself.

    Raises:
        ConnectionError: If the device is gone or tells no ABI or SDK.
    """
    output = shell(device, "getprop; grep processor /proc/cpuinfo").output
    values = dict(re.findall(r"^\[(.+?)\]: \[(.*?)\]$", output, re.MULTILINE))
    abis = values.get("ro.product.cpu.abilist") or values.get("ro.product.cpu.abi", "")
    sdk = values.get("ro.build.version.sdk", "")
    if not abis or not sdk.isdecimal():
        raise ConnectionError(
            f"{device.serial} must tell its ABI and SDK by getprop. Received: "
            f"{len(values)} properties"
        )
    maker = values.get("ro.product.manufacturer", "")
    chip = values.get("ro.soc.model") or values.get("ro.board.platform", "unknown")
    return AndroidProperties(
        model=f"{maker} {values.get('ro.product.model', '')}".strip() or "unknown",
        soc=f"{values.get('ro.soc.manufacturer', '')} {chip}".strip(),
        fingerprint=values.get("ro.build.fingerprint", "unknown"),
        release=values.get("ro.build.version.release", "unknown"),
        sdk=int(sdk),
        abis=tuple(abis.split(",")),
        num_cores=len(re.findall(r"^processor\s*:", output, re.MULTILINE)),
    )


def choose_core_mask(device: AdbDevice, wanted: str, num_threads: int) -> str | None:
    """Returns the cores to keep to as `taskset` takes them; None for any core.

    Args:
        device: The device.
        wanted: `auto`, `none` or a hexadecimal mask.
        num_threads: Threads of the runner.

    Raises:
        ValueError: If the device refuses a mask that was given.
        ConnectionError: If the device is gone.
    """
    if wanted == "none":
        return None
    mask = wanted
    if wanted == "auto":
        answer = shell(device, f"grep -H . {_FREQUENCIES}")
        pairs = re.findall(r"/cpu(\d+)/cpufreq/\w+:(\d+)", answer.output)
        cores = {int(core): int(frequency) for core, frequency in pairs}
        if not cores:
            return None
        mask = f"{big_core_mask(cores, num_threads):x}"
    answer = shell(device, f"taskset {mask} true")
    if answer.status == 0:
        return mask
    if wanted == "auto":
        return None
    raise ValueError(
        f"core_mask must be one that {device.serial} takes. Received: "
        f"core_mask={wanted!r}, {answer.output.strip()}"
    )


def big_core_mask(frequencies: Mapping[int, int], num_threads: int) -> int:
    """Returns the fastest clusters that have as many cores as there are threads.

    Args:
        frequencies: Highest frequency by core, at least one; equal ones are a cluster.
        num_threads: If there are fewer cores, all are taken.

    Returns:
        The cores as bits, core 0 the lowest.
    """
    mask = 0
    for frequency in sorted(set(frequencies.values()), reverse=True):
        if mask.bit_count() >= num_threads:
            break
        for core, highest in frequencies.items():
            if highest == frequency:
                mask |= 1 << core
    return mask


def read_thermals(device: AdbDevice) -> Thermals:
    """Returns how warm the device is."""
    output = shell(device, "dumpsys thermalservice; dumpsys battery").output
    status = re.search(r"Thermal Status: (\d+)", output)
    # Of the battery, in tenths of a degree.
    battery = re.search(r"^\s*temperature: (-?\d+)", output, re.MULTILINE)
    return Thermals(
        status=int(status[1]) if status else None,
        battery_celsius=int(battery[1]) / 10 if battery else None,
    )


def wait_until_cool(device: AdbDevice, limit_seconds: float) -> None:
    """Returns when Android calls the device cool, or if it does not tell.

    Args:
        device: The device.
        limit_seconds: 0: return at once.

    Raises:
        ConnectionError: If the device stays warm until the limit, or is gone.
    """
    start = time.monotonic()
    while limit_seconds > 0:
        thermals = read_thermals(device)
        if thermals.status is None or thermals.status <= _COOL:
            return
        waited = time.monotonic() - start
        if waited >= limit_seconds:
            raise ConnectionError(
                f"{device.serial} must cool down within cool_down_limit_seconds="
                f"{limit_seconds:g}; lay it open and let it rest, or raise the limit "
                f"(0: run at once). Received: thermal status {thermals.status} after "
                f"{waited:.0f} s, battery at {thermals.battery_celsius} degrees Celsius"
            )
        time.sleep(_SECONDS_BETWEEN_LOOKS)


@contextlib.contextmanager
def run_folder(
    device: AdbDevice, sdk: int, *, fixed_performance: bool
) -> Iterator[RunFolder]:
    """Gives an empty folder on the device, whose clocks are held if that is wanted.

    Afterwards the folder is deleted and clocks are free again, whatever happened.
    Android does not tell whether its clocks were held before.

    Raises:
        ConnectionError: If the device is gone; the message says what stays on it.
    """
    path = f"/data/local/tmp/mobilenas_{secrets.token_hex(6)}"
    holds = fixed_performance and sdk >= _FIRST_SDK_WITH_FIXED_PERFORMANCE
    try:
        made = shell(device, f"mkdir {path}")
        if made.status != 0:
            raise ConnectionError(
                f"{device.serial} must let adb make {path}. Received: "
                f"{made.output.strip()}"
            )
        # Refused with a status other than 0 where the phone cannot hold its clocks.
        is_held = holds and shell(device, f"{_FIXED_PERFORMANCE} true").status == 0
        yield RunFolder(path, is_held)
    finally:
        _clean_up(device, path, holds)


def _clean_up(device: AdbDevice, path: str, holds: bool) -> None:
    try:
        if holds:
            shell(device, f"{_FIXED_PERFORMANCE} false")
        removed = shell(device, f"rm -rf {path}")
    except ConnectionError as error:
        mode = ", and its clocks stay held until it starts anew" if holds else ""
        raise ConnectionError(f"{error}; {path} stays on it{mode}") from error
    if removed.status != 0:
        raise ConnectionError(
            f"{device.serial} must let adb delete {path}, which stays on it. Received: "
            f"{removed.output.strip()}"
        )
