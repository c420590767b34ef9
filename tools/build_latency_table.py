"""Measures the parts of a search space on a device, into a latency table.

Example:
  python -m tools.build_latency_table --space=fbnet_32 --num_classes=10 \
      --precision=int8 --output=host_int8.json
  python -m tools.build_latency_table --space=fbnet --device=adb \
      --benchmark_binary=benchmark_model --output=phone_int8.json

In a space of operators the parts are whole blocks, in one of channel counts (figs_...,
one_shot_..., fbnet_v3...) its operators at 8, 16, 32, 64 ... channels. Only entries
that the table lacks are measured; a build that was stopped goes on when the same
command is started again. A table is of one space and of one device's conditions.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from absl import flags

from export.config import BenchmarkConfig, DeviceConfig
from mobilenas_tf.costs.measured_space import SPACES, measured_space
from tools import flag_config, run_flags

# Parts are small: more runs, and no memory of theirs.
BENCHMARK = BenchmarkConfig(runs=100, memory=False)


def main() -> None:
    """Builds the table that the flags describe."""
    values = flags.FLAGS
    space = measured_space(values.space, num_classes=values.num_classes)
    config = flag_config.config_from_flags(BenchmarkConfig)
    device_config = flag_config.config_from_flags(DeviceConfig)
    output = Path(values.output)

    flag_config.import_tensorflow()
    from tqdm import tqdm

    from export.latency_builder import asked_conditions, measure_missing, probe
    from mobilenas_tf.costs.latency_table import (
        CALL,
        LatencyTable,
        check_conditions,
        check_space,
        read_latency_table,
        write_latency_table,
    )
    from mobilenas_tf.provenance import describe_provenance

    parts = space.parts
    table = None
    if output.exists():
        table = read_latency_table(output)
        check_space(output, table, space.name)
        asked = asked_conditions(config, device_config)
        wanted = dataclasses.replace(
            table.conditions, precision=values.precision, **asked
        )
        check_conditions(output, table, wanted)
    conditions, device = probe(values.precision, config, device_config)
    if table is None:
        provenance = {**describe_provenance(run_flags.command()), "device": device}
        table = LatencyTable(space.name, conditions, {}, provenance=provenance)
    check_conditions(output, table, conditions)
    known = sum(key in table.entries for key in (CALL, *parts))
    num_before = len(table.entries)
    with tqdm(total=len(parts) + 1, initial=known, desc=device, unit="entry") as bar:
        for more in measure_missing(table, parts, config, device_config):
            write_latency_table(output, more)
            bar.update(len(more.entries) - len(table.entries))
            table = more
    spreads = [entry.spread for entry in table.entries.values()]
    run_flags.finish(
        {
            "table": str(output),
            "entries": len(parts) + 1,
            "measured_now": len(table.entries) - num_before,
        },
        f"{len(parts) + 1} entries of {space.name} on {device}, spread at most "
        f"{max(spreads):.1%}: {output}",
    )


flags.DEFINE_string(
    "space",
    "fbnet_32",
    f"One of {', '.join(SPACES)}; or a zoo network, for `describe`.",
)
flags.DEFINE_integer("num_classes", 1000, "Classes of the head.", lower_bound=1)
flags.DEFINE_enum("precision", "int8", ["int8", "float32"], "Of the measured files.")
flags.DEFINE_string("output", None, "JSON file of the table.", required=True)
flag_config.define_flags(BenchmarkConfig, defaults=BENCHMARK)
flag_config.define_flags(DeviceConfig)
run_flags.define_json()

if __name__ == "__main__":
    flag_config.run(main)
