"""Latency of `.tflite` files on a phone: one session from attaching to tidying up."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from export.benchmark import android, phone_run
from export.benchmark.adb import find_device
from export.benchmark.device import Device, PhoneSession
from export.benchmark.phone_run import Inspection, Model, Session
from export.benchmark.repeats import pool_repeats
from export.benchmark.result import BenchmarkResult
from export.benchmark.runner import NAMES, read_binary, require_abi
from export.benchmark.runner_output import RunFigures
from export.checksum import checksum
from export.config import BenchmarkConfig, DeviceConfig
from export.interpreter import read_tflite


@dataclasses.dataclass(frozen=True)
class _Timed:
    """The figures of a model's repeats, and the arguments of the last of its runs."""

    figures: tuple[RunFigures, ...]
    arguments: tuple[str, ...]


def benchmark_models(
    models: Sequence[str | os.PathLike[str]],
    config: BenchmarkConfig,
    device_config: DeviceConfig,
) -> tuple[BenchmarkResult, ...]:
    """Returns the latency of each file on the phone, measured in turns.

    Each model runs once beforehand, which tells what runs where and finds files that
    the runner refuses before time is spent. Every repeat then times all models, each in
    a process of its own on a cool phone, in an order drawn anew. Afterwards the phone
    is as it was.

    Args:
        models: Paths of `.tflite` files, at least one.
        config: Threads, runs, repeats and seed.
        device_config: Which phone, its runner, and how it is held.

    Raises:
        FileNotFoundError: If a model or the runner is not there.
        ValueError: Without a model, if a file is not what it should be, if the runner
            refuses one, or if the phone has no room.
        ConnectionError: If the phone is not attached, not ready, too warm or lost.
    """
    if not models:
        raise ValueError("models must name at least one .tflite file. Received: none")
    loaded = [
        Model(os.fspath(path), read_tflite(path), f"model{index}.tflite")
        for index, path in enumerate(models)
    ]
    binary = read_binary(device_config.benchmark_binary or "")
    device = find_device(device_config.adb, device_config.serial)
    properties = android.read_properties(device)
    require_abi(binary, properties.abis, f"{properties.model} ({device.serial})")
    mask = android.choose_core_mask(device, device_config.core_mask, config.num_threads)
    before = android.read_thermals(device)
    with android.run_folder(
        device, properties.sdk, fixed_performance=device_config.fixed_performance
    ) as folder:
        runner = phone_run.copy_runner(device, folder.path, binary)
        session = Session(device, folder, runner, mask, config, device_config)
        for model in loaded:
            phone_run.copy_model(session, model)
        inspections = [phone_run.inspect(session, model) for model in loaded]
        timed = _time_in_turns(session, loaded)
        after = android.read_thermals(device)
    phone = PhoneSession(
        serial=device.serial,
        model=properties.model,
        fingerprint=properties.fingerprint,
        sdk=properties.sdk,
        abi=binary.abi,
        runner_kind=runner.kind,
        runner_sha256=binary.sha256,
        core_mask=mask,
        has_fixed_performance=folder.has_fixed_performance,
        thermals_before=before,
        thermals_after=after,
    )
    described = Device(
        cpu=properties.soc,
        num_cores=properties.num_cores,
        operating_system=f"Android {properties.release} (SDK {properties.sdk})",
        runtime=f"{NAMES[runner.kind]}, {binary.sha256[:12]}",
        phone=phone,
    )
    return tuple(
        _summarize(model, inspection, times, config.num_threads, described)
        for model, inspection, times in zip(loaded, inspections, timed, strict=True)
    )


def _time_in_turns(session: Session, models: Sequence[Model]) -> list[_Timed]:
    generator = np.random.default_rng(session.config.seed)
    limit_seconds = session.device_config.cool_down_limit_seconds
    figures: list[list[RunFigures]] = [[] for _ in models]
    arguments: list[tuple[str, ...]] = [() for _ in models]
    for repeat in range(session.config.repeats):
        for index in generator.permutation(len(models)):
            android.wait_until_cool(session.device, limit_seconds)
            result = f"result{index}_{repeat}.pb"
            one, arguments[index] = phone_run.time_once(session, models[index], result)
            figures[index].append(one)
    return [
        _Timed(tuple(repeats), last)
        for repeats, last in zip(figures, arguments, strict=True)
    ]


def _summarize(
    model: Model,
    inspection: Inspection,
    timed: _Timed,
    num_threads: int,
    device: Device,
) -> BenchmarkResult:
    delegation = inspection.delegation
    return BenchmarkResult(
        model=model.path,
        model_sha256=checksum(model.content),
        model_bytes=len(model.content),
        device=device,
        delegate=delegation.delegate,
        num_delegate_partitions=delegation.num_partitions,
        num_threads=num_threads,
        p90_ms=None,
        delegation=delegation.extent,
        undelegated_operators=delegation.undelegated,
        fallback_delegates=delegation.fallbacks,
        operators=inspection.operators,
        runner_arguments=timed.arguments,
        **vars(pool_repeats(timed.figures)),
    )
