"""A phone for the tests here: a folder, and an `adb` that acts upon it."""

from __future__ import annotations

import ast
import dataclasses
import shlex
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SERIAL = "R58N123ABC"
PROPERTIES = {
    "ro.product.manufacturer": "Google",
    "ro.product.model": "Pixel 8",
    "ro.soc.manufacturer": "Google",
    "ro.soc.model": "Tensor G3",
    "ro.build.fingerprint": "google/shiba/shiba:15/AP3A/1:user/release-keys",
    "ro.build.version.release": "15",
    "ro.build.version.sdk": "35",
    "ro.product.cpu.abi": "arm64-v8a",
    "ro.product.cpu.abilist": "arm64-v8a,armeabi-v7a",
}
# Four small cores, three large ones and the largest.
FREQUENCIES = [1_704_000] * 4 + [2_367_000] * 3 + [2_914_000]
RUNNER = {
    "kind": "tflite",
    "runs": False,
    "times_us": [1000, 1010, 1020, 1030],
    "delegation": "full",
    "refusals": {},
    "writes_result": True,
    "cuts_result": False,
    "cuts_profile": False,
}
SCENARIO = {
    "devices": {SERIAL: "device"},
    "unplug": None,
    "cut": None,
    "disk_bytes": 10**9,
}
TOOLS = {
    "getprop": "cat {state}/properties",
    "taskset": 'echo "$1" >> {state}/masks; shift; exec "$@"',
    # The first line stays when it is the last: the phone is that warm from then on.
    "dumpsys": "if [ $1 = battery ]; then echo '  temperature: 285'; exit; fi\n"
    "echo IsStatusOverride: false\n"
    "echo Thermal Status: $(head -n 1 {state}/thermal)\n"
    "[ $(wc -l < {state}/thermal) = 1 ] || sed -i 1d {state}/thermal",
    "cmd": 'echo "$3" >> {state}/fixed_performance',
    "benchmark_model": "exec {python} {runner} {state} {arguments}",
}


@dataclasses.dataclass(frozen=True)
class FakeDevice:
    """The device's folder; `adb` is the client to call."""

    state: Path

    @property
    def adb(self) -> str:
        return str(self.state / "bin" / "adb")

    def read_lines(self, name: str) -> list[str]:
        path = self.state / name
        return path.read_text().splitlines() if path.exists() else []

    def calls(self) -> list[list[str]]:
        return [ast.literal_eval(line) for line in self.read_lines("calls")]

    def runs(self) -> list[str]:
        """The shell commands that ran a model, in their order."""
        shells = [call[-1] for call in self.calls() if "shell" in call]
        return [command for command in shells if "--graph=" in command]

    def left_behind(self) -> list[str]:
        """What a session left in `/data/local/tmp`."""
        return sorted(path.name for path in (self.state / "data").iterdir())

    def has_held_clocks(self) -> bool:
        return self.read_lines("fixed_performance")[-1:] == ["true"]


def make_device(
    folder: Path,
    *,
    runner: dict[str, Any] | None = None,
    properties: dict[str, str] | None = None,
    thermal: tuple[int, ...] = (0,),
    tools: dict[str, str] | None = None,
    **scenario: Any,
) -> FakeDevice:
    """Returns a phone in a new folder.

    Args:
        folder: Where.
        runner: How its `benchmark_model` differs from `RUNNER`.
        properties: How it differs from `PROPERTIES`.
        thermal: Android's thermal status, look by look.
        tools: Shell scripts instead of those in `TOOLS`; an empty one is missing.
        **scenario: How it differs from `SCENARIO`.
    """
    state = folder / "device"
    (state / "data").mkdir(parents=True)
    (state / "bin").mkdir()
    settings = SCENARIO | scenario | {"runner": RUNNER | (runner or {})}
    (state / "scenario").write_text(repr(settings))
    values = (PROPERTIES | (properties or {})).items()
    (state / "properties").write_text("".join(f"[{k}]: [{v}]\n" for k, v in values))
    (state / "thermal").write_text("".join(f"{status}\n" for status in thermal))
    (state / "cpuinfo").write_text("processor\t: 0\nmodel\t: x\n" * len(FREQUENCIES))
    for core, frequency in enumerate(FREQUENCIES):
        path = state / "cpu" / f"cpu{core}" / "cpufreq" / "cpuinfo_max_freq"
        path.parent.mkdir(parents=True)
        path.write_text(f"{frequency}\n")
    # The stand-in needs packages only to run a file in earnest.
    python = f"{sys.executable} {'-I' if settings['runner']['runs'] else '-IS'}"
    for name, script in (TOOLS | (tools or {})).items():
        text = script.format(
            state=shlex.quote(str(state)),
            python=python,
            runner=HERE / "fake_runner.py",
            arguments='"$@"',
        )
        _write_script(state / "bin" / name, text)
    adb = f'exec {sys.executable} -IS {HERE / "fake_adb.py"} {state} "$@"'
    _write_script(state / "bin" / "adb", adb)
    return FakeDevice(state)


def _write_script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def write_binary(path: Path, machine: int = 183) -> Path:
    """Writes the header of a 64-bit ELF program (elf.h); 183 is EM_AARCH64."""
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00" + bytes([machine, 0])
    path.write_bytes(header + bytes(1000))
    return path


def write_model(path: Path, num_bytes: int = 100) -> Path:
    """Writes what looks like a `.tflite` file to those who do not run it."""
    path.write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(num_bytes - 8))
    return path
