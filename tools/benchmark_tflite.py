"""Times .tflite files on this machine, interleaved.

Example:
  python -m tools.benchmark_tflite --model=runs/a/model_int8_uint8.tflite,b.tflite
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from export.config import BenchmarkConfig
from tools import flag_config, run_flags


def main() -> None:
    """Times the models of the flags."""
    from export.benchmark.host import benchmark_models
    from export.benchmark.result import compare_latency, format_table
    from mobilenas_tf.json_io import write_json
    from mobilenas_tf.reporting.page import write_report

    paths = [Path(name) for name in flags.FLAGS.model]
    config = flag_config.config_from_flags(BenchmarkConfig)
    results = benchmark_models(paths, config)
    output = Path(flags.FLAGS.output or paths[0].parent / "benchmark.json")
    write_json(output, [result.to_json() for result in results])
    if (output.parent / "config.json").exists():  # it lies in a run folder
        write_report(output.parent)
    if not flags.FLAGS.json:
        print(format_table(results))
        for result in results[1:] if config.repeats > 1 else ():
            ratio = compare_latency(result, results[0])
            print(
                f"{result.model} takes {ratio.ratio:.3f} of the first one's time "
                f"(95 % interval {ratio.low_95:.3f} to {ratio.high_95:.3f})"
            )
    run_flags.finish(
        {"results": [result.to_json() for result in results]},
        f"Median {results[0].median_ms:.3f} ms: {output}",
    )


flags.DEFINE_list(
    "model", None, "One .tflite file, or several with commas between.", required=True
)
flags.DEFINE_string(
    "output", None, "JSON file; by default benchmark.json beside the first model."
)
flag_config.define_flags(BenchmarkConfig)
run_flags.define_json()

if __name__ == "__main__":
    flag_config.run(main)
