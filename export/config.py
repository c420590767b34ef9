"""Options of export and of benchmarking, as data."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Literal

from mobilenas_tf.options import option, require, require_literals

Quantization = Literal["float32", "float16", "dynamic", "int8", "int8_qat"]
InputOutput = Literal["auto", "float32", "uint8", "int8"]
WeightScales = Literal["channel", "tensor"]
INT8_KINDS = ("int8", "int8_qat")


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """How a network becomes a `.tflite` file."""

    quantization: Quantization = option(
        "int8",
        "float32; float16 weights; dynamic (int8 weights, activations quantised on the "
        "fly); int8 (weights and activations); int8_qat (the same, after "
        "training on with the rounding in place).",
    )
    io: InputOutput = option(
        "auto",
        "Type of the input: uint8 (raw pixels), float32 or int8. The outputs are "
        "float32, those of an int8 input int8 (which MediaPipe refuses). auto: uint8 "
        "with int8 quantisation, else float32, as only int8 quantisation has another.",
    )
    quantizer: Literal["tensorflow", "litert"] = option(
        "tensorflow",
        "int8: what finds the ranges and quantises, TensorFlow's converter or LiteRT's "
        "quantizer.",
    )
    weight_scales: WeightScales = option(
        "channel",
        "int8 and int8_qat: one scale for each output channel of a kernel, or one for "
        "the whole tensor, for accelerators that know no other; that may cost "
        "accuracy.",
    )
    postprocess: bool = option(
        False,
        "Detectors: the file ends in finished detections, by the operator "
        "TFLite_Detection_PostProcess (on the CPU), instead of scores and encoded "
        "boxes.",
    )
    calibration_images: int = option(
        256,
        "Images, spread evenly over those given, that set the ranges of "
        "the int8 activations.",
    )
    max_accuracy_drop: float | None = option(
        None,
        "Fail, and write nothing, if the file loses more than this: points of top-1 "
        "accuracy in percent, or a detector's of mAP in percent.",
    )

    def __post_init__(self) -> None:
        require_literals(self)
        if self.io in ("uint8", "int8") and not self.is_int8:
            raise ValueError(
                f"io must be float32 with quantization={self.quantization}, as "
                "uint8 and int8 input and output go together with "
                f"quantization=int8 and int8_qat only. Received: io={self.io}"
            )
        require(
            self.quantizer == "tensorflow" or self.quantization == "int8",
            "tensorflow unless quantization=int8",
            "quantizer",
            self.quantizer,
        )
        require(
            self.weight_scales == "channel"
            or (self.is_int8 and self.quantizer == "tensorflow"),
            "channel unless quantization is int8 (quantizer=tensorflow) or int8_qat",
            "weight_scales",
            self.weight_scales,
        )
        require(
            not (self.postprocess and self.io == "int8"),
            "float32, uint8 or auto with postprocess, whose detections are float32",
            "io",
            self.io,
        )
        require(
            self.calibration_images >= 1,
            "at least 1",
            "calibration_images",
            self.calibration_images,
        )

    @property
    def is_int8(self) -> bool:
        """Whether weights and activations are int8."""
        return self.quantization in INT8_KINDS

    @property
    def tensor_type(self) -> str:
        """Type of the file's input: `io` with `auto` decided."""
        if self.io != "auto":
            return self.io
        return "uint8" if self.is_int8 else "float32"


