"""Stands in for `benchmark_model` on the fake device: runs, prints and writes as it.

The lines are those of tflite/tools/benchmark and litert/tools. Runs with the standard
library alone, unless the scenario wants the file to be run in earnest.
"""

import math
import os
import struct
import sys
import time

COMMON_FLAGS = (
    *("num_runs", "min_secs", "max_secs", "num_threads", "warmup_runs"),
    *("warmup_min_secs", "report_peak_memory_footprint", "graph"),
)
FLAGS = {
    "old": (*COMMON_FLAGS, "use_gpu", "enable_op_profiling")
    + ("profiling_output_csv_file",),
    "tflite": (*COMMON_FLAGS, "use_xnnpack", "use_gpu", "enable_op_profiling")
    + ("op_profiling_output_mode", "op_profiling_output_file", "result_file_path")
    + ("export_model_runtime_info", "model_runtime_info_output_file"),
    "litert": (*COMMON_FLAGS, "use_cpu", "use_gpu", "use_npu", "use_profiler")
    + ("result_file_path", "model_runtime_info_output_file"),
    "other": ("help", "graph"),
}
DELEGATION = {
    "full": "Explicitly applied {} delegate, and the model graph will be completely "
    "executed by the delegate.",
    "partial": "Explicitly applied {} delegate, and the model graph will be partially "
    "executed by the delegate w/ 2 delegate kernels.",
    "none": "Though {} delegate is explicitly applied, the model graph will not be "
    "executed by the delegate.",
}
RUN_ORDER = "============================== Run Order =============================="
CSV_PROFILE = f"""Profiling Info for Benchmark Initialization:
{RUN_ORDER}
node type, first, avg_ms, %, cdf%, mem KB, times called, name
AllocateTensors, 0.2, 0.1, 100%, 100%, 0, 2, AllocateTensors/0

Operator-wise Profiling Info for Regular Benchmark Runs:
{RUN_ORDER}
node type, first, avg_ms, %, cdf%, mem KB, times called, name
TfLiteXNNPackDelegate, 0.9, 0.75, 100%, 100%, 0, 1, [a, b]:2

Number of nodes executed: 1
Timings (microseconds): count=20 first=900 curr=750 min=700 max=900 avg=750 std=9
Memory (bytes): count=0
1 nodes observed

Delegate internal:
{RUN_ORDER}
node type, first, avg_ms, %, cdf%, mem KB, times called, name
Convolution (NHWC, QS8) IGEMM, 0.3, 0.25, 33%, 33%, 0, 1, Delegate/Convolution:0
Fully Connected, 0.6, 0.5, 67%, 100%, 0, 1, Delegate/Fully Connected:1

Number of nodes executed: 2
Timings (microseconds): count=20 first=900 curr=750 min=700 max=900 avg=750 std=9
Memory (bytes): count=0
2 nodes observed

"""


def main(state: str, arguments: list[str]) -> int:
    program = "benchmark_model"
    if not os.access(program, os.X_OK):
        print(f"sh: ./{program}: can't execute: Permission denied", file=sys.stderr)
        return 126
    with open(f"{state}/scenario") as file:
        scenario = eval(file.read(), {})["runner"]  # plain values
    print("INFO: STARTING!")
    if arguments == ["--help"]:
        lines = [
            f"\t--{flag}=1   \tint32\toptional\t..." for flag in FLAGS[scenario["kind"]]
        ]
        print(
            "ERROR: usage: benchmark_model <flags>", *lines, sep="\n", file=sys.stderr
        )
        return 1
    flags = dict(argument.removeprefix("--").split("=", 1) for argument in arguments)
    if unknown := set(flags) - set(FLAGS[scenario["kind"]]):
        print(f"WARN: Unconsumed cmdline flags: {unknown}")
    print(f"INFO: Graph: [{flags['graph']}]", flush=True)
    refusal = scenario["refusals"].get(flags["graph"])
    if refusal:
        status, text = refusal
        print(f"ERROR: {text}\nERROR: Benchmarking failed.", file=sys.stderr)
        return status
    try:
        figures = (_run if scenario["runs"] else _pretend)(flags, scenario)
    except ValueError as error:
        print(f"ERROR: {error}\nERROR: Benchmarking failed.", file=sys.stderr)
        return 1
    _print(flags, scenario, figures)
    _write(flags, scenario, figures)
    return 0


def _pretend(flags: dict, scenario: dict) -> dict:
    times = scenario["times_us"]
    runs = [times[index % len(times)] for index in range(int(flags["num_runs"]))]
    warmup = [3 * times[0]] * int(flags["warmup_runs"])
    return {"init_us": 2500, "warmup_us": warmup, "runs_us": runs}


def _run(flags: dict, scenario: dict) -> dict:
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    def clock_us() -> int:
        return time.perf_counter_ns() // 1000

    def time_us(repeats: int) -> list[int]:
        times = []
        for _ in range(repeats):
            begin = clock_us()
            interpreter.invoke()
            times.append(clock_us() - begin)
        return times

    start = clock_us()
    threads = int(flags["num_threads"])
    interpreter = Interpreter(model_path=flags["graph"], num_threads=threads)
    interpreter.allocate_tensors()
    init_us = clock_us() - start
    for tensor in interpreter.get_input_details():
        zeros = np.zeros(tensor["shape"], tensor["dtype"])
        interpreter.set_tensor(tensor["index"], zeros)
    warmup = time_us(int(flags["warmup_runs"]))
    runs = time_us(int(flags["num_runs"]))
    return {"init_us": init_us, "warmup_us": warmup, "runs_us": runs}


