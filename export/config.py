"""Options of export and of benchmarking on this machine, as data."""

from __future__ import annotations

import dataclasses
from dataclasses import field
from typing import Literal, get_args

Quantization = Literal["float32", "float16", "dynamic", "int8"]
InputOutput = Literal["auto", "float32", "uint8", "int8"]


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """How a network becomes a `.tflite` file."""

    quantization: Quantization = field(
        default="int8",
        metadata={
            "help": "float32; float16 weights; dynamic (int8 weights, activations "
            "quantised on the fly); int8 (weights per channel and activations)."
        },
    )
    io: InputOutput = field(
        default="auto",
        metadata={
            "help": "Type of input and output: uint8 (raw pixels), int8 or float32. "
            "auto: uint8 with int8 quantisation, else float32, as only int8 "
            "quantisation has another."
        },
    )
    calibration_images: int = field(
        default=256,
        metadata={
            "help": "Images, spread evenly over those given, that set the ranges of "
            "the int8 activations."
        },
    )

    def __post_init__(self) -> None:
        for name, options in (("quantization", Quantization), ("io", InputOutput)):
            value = getattr(self, name)
            if value not in get_args(options):
                raise ValueError(
                    f"{name} must be one of {', '.join(get_args(options))}. "
                    f"Received: {name}={value!r}"
                )
        if self.io in ("uint8", "int8") and self.quantization != "int8":
            raise ValueError(
                f"io must be float32 with quantization={self.quantization}, as "
                "uint8 and int8 input and output go together with "
                f"quantization=int8 only. Received: io={self.io}"
            )
        _check_at_least(1, calibration_images=self.calibration_images)

    @property
    def tensor_type(self) -> str:
        """Type of the file's input and output: `io` with `auto` decided."""
        if self.io != "auto":
            return self.io
        return "uint8" if self.quantization == "int8" else "float32"


@dataclasses.dataclass(frozen=True)
class BenchmarkConfig:
    """How the latency of `.tflite` files is measured."""

    num_threads: int = field(
        default=1, metadata={"help": "Threads of the interpreter."}
    )
    warmup_runs: int = field(
        default=10,
        metadata={"help": "Untimed runs of a model at the start of each repeat."},
    )
    runs: int = field(
        default=50, metadata={"help": "Timed runs of each model in each repeat."}
    )
    repeats: int = field(
        default=10,
        metadata={
            "help": "Repeats. Each times every model once, in an order drawn anew."
        },
    )
    seed: int = field(
        default=0, metadata={"help": "Seed of the orders and of the input values."}
    )

    def __post_init__(self) -> None:
        _check_at_least(0, warmup_runs=self.warmup_runs, seed=self.seed)
        _check_at_least(
            1, num_threads=self.num_threads, runs=self.runs, repeats=self.repeats
        )


def _check_at_least(least: int, **values: int) -> None:
    for name, value in values.items():
        if value < least:
            raise ValueError(
                f"{name} must be at least {least}. Received: {name}={value}"
            )
