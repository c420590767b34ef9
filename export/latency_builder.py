"""Measuring the entries of a latency table: every part as a `.tflite` of its own."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from absl import logging

from export.benchmark.device import describe_device
from export.benchmark.measure import measure_latency
from export.benchmark.result import BenchmarkResult
from export.config import BenchmarkConfig, DeviceConfig, ExportConfig
from export.operator_models import call_model, part_model
from export.tflite import convert_to_tflite
from mobilenas_tf.costs.latency_parts import Part
from mobilenas_tf.costs.latency_table import (
    CALL,
    Conditions,
    LatencyEntry,
    LatencyTable,
    Precision,
)
from mobilenas_tf.models.compact import build_network
from mobilenas_tf.models.layer_set import STOCK
from mobilenas_tf.spec import Architecture

# Parts that are measured in turns, before they are written down.
CHUNK = 16
_NUM_IMAGES = 2  # to calibrate with: latency does not hang on the ranges


def measure_missing(
    table: LatencyTable,
    parts: Mapping[str, Part],
    config: BenchmarkConfig,
    device_config: DeviceConfig,
) -> Iterator[LatencyTable]:
    """Yields the table with more and more of the parts that it lacks.

    Each time some parts were measured in turns; a caller that writes every table goes
    on, when it is stopped and called again, where it was. Parts of which a phone's GPU
    takes nothing run on its CPU, as they do in a whole network: a warning names them.

    Args:
        table: Of the conditions to measure under; its entries are kept.
        parts: What is wanted, by key.
        config: Runs and repeats; its threads must be the table's.
        device_config: Where; its accelerator and cores must be the table's.

    Raises:
        ValueError: If the table is of another number of threads, accelerator or cores.
    """
    conditions = table.conditions
    for name, value in asked_conditions(config, device_config).items():
        if value != (wanted := getattr(conditions, name)):
            raise ValueError(f"{name} must be {wanted}, the table's. Received: {value}")
    wanted = [key for key in (CALL, *parts) if key not in table.entries]
    for start in range(0, len(wanted), CHUNK):
        keys = wanted[start : start + CHUNK]
        results = measure_models(
            [_model(parts.get(key)) for key in keys],
            conditions.precision,
            config,
            device_config,
        )
        _warn_of_the_cpu(keys, results, device_config)
        entries = {
            key: _entry(result) for key, result in zip(keys, results, strict=True)
        }
        table = dataclasses.replace(table, entries={**table.entries, **entries})
        yield table


def measure_networks(
    architectures: Sequence[Architecture],
    precision: Precision,
    config: BenchmarkConfig,
    device_config: DeviceConfig,
) -> tuple[BenchmarkResult, ...]:
    """Returns the latencies of whole networks, with random weights, in turns."""
    models = [build_network(each, layer_set=STOCK) for each in architectures]
    return measure_models(models, precision, config, device_config)


def measure_models(
    models: Sequence[keras.Model],
    precision: Precision,
    config: BenchmarkConfig,
    device_config: DeviceConfig,
) -> tuple[BenchmarkResult, ...]:
    """Returns the latencies of Keras models as `.tflite` files, in turns.

    In int8 inputs and outputs are int8 as well: nothing but the model is measured.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for index, model in enumerate(models):
            path = Path(folder) / f"{index}.tflite"
            path.write_bytes(_file(model, precision))
            paths.append(path)
        return measure_latency(paths, config, device_config)


def asked_conditions(
    config: BenchmarkConfig, device_config: DeviceConfig
) -> dict[str, Any]:
    """Returns those of a table's conditions that are asked for, not found, by name."""
    is_host = device_config.device == "host"  # where no cores are chosen
    return {
        "num_threads": config.num_threads,
        "accelerator": device_config.accelerator,
        "core_mask": "auto" if is_host else device_config.core_mask,
    }


def probe(
    precision: Precision, config: BenchmarkConfig, device_config: DeviceConfig
) -> tuple[Conditions, str]:
    """Returns a device's conditions, and its description, by running a small file.

    Raises:
        ValueError: If the device's GPU is asked for and takes nothing of the file, a
            plain convolution: what is measured so would be the CPU's.
    """
    quick = dataclasses.replace(config, repeats=1, runs=1, warmup_runs=0)
    (result,) = measure_models([_model(None)], precision, quick, device_config)
    device = result.device
    name = device.cpu if device.phone is None else device.phone.model
    if _is_the_cpus(result, device_config):
        raise ValueError(
            f"accelerator must be one that runs a plain {precision} convolution on "
            f"{name}. Received: accelerator={device_config.accelerator}, which took "
            "nothing of it"
        )
    asked = asked_conditions(config, device_config)
    return (
        Conditions(name, device.runtime, precision, **asked),
        describe_device(device),
    )


def part_file(part: Part, precision: Precision) -> bytes:
    """Returns a part as the content of a `.tflite` file."""
    return _file(part_model(part), precision)


def _model(part: Part | None) -> keras.Model:
    return call_model() if part is None else part_model(part)


def _file(model: keras.Model, precision: Precision) -> bytes:
    if precision == "float32":
        return convert_to_tflite(model, ExportConfig(quantization="float32"))
    config = ExportConfig(io="int8", calibration_images=_NUM_IMAGES)
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (_NUM_IMAGES, *model.input_shape[1:]))
    return convert_to_tflite(model, config, images.astype(np.float32))


def _is_the_cpus(result: BenchmarkResult, device_config: DeviceConfig) -> bool:
    return device_config.accelerator != "cpu" and result.delegation == "none"


def _warn_of_the_cpu(
    keys: Sequence[str],
    results: Sequence[BenchmarkResult],
    device_config: DeviceConfig,
) -> None:
    names = [
        key
        for key, result in zip(keys, results, strict=True)
        if _is_the_cpus(result, device_config)
    ]
    if names:
        logging.warning(
            "accelerator=%s took nothing of these parts, whose latencies in the table "
            "are the CPU's:\n%s",
            device_config.accelerator,
            "\n".join(names),
        )


def _entry(result: BenchmarkResult) -> LatencyEntry:
    medians = np.array(result.repeat_medians_ms)
    low, high = np.percentile(medians, [25, 75])
    return LatencyEntry(
        float(np.median(medians)),
        float((high - low) / np.median(medians)),
        len(medians),
    )