def _print(flags: dict, scenario: dict, figures: dict) -> None:
    is_tflite, is_old = scenario["kind"] != "litert", scenario["kind"] == "old"
    lines = []
    is_asked = "use_xnnpack" in flags or "use_gpu" in flags
    if is_tflite and is_asked:
        name = "GPU" if "use_gpu" in flags else "XNNPACK"
        lines.append(DELEGATION[scenario["delegation"]].format(name))
    lines += [
        f"Initialized session in {figures['init_us'] / 1e3:g}ms.",
        "Running benchmark for at least 1 iterations and at least 0 seconds but "
        "terminate if exceeding 150 seconds.",
        _stat(figures["warmup_us"], is_old) + "\n",
        "Running benchmark for at least 50 iterations and at least 0 seconds but "
        "terminate if exceeding 150 seconds.",
        _stat(figures["runs_us"], is_old) + "\n",
    ]
    if "use_profiler" in flags:
        lines.append(CSV_PROFILE)
    if is_tflite:
        warmup, runs = figures["warmup_us"], figures["runs_us"]
        lines += [
            f"Inference timings in us: Init: {figures['init_us']}, First inference: "
            f"{warmup[0]}, Warmup (avg): {sum(warmup) / len(warmup):g}, Inference "
            f"(avg): {sum(runs) / len(runs):g}",
            "Memory footprint delta from the start of the tool (MB): init=1.5 "
            "overall=2",
        ]
    print("".join(f"INFO: {line}\n" for line in lines), end="", flush=True)


def _stat(times: list[int], is_old: bool) -> str:
    """Returns what `StatWithPercentiles::OutputToStream` prints."""
    if min(times) == max(times):
        text = f"count={len(times)} curr={times[-1]}"
        text += "(all same)" if len(times) > 1 else ""
    else:
        mean, deviation = _mean_and_deviation(times)
        text = (
            f"count={len(times)} first={times[0]} curr={times[-1]} min={min(times)} "
            f"max={max(times)} avg={mean:g} std={deviation}"
        )
    if is_old:
        return text
    percentiles = (_percentile(times, percent) for percent in (5, 50, 95))
    return text + " p5={} median={} p95={}".format(*percentiles)


def _mean_and_deviation(times: list[int]) -> tuple[float, int]:
    mean = sum(times) / len(times)
    squares = sum(time_us**2 for time_us in times) / len(times)
    return mean, int(math.sqrt(max(squares - mean**2, 0)))


def _percentile(times: list[int], percent: int) -> int:
    return sorted(times)[len(times) * percent // 100]


def _write(flags: dict, scenario: dict, figures: dict) -> None:
    if "result_file_path" in flags and scenario["writes_result"]:
        result = _result(figures)
        size = len(result) // 2 if scenario["cuts_result"] else len(result)
        _write_file(flags["result_file_path"], result[:size])
    if "model_runtime_info_output_file" in flags:
        info = _runtime_info(scenario["delegation"])
        _write_file(flags["model_runtime_info_output_file"], info)
    profile = flags.get("op_profiling_output_file") or flags.get(
        "profiling_output_csv_file"
    )
    if profile:
        size = len(CSV_PROFILE) - 60 if scenario["cuts_profile"] else None
        _write_file(profile, CSV_PROFILE[:size].encode())


def _write_file(name: str, content: bytes) -> None:
    with open(name, "wb") as file:
        file.write(content)


def _result(figures: dict) -> bytes:
    warmup, runs = figures["warmup_us"], figures["runs_us"]
    mean, deviation = _mean_and_deviation(runs)
    latency_us = (
        *(mean, min(runs), max(runs), deviation),
        *(_percentile(runs, 50), _percentile(runs, 5), _percentile(runs, 95)),
        *(figures["init_us"], warmup[0], sum(warmup) / len(warmup)),
    )
    latency = b"".join(
        bytes([number << 3 | 5]) + struct.pack("<f", value / 1e3)
        for number, value in enumerate(latency_us, start=1)
    )
    memory = _number(1, 1536) + _number(2, 2048)
    misc = _number(2, len(runs)) + _number(3, len(warmup))
    return _message(2, latency) + _message(3, memory) + _message(4, misc)


def _runtime_info(delegation: str) -> bytes:
    """Returns `ModelRuntimeDetails` of two operators, and of the delegate's nodes."""
    names = [b"CONV_2D", b"ARG_MAX"]
    outside = {"full": [], "partial": [1], "none": [0, 1]}[delegation]
    nodes = [_number(1, index) + _message(2, name) for index, name in enumerate(names)]
    plan = list(outside)
    if delegation != "none":
        details = _message(1, b"TfLiteXNNPackDelegate")
        nodes.append(_number(1, 2) + _message(8, details))
        plan.append(2)
    graph = b"".join(_message(3, node) for node in nodes) + _message(4, bytes(plan))
    return _message(2, graph)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    pieces = bytearray()
    while value > 0x7F:
        pieces.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*pieces, value])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
