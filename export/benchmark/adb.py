"""One Android device through the `adb` client: its shell, and files to and fro.

What is asked of the device is left to the neighbours. Arguments are lists throughout;
the commands for the device's shell are made of our own words only.
"""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

_END = "mobilenas_status="  # ends the output of every command, with its exit status
_SECONDS = 60.0
_SECONDS_PER_MB = 2.0  # a full-speed USB 1 line brings 1 MB/s

# What to do about a device that adb lists in another state than `device`.
_REMEDIES = {
    "unauthorized": "unlock the phone and allow this computer to debug it",
    "authorizing": "unlock the phone and allow this computer to debug it",
    "offline": "plug it in again, or run `adb reconnect`",
    "no permissions": "let this user open USB devices (udev rules; on Debian the "
    "package android-sdk-platform-tools-common) and plug it in again",
}


@dataclasses.dataclass(frozen=True)
class AdbDevice:
    """A device that answers: the adb client and the device's serial number."""

    adb: str
    serial: str


@dataclasses.dataclass(frozen=True)
class Answer:
    """Exit status and output of a command; the status is None if output was cut off."""

    status: int | None
    output: str


def find_device(adb: str, serial: str | None) -> AdbDevice:
    """Returns the device with this serial number, or else the only one attached.

    Args:
        adb: The adb client, a name or a path.
        serial: As `adb devices` lists it.

    Raises:
        ValueError: If there is no adb client, or if several devices are attached and
            none is named.
        ConnectionError: If the device is not attached or not ready; the message says
            what to do.
    """
    listing = _run(adb, ["devices"], _SECONDS)
    if listing.returncode != 0:
        raise ConnectionError(
            f"adb must list the attached devices. Received: {_complaint(listing)}"
        )
    states = _read_states(_text(listing.stdout))
    serial = _choose_serial(states, serial)
    state = states[serial]
    if state != "device":
        remedies = (text for key, text in _REMEDIES.items() if state.startswith(key))
        raise ConnectionError(
            f"{serial} must be ready: {next(remedies, 'start it into Android')}. "
            f"Received: {state}"
        )
    return AdbDevice(adb, serial)


def shell(
    device: AdbDevice, command: str, *, timeout_seconds: float = _SECONDS
) -> Answer:
    """Returns the answer of a shell command on the device, both outputs as one.

    Args:
        device: From `find_device`.
        command: For the device's shell; never made of a user's words.
        timeout_seconds: When to give up.

    Raises:
        ConnectionError: If the device is gone or does not answer in time.
    """
    done = _run(
        device.adb,
        ["-s", device.serial, "shell", f"{{ {command}; }} 2>&1; echo {_END}$?"],
        timeout_seconds,
    )
    # adb's own exit status does not count: without the shell protocol (before
    # Android 7) it is always 0, and 255 may be the command's or a lost device's.
    text = _text(done.stdout)
    end = re.search(rf"{_END}(\d+)\s*\Z", text)
    if end:
        return Answer(int(end[1]), text[: end.start()])
    require_attached(device)
    return Answer(None, text)


def push(device: AdbDevice, local: Path, remote: str) -> None:
    """Copies a file to the device.

    Raises:
        ValueError: If the device has no room for it.
        ConnectionError: If the device is gone or adb fails.
    """
    num_bytes = local.stat().st_size
    done = _run(
        device.adb,
        ["-s", device.serial, "push", os.path.abspath(local), remote],
        _SECONDS + _SECONDS_PER_MB * num_bytes / 1e6,
    )
    if done.returncode == 0:
        return
    require_attached(device)
    said = _complaint(done)
    if "no space left" in said.lower():
        raise ValueError(
            f"{device.serial} must have room for {local} ({num_bytes / 1e6:.1f} MB) in "
            f"its /data/local/tmp; delete something there. Received: {said}"
        )
    raise ConnectionError(f"adb must copy {local} to the device. Received: {said}")


def pull(device: AdbDevice, remote: str) -> bytes | None:
    """Returns the content of a file on the device; None if it cannot be had.

    Raises:
        ConnectionError: If the device is gone or does not answer in time.
    """
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder, "pulled")
        arguments = ["-s", device.serial, "pull", remote, str(local)]
        done = _run(device.adb, arguments, _SECONDS)
        if done.returncode == 0 and local.is_file():
            return local.read_bytes()
    require_attached(device)
    return None


def require_attached(device: AdbDevice) -> None:
    """Raises a ConnectionError if the device is gone."""
    state = _run(device.adb, ["-s", device.serial, "get-state"], _SECONDS)
    if state.returncode != 0 or _text(state.stdout).strip() != "device":
        raise ConnectionError(
            f"{device.serial} must stay attached and awake until the end. Received: "
            f"{_complaint(state)}"
        )


def _run(
    adb: str, arguments: list[str], timeout_seconds: float
) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            [adb, *arguments],
            stdin=subprocess.DEVNULL,  # adb shell would read the terminal
            capture_output=True,
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        shown = " ".join(arguments)
        raise ConnectionError(
            f"adb must answer within {timeout_seconds:.0f} s; see that the phone is on "
            f"and attached, or run `adb kill-server`. Received: nothing from {shown}"
        ) from error
    except OSError as error:
        raise ValueError(
            "adb must be the adb client; install Android's platform tools (Debian: the "
            f"package adb) or give its path. Received: adb={adb!r}, {error.strerror}"
        ) from error


def _read_states(listing: str) -> dict[str, str]:
    """Returns states by serial number from the output of `adb devices`."""
    lines = listing.partition("List of devices attached")[2].splitlines()
    pairs = (line.split(None, 1) for line in lines if not line.startswith("*"))
    return {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}


def _choose_serial(states: Mapping[str, str], serial: str | None) -> str:
    attached = ", ".join(states) or "no device"
    if serial is None and len(states) > 1:
        raise ValueError(
            "device must name one of the attached devices, --device=adb:SERIAL. "
            f"Received: device=adb with {attached} attached"
        )
    chosen = next(iter(states), None) if serial is None else serial
    if chosen is None or chosen not in states:
        raise ConnectionError(
            f"{chosen or 'the phone'} must be attached: connect it by USB, switch on "
            "USB debugging in its developer options and see that `adb devices` lists "
            f"it. Received: {attached}"
        )
    return chosen


def _text(output: bytes) -> str:
    return output.decode(errors="replace").replace("\r\n", "\n")


def _complaint(done: subprocess.CompletedProcess[bytes]) -> str:
    """Returns the line that says what went wrong; push and pull print it to stdout."""
    said = _text(done.stderr) + _text(done.stdout)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return next(iter(errors or lines[-1:]), f"exit status {done.returncode}")
