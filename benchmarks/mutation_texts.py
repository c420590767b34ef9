"""Readers of photos, flag files and what a phone's runner tells, with valid ones."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from PIL import Image

from benchmarks.mutation_case import Case, writes
from benchmarks.mutation_json import CONFIGS
from export.benchmark.delegation import read_runner_delegation
from export.benchmark.operator_profile import read_profile
from export.benchmark.runner_output import read_result, read_text
from mobilenas_tf.json_io import to_plain
from mobilenas_tf.json_text import parse_json
from mobilenas_tf.search.config import BudgetConfig
from mobilenas_tf.training.photos import decode_square, decode_whole, read_photo_size
from tools import flag_config

CONFIG_KINDS = (*map(type, CONFIGS.values()), BudgetConfig)


def _photo(file_format: str, mode: str = "RGB") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 4), np.uint8)
        image = Image.fromarray(pixels).convert(mode)
        exif = Image.Exif()
        exif[0x112] = 6
        path = folder / f"photo.{file_format.lower()}"
        image.save(
            path, file_format, **({} if file_format == "BMP" else {"exif": exif})
        )
        return path

    return make


def _decode(path: Path) -> tuple[np.ndarray, np.ndarray]:
    data = path.read_bytes()
    size = read_photo_size(data)
    whole = decode_whole(data)
    if whole.shape[:2] != size:
        raise ValueError("the photo has another size than its header says")
    return decode_square(data, 16), whole


def _is_photo(found: Any, valid: Any) -> bool:
    del valid
    square, whole = found
    shapes = (square.shape, whole.shape[2:])
    return shapes == ((16, 16, 3), (3,)) and square.dtype == whole.dtype == np.uint8


_RUN_TEXT = """INFO: STARTING!
INFO: Loaded model model0.tflite
INFO: Explicitly applied XNNPACK delegate, and the model graph will be partially \
executed by the delegate w/ 2 delegate kernels.
INFO: Initialized session in 12.5ms.
INFO: count=5 first=1500 curr=1400 min=1300 max=1500 avg=1400 std=70
INFO: count=50 first=1000 curr=1010 min=990 max=1100 avg=1010.5 std=12 p5=991 \
median=1005 p95=1090
INFO: Inference timings in us: Init: 12500, First inference: 1500, Warmup (avg): 1400
INFO: Memory footprint delta from the start of the tool (MB): init=1.5 overall=3.25
"""
_PROFILE = """============================== Run Order ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
CONV_2D, 0.2, 0.21, 60.0%, 60.0%, 0, 1, [conv]:0
ADD, 0.1, 0.14, 40.0%, 100.0%, 0, 1, [add, relu]:1

Number of nodes executed: 2
2 nodes observed
"""


def _field(number: int, kind: int, payload: bytes) -> bytes:
    return bytes([number << 3 | kind]) + payload


def _message(number: int, content: bytes) -> bytes:
    return _field(number, 2, bytes([len(content)]) + content)


def _make_figures(folder: Path) -> Path:
    latency = b"".join(_field(n, 5, struct.pack("<f", n * 0.5)) for n in range(1, 10))
    memory, misc = _field(2, 0, b"\x80\x08"), _field(2, 0, b"\x32")
    path = folder / "result.pb"
    path.write_bytes(_message(2, latency) + _message(3, memory) + _message(4, misc))
    return path


def _make_runtime_info(folder: Path) -> Path:
    def node(number: int, name: bytes, delegate: bytes) -> bytes:
        content = _field(1, 0, bytes([number])) + _message(2, name)
        return _message(3, content + delegate)

    nodes = node(1, b"CONV_2D", b"") + node(2, b"x", _message(8, _message(1, b"GPU")))
    path = folder / "runtime_info.pb"
    path.write_bytes(_message(2, nodes + _message(4, b"\x01\x02")))
    return path


def _is_told(figures: Any, valid: Any) -> bool:
    del valid
    json.dumps(dataclasses.asdict(figures), allow_nan=False)
    return True


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _make_flags(folder: Path) -> Path:
    lines = (
        "--epochs=3",
        "--learning_rate=0.1",
        "--dataset=digits",
        "--optimizer=sgd",
        "--nesterov=true",
        "--max_macs=8e6,6e6",
        "--image_size_px=32",
    )
    (folder / "run.flags").write_text("\n".join(lines) + "\n")
    return folder / "run.flags"


@functools.cache
def _all_flags() -> flags.FlagValues:
    """Returns flags of their own: scripts define some of the same names."""
    values = flags.FlagValues()
    for config in CONFIG_KINDS:
        flag_config.define_flags(config, flag_values=values)
    return values


def _read_flags(path: Path) -> list[Any]:
    """Returns configurations; a mistake that is told with status 1 is a ValueError."""
    values = _all_flags()
    values.unparse_flags()
    told = io.StringIO()
    with contextlib.redirect_stderr(told):
        try:
            flag_config.parse_arguments(["x", f"--flagfile={path}"], values)
        except SystemExit as error:
            line = told.getvalue()
            if (
                error.code != 1
                or not line.startswith("error: ")
                or line.count("\n") > 1
            ):
                raise
            raise ValueError(line) from error
    return [flag_config.config_from_flags(kind, values) for kind in CONFIG_KINDS]


def _are_finite(configs: list[Any], valid: Any) -> bool:
    """Whether every option is what JSON can hold, as it goes to `config.json`."""
    del valid
    parse_json(json.dumps(to_plain(configs)).encode(), "configurations")
    return True


TEXT_CASES = (
    Case(
        "flags",
        "flags",
        _make_flags,
        _read_flags,
        _are_finite,
        share=3,
        names_file=False,  # flags are named
    ),
    *(
        Case(
            f"photo: {file_format} {mode}",
            "photo",
            _photo(file_format, mode),
            _decode,
            _is_photo,
            names_file=False,
        )
        for file_format, mode in (
            ("JPEG", "RGB"),
            ("JPEG", "CMYK"),
            ("PNG", "RGBA"),
            ("PNG", "P"),
            ("GIF", "P"),
            ("BMP", "RGB"),
            ("TIFF", "RGB"),
            ("WEBP", "RGBA"),
        )
    ),
    Case(
        "figures of benchmark_model",
        "bytes",
        _make_figures,
        lambda path: read_result(path.read_bytes()),
        _is_told,
        names_file=False,
    ),
    Case(
        "output of benchmark_model",
        "bytes",
        writes("output.txt", _write_text, _RUN_TEXT),
        lambda path: read_text(path.read_text(errors="replace")),
        _is_told,
        names_file=False,
    ),
    Case(
        "delegation of benchmark_model",
        "bytes",
        _make_runtime_info,
        lambda path: read_runner_delegation("", path.read_bytes(), asked="GPU"),
        _is_told,
        names_file=False,
    ),
    Case(
        "profile of benchmark_model",
        "bytes",
        writes("profile.csv", _write_text, _PROFILE),
        lambda path: read_profile(path.read_text(errors="replace")),
        lambda found, valid: all(map(_is_told, found, found)),
        names_file=False,
    ),
)
