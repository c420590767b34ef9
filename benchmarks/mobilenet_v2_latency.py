r"""Int8 MobileNetV2-1.0-224 by our exporter against another `.tflite` of it.

Both run in one LiteRT process, in turns. Latency does not hang on the weights, which
are random, as are the calibration images. The same network exported in float32 runs
along as the trivial baseline: the target counts as met only if it fails it. The
machine must be idle: with as many threads as cores, any other work decides the figure.

Differs: Google's reference ends in a softmax, ours in logits; both have 1,001 classes.

Run: python -m benchmarks.mobilenet_v2_latency \
         --reference=tf2_mobilenet_v2_1.0_224_ptq.tflite
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks import evidence
from export.benchmark.host import benchmark_models
from export.benchmark.result import BenchmarkResult, compare_latency, format_table
from export.config import BenchmarkConfig, ExportConfig
from export.interpreter import count_operators
from mobilenas_tf.reporting import terminal
from tools.flag_config import run

NUM_CLASSES = 1001  # of the reference: ImageNet's and a background class
MAX_RATIO = 1.03
NUM_CALIBRATION_IMAGES = 8

_REFERENCE = flags.DEFINE_string(
    "reference",
    None,
    "Path of the int8 MobileNetV2-1.0-224 to compare with.",
    required=True,
)
_THREADS = flags.DEFINE_multi_integer(
    "threads", [1, 2], "Numbers of threads, each measured by itself."
)
_REPEATS = flags.DEFINE_integer("repeats", 10, "Interleaved repeats.")
_RUNS = flags.DEFINE_integer("runs", 50, "Timed runs of a model in each repeat.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of weights, images and orders.")


def export_mobilenet_v2(directory: Path, seed: int) -> tuple[Path, Path]:
    """Writes MobileNetV2 with random weights in int8 and float32; returns the paths."""
    import keras
    import numpy as np

    from export.tflite import convert_to_tflite
    from mobilenas_tf.models.compact import build_network
    from mobilenas_tf.spec import with_head
    from mobilenas_tf.zoo import mobilenet_v2

    keras.utils.set_random_seed(seed)
    architecture = with_head(mobilenet_v2(), num_classes=NUM_CLASSES)
    model = build_network(architecture)
    size_px = architecture.image_size_px
    images = np.random.default_rng(seed).uniform(
        -1, 1, (NUM_CALIBRATION_IMAGES, size_px, size_px, 3)
    )
    int8 = ExportConfig(calibration_images=NUM_CALIBRATION_IMAGES)
    float32 = ExportConfig(quantization="float32", io="float32")
    int8_path, float32_path = directory / "int8.tflite", directory / "float32.tflite"
    int8_path.write_bytes(convert_to_tflite(model, int8, images))
    float32_path.write_bytes(convert_to_tflite(model, float32))
    return int8_path, float32_path


def summarize(num_threads: int, results: Sequence[BenchmarkResult]) -> dict[str, Any]:
    """Returns how our files compare with the reference at one number of threads.

    Args:
        num_threads: Of the interpreter.
        results: Of our int8 file, our float32 file and the reference.
    """
    int8, float32, reference = results
    return {
        "num_threads": num_threads,
        "int8_over_reference": compare_latency(int8, reference),
        "float32_over_reference": compare_latency(float32, reference),
    }


def format_operators(ours: dict[str, int], reference: dict[str, int]) -> str:
    """Returns a table of the operators of two files."""
    names = sorted(ours | reference)
    rows = [("operator", "ours", "reference")] + [
        (name, str(ours.get(name, 0)), str(reference.get(name, 0))) for name in names
    ]
    return "\n".join(f"{row[0]:20}{row[1]:>6}{row[2]:>11}" for row in rows)


def main() -> None:
    """Exports, measures and prints."""
    reference = Path(_REFERENCE.value)
    reference_operators = count_operators(reference)
    ratios, all_results = [], []
    with tempfile.TemporaryDirectory() as directory:
        int8, float32 = export_mobilenet_v2(Path(directory), _SEED.value)
        operators = count_operators(int8)
        for num_threads in _THREADS.value:
            config = BenchmarkConfig(
                num_threads=num_threads,
                runs=_RUNS.value,
                repeats=_REPEATS.value,
                seed=_SEED.value,
            )
            results = [
                dataclasses.replace(result, model=Path(result.model).name)
                for result in benchmark_models([int8, float32, reference], config)
            ]
            ratios.append(summarize(num_threads, results))
            all_results += results
    print(format_table(all_results))
    print(format_operators(operators, reference_operators))
    targets = [
        evidence.target(
            f"latency over reference, {ratio['num_threads']} threads, upper bound "
            "(95 %)",
            ratio["int8_over_reference"].high_95,
            MAX_RATIO,
            at_most=True,
            baseline=ratio["float32_over_reference"].high_95,
        )
        for ratio in ratios
    ]
    print(
        terminal.format_table(("name", "value", "baseline", "target", "met"), targets)
    )
    evidence.finish(
        figures={
            "results": all_results,
            "ratios": ratios,
            "operators": {"ours": operators, "reference": reference_operators},
        },
        settings={
            "threads": _THREADS.value,
            "repeats": _REPEATS.value,
            "runs": _RUNS.value,
            "seed": _SEED.value,
        },
        targets=targets,
    )


if __name__ == "__main__":
    run(main)
