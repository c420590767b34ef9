"""Options of export and of benchmarking on this machine, as data."""

from __future__ import annotations

import dataclasses
from typing import Literal

from mobilenas_tf.options import option, require, require_literals

Quantization = Literal["float32", "float16", "dynamic", "int8"]
InputOutput = Literal["auto", "float32", "uint8", "int8"]


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """How a network becomes a `.tflite` file."""

    quantization: Quantization = option(
        "int8",
        "float32; float16 weights; dynamic (int8 weights, activations "
        "quantised on the fly); int8 (weights per channel and activations).",
    )
    io: InputOutput = option(
        "auto",
        "Type of input and output: uint8 (raw pixels), int8 or float32. "
        "auto: uint8 with int8 quantisation, else float32, as only int8 "
        "quantisation has another.",
    )
    calibration_images: int = option(
        256,
        "Images, spread evenly over those given, that set the ranges of "
        "the int8 activations.",
    )

    def __post_init__(self) -> None:
        require_literals(self)
        if self.io in ("uint8", "int8") and self.quantization != "int8":
            raise ValueError(
                f"io must be float32 with quantization={self.quantization}, as "
                "uint8 and int8 input and output go together with "
                f"quantization=int8 only. Received: io={self.io}"
            )
        require(
            self.calibration_images >= 1,
            "at least 1",
            "calibration_images",
            self.calibration_images,
        )

    @property
    def tensor_type(self) -> str:
        """Type of the file's input and output: `io` with `auto` decided."""
        if self.io != "auto":
            return self.io
        return "uint8" if self.quantization == "int8" else "float32"


@dataclasses.dataclass(frozen=True)
class BenchmarkConfig:
    """How the latency of `.tflite` files is measured."""

    num_threads: int = option(1, "Threads of the interpreter.")
    warmup_runs: int = option(
        10, "Untimed runs of a model at the start of each repeat."
    )
    runs: int = option(50, "Timed runs of each model in each repeat.")
    repeats: int = option(
        10, "Repeats. Each times every model once, in an order drawn anew."
    )
    seed: int = option(0, "Seed of the orders and of the input values.")

    def __post_init__(self) -> None:
        for name in ("warmup_runs", "seed"):
            value = getattr(self, name)
            require(value >= 0, "at least 0", name, value)
        for name in ("num_threads", "runs", "repeats"):
            value = getattr(self, name)
            require(value >= 1, "at least 1", name, value)
