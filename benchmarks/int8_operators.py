"""Operators left in float inside the int8 files of the zoo, all spaces and detectors.

Weights are random, as no operator hangs on them. Quantisation-aware training is cut to
finding the ranges. The baseline is the float file, all of whose operators count.

Run: python -m benchmarks.int8_operators
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from absl import app, flags

from benchmarks import evidence
from benchmarks.int8_architectures import classifiers, detectors
from mobilenas_tf.names import lookup
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.spec import Architecture

ROUTES = ("int8", "int8_litert", "int8_qat")

_ROUTES = flags.DEFINE_multi_enum("route", ROUTES[:2], ROUTES, "Ways to int8.")
_NAMES = flags.DEFINE_list("names", None, "Of networks; by default all.")

NUM_IMAGES = 2  # to calibrate with


def main(_: list[str]) -> None:
    """Converts every network by every route; prints the table and one JSON object."""
    from export.operators import float_operators

    networks = classifiers() | detectors()
    names = _NAMES.value or list(networks)
    rows: list[dict[str, Any]] = []
    for name in names:
        architecture = lookup("network", name, networks)
        for route in _ROUTES.value:
            started = time.monotonic()
            content = _convert(architecture, route)
            left = sorted({name for name, _ in float_operators(content)})
            rows.append(
                {
                    "network": name,
                    "route": route,
                    "left_in_float": len(float_operators(content)),
                    "operators": " ".join(left),
                }
            )
            seconds = time.monotonic() - started
            print(f"{len(rows)} {name} {route}: {left} ({seconds:.0f} s)", flush=True)
    baseline = len(float_operators(_convert(networks[names[0]], "float32")))
    print(format_table(list(rows[0]), [row for row in rows if row["left_in_float"]]))
    evidence.finish(
        figures={"rows": rows, "networks": len(names)},
        settings={"routes": _ROUTES.value, "num_images": NUM_IMAGES},
        targets=[
            evidence.target(
                f"{route}: operators left in float in {len(names)} networks",
                sum(row["left_in_float"] for row in rows if row["route"] == route),
                0,
                at_most=True,
                baseline=baseline,
            )
            for route in _ROUTES.value
        ],
    )


def _convert(architecture: Architecture, route: str) -> bytes:
    from export.config import ExportConfig
    from export.conversion import convert_network
    from mobilenas_tf.models.compact import build_network
    from mobilenas_tf.models.layer_set import STOCK

    network = build_network(architecture, layer_set=STOCK)
    if route == "int8_qat":
        return _quantization_aware_file(architecture, network)
    config = ExportConfig(
        quantization="float32" if route == "float32" else "int8",
        quantizer="litert" if route == "int8_litert" else "tensorflow",
        calibration_images=NUM_IMAGES,
    )
    return convert_network(network, config, _images(architecture), tail=None)


def _quantization_aware_file(architecture: Architecture, network: Any) -> bytes:
    import tensorflow as tf

    from export.batch_norm_folding import fold_batch_norms
    from export.config import ExportConfig
    from export.keras_twin import tf_keras_twin
    from export.qat import convert_quantized, take_ranges
    from export.qat_layers import quantization_aware

    folded = fold_batch_norms(tf_keras_twin(architecture, network))
    model = quantization_aware(folded, range_decay=0.9)
    batches = tf.data.Dataset.from_tensors((_images(architecture),))
    take_ranges(model, batches, 1)
    return convert_quantized(model, ExportConfig(quantization="int8_qat"))


def _images(architecture: Architecture) -> np.ndarray:
    size_px = architecture.image_size_px
    shape = (NUM_IMAGES, size_px, size_px, 3)
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, shape).astype(np.float32)


if __name__ == "__main__":
    app.run(main)
