"""Compares a latency table's predictions with measured networks, and calibrates it.

Example:
  python -m tools.validate_latency_table --latency_table=host_int8.json --num_classes=10

Some random networks of the space calibrate the table, others judge it. The calibration
is written into the table, the comparison beside it.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from absl import flags

from export.config import BenchmarkConfig, DeviceConfig
from mobilenas_tf.costs.measured_space import measured_space
from tools import flag_config, run_flags

BENCHMARK = BenchmarkConfig(memory=False)


def main() -> None:
    """Validates the table of the flags."""
    from mobilenas_tf.costs.latency_fit import fit_calibration, prediction_error
    from mobilenas_tf.costs.latency_table import (
        check_conditions,
        read_latency_table,
        write_latency_table,
    )
    from mobilenas_tf.json_io import write_json
    from mobilenas_tf.provenance import describe_provenance

    values = flags.FLAGS
    path = Path(values.latency_table)
    table = read_latency_table(path)
    space = measured_space(table.space, num_classes=values.num_classes)
    config = flag_config.config_from_flags(
        BenchmarkConfig, num_threads=table.conditions.num_threads
    )
    device_config = flag_config.config_from_flags(DeviceConfig)
    rng = np.random.default_rng(config.seed)
    count = values.num_calibration + values.num_held_out
    sampled = [space.sample(rng) for _ in range(count)]
    networks = [network.architecture for network in sampled]
    raw = dataclasses.replace(table, calibration=None)
    sums = [network.predict(raw) for network in sampled]

    flag_config.import_tensorflow()
    from export.benchmark.plot import plot_predictions
    from export.latency_builder import measure_networks, probe

    precision = table.conditions.precision
    conditions, _ = probe(precision, config, device_config)
    check_conditions(path, table, conditions)
    results = measure_networks(networks, precision, config, device_config)
    measured = [result.median_ms for result in results]
    fitted = slice(values.num_calibration)
    judged = slice(values.num_calibration, count)
    table = dataclasses.replace(
        table, calibration=fit_calibration(sums[fitted], measured[fitted])
    )
    write_latency_table(path, table)
    predicted = [table.calibrated(each) for each in sums]
    error = prediction_error(predicted[judged], measured[judged])
    output = path.with_name(f"{path.stem}_validation.json")
    document = {
        **describe_provenance(run_flags.command()),
        "conditions": table.conditions,
        "calibration": table.calibration,
        "error": error,
        "predicted_ms": predicted[judged],
        "measured_ms": measured[judged],
    }
    write_json(output, document)
    plot = output.with_suffix(".png")
    plot_predictions(predicted[judged], measured[judged], plot)
    run_flags.finish(
        {
            "mape": error.mape,
            "spearman": error.spearman,
            "num_networks": error.num_networks,
            "output": str(output),
        },
        f"Mean error {error.mape:.1%}, rank correlation {error.spearman:.3f} on "
        f"{error.num_networks} networks that took no part: {output}, {plot}",
    )


flags.DEFINE_string("latency_table", None, "JSON file of the table.", required=True)
flags.DEFINE_integer("num_classes", 1000, "Classes of the table's head.", 1)
flags.DEFINE_integer("num_calibration", 20, "Networks that calibrate the table.", 3)
flags.DEFINE_integer("num_held_out", 30, "Networks that judge it.", 3)
flag_config.define_flags(
    BenchmarkConfig, leave_out=("num_threads",), defaults=BENCHMARK
)
flag_config.define_flags(DeviceConfig)
run_flags.define_json()

if __name__ == "__main__":
    flag_config.run(main)
