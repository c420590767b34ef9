import math

import pytest

from export.config import DeviceConfig


@pytest.mark.parametrize(
    ("device", "serial"),
    [("adb", None), ("adb:R58", "R58"), ("adb:192.168.0.7:5555", "192.168.0.7:5555")],
)
def test_serial_follows_the_first_colon(device: str, serial: str | None) -> None:
    assert DeviceConfig(device, "benchmark_model").serial == serial


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"device": "phone"}, "device must be host, adb or adb:SERIAL"),
        ({"device": "adb:"}, "device must be host, adb or adb:SERIAL"),
        ({"device": "host:1"}, "device must be host, adb or adb:SERIAL"),
        ({"device": "adb"}, "benchmark_binary must be a benchmark_model built for"),
        ({"accelerator": "gpu"}, "accelerator must be cpu on host"),
        ({"accelerator": "npu"}, "accelerator must be one of cpu, gpu"),
        ({"core_mask": "0"}, "core_mask must be auto, none or a hexadecimal"),
        ({"core_mask": "f0; reboot"}, "core_mask must be auto, none or a hexadecimal"),
        ({"core_mask": "0xf0"}, "core_mask must be auto, none or a hexadecimal"),
        ({"min_run_seconds": -1.0}, "min_run_seconds must be at least 0"),
        ({"min_warmup_seconds": math.nan}, "min_warmup_seconds must be at least 0"),
        ({"cool_down_limit_seconds": math.inf}, "cool_down_limit_seconds must be"),
        ({"run_limit_seconds": 0.0}, "run_limit_seconds must be above 0"),
    ],
)
def test_wrong_settings_are_refused(settings: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DeviceConfig(**settings)
