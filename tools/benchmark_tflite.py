"""Times .tflite files on this machine or on a phone, interleaved.

Example:
  python -m tools.benchmark_tflite --model=a.tflite,b.tflite
  python -m tools.benchmark_tflite --model=a.tflite --operator_report
  python -m tools.benchmark_tflite --model=a.tflite --device=adb --benchmark_binary=B

For a phone, switch on USB debugging and point to a benchmark_model built for it, as
storage.googleapis.com/litert/binaries/latest/android_arm64/benchmark_model.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from export.config import BenchmarkConfig, DeviceConfig
from tools import flag_config, run_flags


def main() -> None:
    """Times the models of the flags."""
    from export.benchmark.device import describe_device
    from export.benchmark.measure import measure_latency
    from export.benchmark.operator_profile import format_top_operators
    from export.benchmark.plot import plot_latency
    from export.benchmark.result import compare_latency, format_table
    from export.bundle import benchmark_path
    from export.operators import format_operator_report, operator_report
    from mobilenas_tf.json_io import write_json
    from mobilenas_tf.provenance import describe_provenance
    from mobilenas_tf.reporting.page import write_report

    paths = [Path(name) for name in flags.FLAGS.model]
    config = flag_config.config_from_flags(BenchmarkConfig)
    device_config = flag_config.config_from_flags(DeviceConfig)
    provenance = describe_provenance(run_flags.command())
    reports = (
        {str(path): operator_report(path) for path in paths}
        if flags.FLAGS.operator_report
        else {}
    )
    results = measure_latency(paths, config, device_config)
    output = Path(flags.FLAGS.output or benchmark_path(paths[0]))
    document = {
        "provenance": provenance,
        "config": config,
        "device_config": device_config,
        "results": [result.to_json() for result in results],
        "operator_reports": {
            name: report.to_json() for name, report in reports.items()
        },
    }
    write_json(output, document)
    plot = output.with_suffix(".png")
    plot_latency(results, plot)
    if (output.parent / "config.json").exists():  # it lies in a run folder
        write_report(output.parent)
    if not flags.FLAGS.json:
        print(describe_device(results[0].device))
        print(format_table(results))
        for result in results[1:] if config.repeats > 1 else ():
            ratio = compare_latency(result, results[0])
            print(
                f"{result.model} takes {ratio.ratio:.3f} of the first one's time "
                f"(95 % interval {ratio.low_95:.3f} to {ratio.high_95:.3f})"
            )
        for result in results if flags.FLAGS.top_operators else ():
            print(f"Slowest operators of {result.model}:")
            print(format_top_operators(result.operators, flags.FLAGS.top_operators))
        for name, report in reports.items():
            print(f"{name}:\n{format_operator_report(report)}")
    run_flags.finish(
        {
            "results": document["results"],
            "operator_reports": document["operator_reports"],
            "plot": str(plot),
        },
        f"Median {results[0].median_ms:.3f} ms: {output} and {plot}",
    )


flags.DEFINE_list(
    "model", None, "One .tflite file, or several with commas between.", required=True
)
flags.DEFINE_string(
    "output",
    None,
    "JSON file; by default benchmark.json in the run folder of the first model's "
    "bundle, whose report then shows it, or beside a model that is in none.",
)
flags.DEFINE_integer(
    "top_operators",
    0,
    "Phone: how many of a model's operators to print, the slowest first.",
    lower_bound=0,
)
flags.DEFINE_bool(
    "operator_report",
    False,
    "Say which operators a GPU or NPU delegate is known not to take.",
)
flag_config.define_flags(BenchmarkConfig)
flag_config.define_flags(DeviceConfig)
run_flags.define_json()

if __name__ == "__main__":
    flag_config.run(main)
