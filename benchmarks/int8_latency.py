r"""Int8 networks by our exporter against other `.tflite` files of the same networks.

MobileNetV2-1.0-224 against files of Google, MobileNetV3-Large against that of
`keras.applications`, converted by the stock converter here. All run in one LiteRT
process, in turns, and the whole of it twice, to see how far a ratio repeats. Latency
does not hang on the weights, which are random, as are the calibration images. Our
networks in float32 run along. Where they are slower than the reference they are the
trivial baseline: a target counts as met only if they fail it. (They are not slower than
Google's file of 2018, nor than int8 MobileNetV3, ours or theirs, whose hard-swish
XNNPACK does not take.) The machine must be idle: with as many threads as cores, any
other work decides the figure.

Differs: Google's file of 2020 and Keras' end in a softmax, ours in logits.

Run: python -m benchmarks.int8_latency \
         --reference=mobilenet_v2_1.0_224_quant.tflite,tf2_mobilenet_v2_1.0_224_ptq.tflite
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Mapping, Sequence
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

NUM_CLASSES = {"mobilenet_v2": 1001, "mobilenet_v3_large": 1000}  # of the references
MAX_RATIO = 1.03
MAX_DIFFERENCE = 0.03  # of a ratio between two runs
NUM_CALIBRATION_IMAGES = 8

_REFERENCES = flags.DEFINE_list(
    "reference", [], "Paths of int8 files of MobileNetV2-1.0-224 to compare with."
)
_THREADS = flags.DEFINE_multi_integer(
    "threads", [1, 2], "Numbers of threads, each measured by itself."
)
_REPEATS = flags.DEFINE_integer("repeats", 10, "Interleaved repeats.")
_RUNS = flags.DEFINE_integer("runs", 50, "Timed runs of a model in each repeat.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of weights, images and orders.")


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Our file of a network and others', all int8, and our file in float32."""

    network: str
    ours: Path
    in_float: Path
    references: tuple[Path, ...]


def export_network(name: str, directory: Path, seed: int) -> tuple[Path, Path]:
    """Writes a network with random weights in int8 and float32; returns the paths."""
    import keras

    from export.tflite import convert_to_tflite
    from mobilenas_tf.models.compact import build_network
    from mobilenas_tf.zoo import zoo_architecture

    keras.utils.set_random_seed(seed)
    architecture = zoo_architecture(name, num_classes=NUM_CLASSES[name])
    model = build_network(architecture)
    int8 = ExportConfig(calibration_images=NUM_CALIBRATION_IMAGES)
    float32 = ExportConfig(quantization="float32", io="float32")
    paths = directory / f"{name}_int8.tflite", directory / f"{name}_float32.tflite"
    paths[0].write_bytes(convert_to_tflite(model, int8, _images(seed)))
    paths[1].write_bytes(convert_to_tflite(model, float32))
    return paths


