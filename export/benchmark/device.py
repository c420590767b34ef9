"""What a latency was measured on, as data."""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Thermals:
    """How warm a phone is; None where it does not tell.

    `status` is Android's: 0 is none, 1 light, 2 moderate, up to 6, shutdown.
    """

    status: int | None
    battery_celsius: float | None


@dataclasses.dataclass(frozen=True)
class PhoneSession:
    """Which phone and runner a latency is from, and how the phone was held.

    `core_mask` is hexadecimal, None if every core was allowed.
    """

    serial: str
    model: str
    fingerprint: str
    sdk: int
    abi: str
    runner_kind: Literal["tflite", "litert"]
    runner_sha256: str
    core_mask: str | None
    has_fixed_performance: bool
    thermals_before: Thermals
    thermals_after: Thermals


@dataclasses.dataclass(frozen=True)
class Device:
    """The machine and the software that a latency was measured on."""

    cpu: str
    num_cores: int
    operating_system: str
    runtime: str
    phone: PhoneSession | None = None


def describe_device(device: Device) -> str:
    """Returns the machine, its software and how it was held, in one line."""
    about = f"{device.cpu}, {device.num_cores} cores, {device.runtime}"
    phone = device.phone
    if phone is None:
        return about
    cores = "any core" if phone.core_mask is None else f"cores {phone.core_mask}"
    clocks = "clocks held" if phone.has_fixed_performance else "clocks free"
    warmth = [phone.thermals_before.status, phone.thermals_after.status]
    before, after = ("unknown" if status is None else status for status in warmth)
    return (
        f"{phone.model}, {device.operating_system}, {about}, {cores}, {clocks}, "
        f"thermal status {before} before and {after} after"
    )
