"""Latency of `.tflite` files wherever it is to be measured: this machine or a phone."""

from __future__ import annotations

import os
from collections.abc import Sequence

from export.benchmark import host, phone
from export.benchmark.result import BenchmarkResult
from export.config import BenchmarkConfig, DeviceConfig


def measure_latency(
    models: Sequence[str | os.PathLike[str]],
    config: BenchmarkConfig,
    device_config: DeviceConfig,
) -> tuple[BenchmarkResult, ...]:
    """Returns the latency of each file, many or few, measured in turns.

    For many small files, as of a latency table, `operator_profile` and `memory` may be
    left out, and `min_run_seconds` be small.

    Args:
        models: Paths of `.tflite` files, at least one.
        config: Threads, runs, repeats and seed.
        device_config: Where.

    Raises:
        FileNotFoundError: If a file is not there.
        ValueError: Without a model, or if a file is no `.tflite` file or does not run.
        ConnectionError: If the phone is not attached, not ready, too warm or lost.
    """
    if device_config.device == "host":
        return host.benchmark_models(models, config)
    return phone.benchmark_models(models, config, device_config)
