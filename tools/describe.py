"""Prints an architecture layer by layer, with multiply-adds and parameters.

Example:
  python -m tools.describe --architecture=mobilenet_v3_large
  python -m tools.describe --architecture=runs/search --json
  python -m tools.describe --architecture=mobilenet_v3_large --detector=ssdlite \
      --image_size_px=320 --num_classes=80
  python -m tools.build_latency_table --space=mobilenet_v3_large --output=v3.json
  python -m tools.describe --architecture=mobilenet_v3_large --latency_table=v3.json
"""

from __future__ import annotations

from collections.abc import Mapping

from absl import flags

from detection.config import HeadConfig
from mobilenas_tf.costs.latency_table import LatencyTable
from mobilenas_tf.spec import Architecture, Head
from tools import flag_config, network_flags, run_flags
from tools.latency_flags import define_latency_table, latency_table


def main() -> None:
    """Describes the architecture of the flags."""
    from mobilenas_tf.architecture_source import open_architecture
    from mobilenas_tf.costs.bit_widths import bit_costs
    from mobilenas_tf.costs.measured_space import layers_ms, predicted_ms
    from mobilenas_tf.costs.network import layer_costs, network_cost
    from mobilenas_tf.reporting.terminal import format_table
    from mobilenas_tf.spec import (
        describe_block,
        describe_head_layer,
        walk_blocks,
        with_head,
    )

    values = flags.FLAGS
    architecture = with_head(
        open_architecture(values.architecture),
        num_classes=values.num_classes,
        image_size_px=values.image_size_px,
    )
    if values.detector is not None:
        from detection.heads import with_detection_head

        architecture = with_detection_head(
            architecture,
            HeadConfig(head=values.detector),
            num_classes=architecture.head.num_classes,
        )
    cost = network_cost(architecture)
    blocks = {path: block for path, block, _ in walk_blocks(architecture)}
    blocks.update({"stem": architecture.stem})
    table = latency_table()
    layer_ms = layers_ms(architecture, table) if table else {}
    rows = [
        {
            "layer": layer.path,
            "what": describe_block(blocks[layer.path])
            if layer.path in blocks
            else describe_head_layer(architecture.head, layer.path),
            "output": f"{layer.out_size_px}x{layer.out_size_px}x{layer.out_channels}",
            "macs": layer.cost.macs,
            "params": layer.cost.params,
            **({"ms": layer_ms[layer.path]} if layer_ms else {}),
        }
        for layer in layer_costs(architecture)
    ]
    result = {
        "name": architecture.name,
        "image_size_px": architecture.image_size_px,
        "num_classes": architecture.head.num_classes,
        "params": cost.params,
        "macs": cost.macs,
    }
    bits = bit_costs(architecture)
    result |= _counted_by_authors(architecture) | bits
    if table is not None:
        result["latency_ms"] = predicted_ms(architecture, table)
    if not values.json:
        print(format_table(list(rows[0]), rows))
        if "fbnet_flops" in result:
            print(
                "As FBNet's authors count (weights alone; pooling's inputs as well): "
                f"{result['fbnet_flops'] / 1e6:.6f} M FLOPs, "
                f"{result['fbnet_params']:,} parameters"
            )
    run_flags.finish(
        result,
        f"{architecture.name} at {architecture.image_size_px} px: "
        f"{cost.macs / 1e6:.3f} M multiply-adds, {cost.params:,} parameters"
        + _bit_sentence(bits)
        + (f", {result['latency_ms']:.4g} ms ({_conditions(table)})" if table else ""),
    )


def _bit_sentence(bits: Mapping[str, float]) -> str:
    if not bits:
        return ""
    return (
        f", {bits['bit_macs'] / 1e6:.3f} M bit operations (what has no bit widths at "
        f"8 x 8), {bits['weight_bytes'] / 1e3:.3f} kB of weights"
    )


def _conditions(table: LatencyTable) -> str:
    """Returns what a table's latencies hold for, in words."""
    conditions = table.conditions
    threads = f"{conditions.num_threads} thread" + "s" * (conditions.num_threads > 1)
    return f"{conditions.precision}, {conditions.device}, {threads}"


def _counted_by_authors(architecture: Architecture) -> dict[str, int]:
    """Returns the counts of a published network by its authors' rule, if another."""
    from mobilenas_tf.costs.fbnet_counting import fbnet_counts
    from mobilenas_tf.zoo import ZOO

    name = architecture.name
    is_classifier = isinstance(architecture.head, Head)
    if not is_classifier or name not in ZOO or ZOO[name].counting != "fbnet":
        return {}
    cost = fbnet_counts(architecture)
    return {"fbnet_params": cost.params, "fbnet_flops": cost.macs}


network_flags.define_architecture()
flags.DEFINE_integer("image_size_px", None, "Input size; by default its own.")
flags.DEFINE_enum(
    "detector",
    None,
    ["ssdlite", "fpnlite"],
    "With this detection head; by default the architecture's own head.",
)
define_latency_table("its predictions are shown.")
flags.DEFINE_integer("num_classes", None, "Classes; by default its own.")
run_flags.define_json()

if __name__ == "__main__":
    flag_config.run(main)