@dataclasses.dataclass(frozen=True)
class QatConfig:
    """How a trained network is fine-tuned for int8."""

    epochs: int = option(5, "Passes over the training images.")
    learning_rate: float = option(
        0.005, "Learning rate of the first step; it falls to 0 along a cosine."
    )
    momentum: float = option(0.9, "Momentum of SGD.")
    gradient_clip_norm: float = option(
        1.0,
        "Scale gradients down to this global norm; 0 is off. There is no batch norm "
        "left to tame a large step.",
    )
    range_decay: float = option(
        0.99, "Share of its range that each activation keeps in a step."
    )
    range_batches: int = option(
        16, "Batches that give activations their first range, before training."
    )

    def __post_init__(self) -> None:
        for name in ("epochs", "range_batches"):
            value = getattr(self, name)
            require(value >= 1, "at least 1", name, value)
        for name in ("momentum", "range_decay"):
            value = getattr(self, name)
            require(0 <= value < 1, "in [0, 1)", name, value)
        require(self.learning_rate > 0, "above 0", "learning_rate", self.learning_rate)
        require(
            self.gradient_clip_norm >= 0,
            "0 or more",
            "gradient_clip_norm",
            self.gradient_clip_norm,
        )


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
    memory: bool = option(
        True,
        "Host: measure the memory that each model takes as well, in a process of its "
        "own. A phone's runner tells it anyway.",
    )

    def __post_init__(self) -> None:
        for name in ("warmup_runs", "seed"):
            value = getattr(self, name)
            require(value >= 0, "at least 0", name, value)
        for name in ("num_threads", "runs", "repeats"):
            value = getattr(self, name)
            require(value >= 1, "at least 1", name, value)


@dataclasses.dataclass(frozen=True)
class DeviceConfig:
    """Where latency is measured, and how a phone is held meanwhile."""

    device: str = option(
        "host",
        "host: this machine; adb: the phone that is attached; adb:SERIAL: one of "
        "several.",
    )
    benchmark_binary: str | None = option(
        None,
        "benchmark_model built for the phone, of TFLite or of LiteRT 2; which one "
        "is found out. Needed for a phone.",
    )
    adb: str = option("adb", "Phone: the adb client, a name or a path.")
    accelerator: Literal["cpu", "gpu"] = option(
        "cpu",
        "Phone: what is asked to run the graph. What ran it stands in the result.",
    )
    core_mask: str = option(
        "auto",
        "Phone: cores to keep to, hexadecimal as for taskset; auto: the fastest "
        "clusters that have num_threads cores together; none: any core.",
    )
    fixed_performance: bool = option(
        True, "Phone: ask for clocks that do not change, where Android can hold them."
    )
    cool_down_limit_seconds: float = option(
        300.0,
        "Phone: how long to wait before a run until Android calls it cool; 0: run "
        "at once.",
    )
    min_warmup_seconds: float = option(
        0.5, "Phone: how long a repeat's warm-up lasts at least."
    )
    min_run_seconds: float = option(
        1.0, "Phone: how long a repeat's timed runs last at least."
    )
    run_limit_seconds: float = option(
        150.0, "Phone: when a repeat's runs end, even if some are left to do."
    )
    operator_profile: bool = option(
        True, "Phone: take the time of each operator as well, in a run of its own."
    )

    def __post_init__(self) -> None:
        require_literals(self)
        kind, colon, serial = self.device.partition(":")
        is_known = self.device == "host" or (
            kind == "adb" and bool(serial or not colon)
        )
        require(is_known, "host, adb or adb:SERIAL", "device", self.device)
        if self.device == "host":
            require(
                self.accelerator == "cpu",
                "cpu on host",
                "accelerator",
                self.accelerator,
            )
        else:
            require(
                bool(self.benchmark_binary),
                "a benchmark_model built for the phone when device is not host; "
                "storage.googleapis.com/litert/binaries has some",
                "benchmark_binary",
                self.benchmark_binary,
            )
        require(
            self.core_mask in ("auto", "none") or _is_mask(self.core_mask),
            "auto, none or a hexadecimal number above 0",
            "core_mask",
            self.core_mask,
        )
        for name in ("cool_down_limit", "min_warmup", "min_run"):
            value = getattr(self, f"{name}_seconds")
            require(0 <= value < math.inf, "at least 0", f"{name}_seconds", value)
        require(
            0 < self.run_limit_seconds < math.inf,
            "above 0",
            "run_limit_seconds",
            self.run_limit_seconds,
        )

    @property
    def serial(self) -> str | None:
        """The phone's serial number, if `device` names one."""
        return self.device.partition(":")[2] or None


def _is_mask(text: str) -> bool:
    return re.fullmatch("[0-9a-fA-F]{1,16}", text) is not None and int(text, 16) > 0