def export_keras_application(directory: Path, seed: int) -> Path:
    """Writes `keras.applications`' MobileNetV3-Large in int8 by the stock converter."""
    import keras
    import tensorflow as tf

    # With an open batch size XNNPACK refuses the file.
    image = keras.Input(batch_shape=(1, 224, 224, 3))
    model = keras.applications.MobileNetV3Large(
        weights=None, include_preprocessing=False, input_tensor=image
    )
    # As Keras says; `from_keras_model` loses the weights of a Keras 3 model.
    exported = str(directory / "keras_applications")
    model.export(exported, verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(exported)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [image[None]] for image in _images(seed).astype("float32")
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.uint8
    path = directory / "keras_applications_int8.tflite"
    path.write_bytes(converter.convert())
    return path


def measure(
    comparison: Comparison, num_threads: int, seed: int
) -> tuple[list[BenchmarkResult], list[dict[str, Any]]]:
    """Returns the latencies of a comparison, and the ratios to each reference."""
    config = BenchmarkConfig(
        num_threads=num_threads, runs=_RUNS.value, repeats=_REPEATS.value, seed=seed
    )
    paths = [comparison.ours, comparison.in_float, *comparison.references]
    results = [
        dataclasses.replace(result, model=Path(result.model).name)
        for result in benchmark_models(paths, config)
    ]
    int8, float32, *references = results
    return results, [
        {
            "network": comparison.network,
            "reference": reference.model,
            "num_threads": num_threads,
            "int8_over_reference": compare_latency(int8, reference),
            "float32_over_reference": compare_latency(float32, reference),
            "ratio_of_medians": int8.median_ms / reference.median_ms,
        }
        for reference in references
    ]


def main() -> None:
    """Exports, measures and prints."""
    all_results: list[BenchmarkResult] = []
    runs: list[list[dict[str, Any]]] = [[], []]
    with tempfile.TemporaryDirectory() as directory:
        comparisons = _comparisons(Path(directory))
        operators = {
            path.name: count_operators(path)
            for comparison in comparisons
            for path in (comparison.ours, *comparison.references)
        }
        for ratios in runs:
            for num_threads in _THREADS.value:
                for comparison in comparisons:
                    results, found = measure(comparison, num_threads, _SEED.value)
                    all_results += results
                    ratios += found
    print(format_table(all_results))
    for comparison in comparisons:
        print(format_operators(comparison, operators))
    targets = [
        target
        for first, second in zip(*runs, strict=True)
        for target in _targets(first, second)
    ]
    print(
        terminal.format_table(("name", "value", "baseline", "target", "met"), targets)
    )
    evidence.finish(
        figures={"results": all_results, "ratios": runs, "operators": operators},
        settings={
            "threads": _THREADS.value,
            "repeats": _REPEATS.value,
            "runs": _RUNS.value,
            "seed": _SEED.value,
        },
        targets=targets,
    )


def _comparisons(directory: Path) -> list[Comparison]:
    comparisons = []
    if _REFERENCES.value:
        ours, in_float = export_network("mobilenet_v2", directory, _SEED.value)
        references = tuple(Path(path) for path in _REFERENCES.value)
        comparisons.append(Comparison("mobilenet_v2", ours, in_float, references))
    ours, in_float = export_network("mobilenet_v3_large", directory, _SEED.value)
    reference = export_keras_application(directory, _SEED.value)
    comparisons.append(Comparison("mobilenet_v3_large", ours, in_float, (reference,)))
    return comparisons


def _images(seed: int) -> Any:
    import numpy as np

    shape = (NUM_CALIBRATION_IMAGES, 224, 224, 3)
    return np.random.default_rng(seed).uniform(-1, 1, shape)


def _targets(
    first: Mapping[str, Any], second: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Returns the targets of one ratio, measured in two runs."""
    name = f"{first['network']} over {first['reference']}"
    name += f", {first['num_threads']} threads"
    ratios = [run["ratio_of_medians"] for run in (first, second)]
    baseline = first["float32_over_reference"].high_95
    slower_in_float = first["float32_over_reference"].low_95 > MAX_RATIO
    return [
        evidence.target(
            f"latency of {name}, upper bound (95 %)",
            first["int8_over_reference"].high_95,
            MAX_RATIO,
            at_most=True,
            baseline=baseline if slower_in_float else None,
        ),
        evidence.target(
            f"difference of two runs, {name}",
            math.expm1(abs(math.log(ratios[0] / ratios[1]))),
            MAX_DIFFERENCE,
            at_most=True,
        ),
    ]


def format_operators(
    comparison: Comparison, operators: Mapping[str, Mapping[str, int]]
) -> str:
    """Returns a table of the operators of our file and the others."""
    files = [path.name for path in (comparison.ours, *comparison.references)]
    names: Sequence[str] = sorted({name for file in files for name in operators[file]})
    rows = [
        {"operator": name} | {file: operators[file].get(name, 0) for file in files}
        for name in names
    ]
    return terminal.format_table(("operator", *files), rows)


if __name__ == "__main__":
    run(main)
