"""Latency of `.tflite` files on this machine, with the LiteRT interpreter."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from export.benchmark.delegation import read_host_delegation
from export.benchmark.device import Device
from export.benchmark.memory import measure_memory
from export.benchmark.result import BenchmarkResult
from export.checksum import checksum
from export.config import BenchmarkConfig
from export.interpreter import load_interpreter, read_tflite, running
from mobilenas_tf.provenance import cpu_model


def benchmark_models(
    models: Sequence[str | os.PathLike[str]], config: BenchmarkConfig
) -> tuple[BenchmarkResult, ...]:
    """Returns the latency of each file, measured in turns in this process.

    Every repeat times all models, in an order drawn anew, so that a disturbance of the
    machine does not fall on one model only. Inputs are random, filled in once; what is
    timed is the run alone. Memory is measured afterwards, in other processes.

    Args:
        models: Paths of `.tflite` files, at least one.
        config: Threads, runs, repeats, seed, and whether memory is measured.

    Raises:
        FileNotFoundError: If a file is not there.
        ValueError: Without a model, or if a file is no `.tflite` file.
    """
    if not models:
        raise ValueError("models must name at least one .tflite file. Received: none")
    generator = np.random.default_rng(config.seed)
    loaded = [_load(path, config, generator) for path in models]
    timings_ms = np.empty((len(loaded), config.repeats, config.runs))
    for repeat in range(config.repeats):
        for index in generator.permutation(len(loaded)):
            invoke = loaded[index].interpreter.invoke
            for _ in range(config.warmup_runs):
                invoke()
            timings_ms[index, repeat] = [_time_ms(invoke) for _ in range(config.runs)]
    memory_bytes = [
        measure_memory(path, config.num_threads) if config.memory else None
        for path in models
    ]
    device = describe_host()
    return tuple(
        _summarize(model, timings, memory, config.num_threads, device)
        for model, timings, memory in zip(loaded, timings_ms, memory_bytes, strict=True)
    )


@dataclasses.dataclass(frozen=True)
class _LoadedModel:
    path: str
    content: bytes
    interpreter: Interpreter
    init_ms: float
    first_inference_ms: float


def _load(
    path: str | os.PathLike[str],
    config: BenchmarkConfig,
    generator: np.random.Generator,
) -> _LoadedModel:
    content = read_tflite(path)
    start_ns = time.perf_counter_ns()
    interpreter = load_interpreter(path, num_threads=config.num_threads)
    init_ms = (time.perf_counter_ns() - start_ns) / 1e6
    with running(os.fspath(path)):
        for tensor in interpreter.get_input_details():
            interpreter.set_tensor(tensor["index"], _draw_input(tensor, generator))
        first_ms = _time_ms(interpreter.invoke)
    return _LoadedModel(os.fspath(path), content, interpreter, init_ms, first_ms)


def _draw_input(tensor: dict[str, Any], generator: np.random.Generator) -> np.ndarray:
    dtype, shape = tensor["dtype"], tensor["shape"]
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return generator.integers(
            limits.min, limits.max, shape, dtype=dtype, endpoint=True
        )
    return generator.uniform(-1, 1, shape).astype(dtype)


def _time_ms(invoke: Callable[[], None]) -> float:
    start_ns = time.perf_counter_ns()
    invoke()
    return (time.perf_counter_ns() - start_ns) / 1e6


def _summarize(
    model: _LoadedModel,
    timings_ms: np.ndarray,
    memory_bytes: int | None,
    num_threads: int,
    device: Device,
) -> BenchmarkResult:
    interpreter = model.interpreter
    delegation = read_host_delegation(
        # LiteRT has no public way to ask what its default delegate took over.
        interpreter._get_ops_details(),
        [int(output["index"]) for output in interpreter.get_output_details()],
    )
    return BenchmarkResult(
        model=model.path,
        model_sha256=checksum(model.content),
        model_bytes=len(model.content),
        device=device,
        delegate=delegation.delegate,
        num_delegate_partitions=delegation.num_partitions,
        num_threads=num_threads,
        num_runs=timings_ms.size,
        init_ms=model.init_ms,
        first_inference_ms=model.first_inference_ms,
        median_ms=float(np.median(timings_ms)),
        p90_ms=float(np.percentile(timings_ms, 90)),
        p95_ms=float(np.percentile(timings_ms, 95)),
        mean_ms=float(timings_ms.mean()),
        stddev_ms=float(timings_ms.std()),
        min_ms=float(timings_ms.min()),
        repeat_medians_ms=tuple(np.median(timings_ms, axis=1).tolist()),
        delegation=delegation.extent,
        undelegated_operators=delegation.undelegated,
        memory_bytes=memory_bytes,
    )


def describe_host() -> Device:
    """Returns this machine's description."""
    return Device(
        cpu=cpu_model(),
        num_cores=os.cpu_count() or 1,
        operating_system=platform.platform(),
        runtime=f"LiteRT {importlib.metadata.version('ai-edge-litert')}",
    )
