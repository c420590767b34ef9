"""Readers of weights, supernets, `.tflite` files and folders of photos."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from benchmarks.mutation_case import LITERT, TENSORFLOW, Case, survives, writes
from export.config import Quantization
from mobilenas_tf.json_io import write_json
from mobilenas_tf.models.array_file import read_arrays, write_arrays
from mobilenas_tf.one_shot_space import OneShotSpace, OneShotStage, Operation
from mobilenas_tf.spec import (
    Architecture,
    Branch,
    Convolution,
    Head,
    InvertedResidual,
    Stage,
)

NETWORK = Architecture(
    name="small",
    image_size_px=16,
    stem=Convolution(8, 3, 2),
    stages=(Stage((InvertedResidual(8, (Branch(3, 16),), has_residual=True),)),),
    head=Head(10, conv_channels=32),
)
SPACE = OneShotSpace(
    name="small",
    image_size_px=8,
    stem_channels=(4, 8),
    stem_stride=1,
    stages=(OneShotStage((8, 16), 2, 2, (None, Operation(3, 2), Operation(5, 3))),),
    head_channels=(8, 16),
    num_classes=3,
    channel_divisor=4,
)
_ARRAYS = {
    "stem.conv/kernel": np.linspace(-1, 1, 3 * 3 * 3 * 8, dtype=np.float32),
    "head/bias": np.arange(10, dtype=np.float32),
    "head/step": np.float32(0.5),
}
_PHOTOS = 24


def _are_equal(found: Mapping[str, Any], valid: Mapping[str, Any]) -> bool:
    return found.keys() == valid.keys() and all(
        np.array_equal(found[key], valid[key]) and found[key].dtype == valid[key].dtype
        for key in valid
    )


@functools.cache
def _network() -> Any:
    import keras

    from mobilenas_tf.models.compact import build_network

    keras.utils.set_random_seed(0)
    return build_network(NETWORK)


def _make_weights(folder: Path) -> Path:
    from mobilenas_tf.models.network_io import TRAINED_WEIGHTS, save_network

    save_network(folder, NETWORK, _network())
    return folder / TRAINED_WEIGHTS


def _reads_weights(name: str) -> Callable[[Path], dict[str, np.ndarray]]:
    """Returns what loads weights by a function of `network_io` and gives them back."""

    def read(path: Path) -> dict[str, np.ndarray]:
        from mobilenas_tf.models import network_io

        getattr(network_io, name)(_network(), path)
        weights = network_io.network_weights(_network())
        return {key: np.array(variable) for key, variable in weights.items()}

    return read


def _make_supernet(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        from mobilenas_tf.models.one_shot_supernet import OneShotSupernet
        from mobilenas_tf.search.config import OneShotConfig
        from mobilenas_tf.search.one_shot_supernets import write_supernet

        left = SPACE.without("stage1/block1/operation", "k3_e2")
        supernet = OneShotSupernet(SPACE, name="supernet")
        write_supernet(folder, supernet, left, OneShotConfig())
        return folder / name

    return make


def _read_supernet(path: Path) -> dict[str, Any]:
    from mobilenas_tf.search.one_shot_supernets import read_supernet

    supernet, left = read_supernet(path.parent, SPACE)
    weights = {v.path: np.array(v) for v in supernet.trainable_variables}
    return {**weights, "decisions": np.array(len(left.decisions))}


def _is_supernet(found: Mapping[str, Any], valid: Mapping[str, Any]) -> bool:
    """Whether weights are the same; another choice may have been turned off."""
    (found, valid), key = (dict(each) for each in (found, valid)), "decisions"
    del found[key], valid[key]
    return _are_equal(found, valid)


def _make_turn_offs(folder: Path) -> Path:
    row = {"path": "stage1/block1/operation", "operation": "k3_e2", "best": "k5_e3"}
    numbers = {"behind": 0.034, "standard_error": 0.01, "epoch": 5, "by": "score"}
    write_json(folder / "turned_off.json", [{**row, **numbers}])
    return folder / "turned_off.json"


def _read_turn_offs(path: Path) -> Any:
    from mobilenas_tf.search.one_shot_supernets import read_turn_offs

    return read_turn_offs(path)


def _make_summary(folder: Path) -> Path:
    rows = [{"name": "a", "macs": 45_000, "float_accuracy": 0.975}]
    write_json(folder / "summary.json", {"columns": ["name", "macs"], "rows": rows})
    return folder / "summary.json"


def _update_summary(path: Path) -> list[Any]:
    from mobilenas_tf.json_io import read_object
    from mobilenas_tf.training.results import update_summary

    update_summary(path.parent, int8_accuracy=0.5)
    return read_object(path)["rows"]


def _make_photos(folder: Path) -> Path:
    for index in range(_PHOTOS):
        path = folder / ("cat", "dog")[index % 2] / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (12, 12), (9 * index, 90, 90)).save(path)
    return folder / "cat" / "4.png"


def _read_photos(path: Path) -> tuple[int, int]:
    from mobilenas_tf.training.config import AugmentationConfig, DataConfig
    from mobilenas_tf.training.data import load_classification_data

    config = DataConfig(f"folder:{path.parents[1]}", image_size_px=8, batch_size=4)
    data = load_classification_data(config, AugmentationConfig())
    return data.num_train + data.num_validation + data.num_test, len(
        data.skipped_images
    )


def _make_tflite(quantization: Quantization) -> Callable[[Path], Path]:
    """Returns what writes a bundle: a classifier, and `export.json` beside it."""

    def make(folder: Path) -> Path:
        from export.checksum import CHECKSUM, EXPORT_FILE, checksum
        from export.config import ExportConfig
        from export.tflite import convert_to_tflite
        from mobilenas_tf.models.compact import build_network
        from mobilenas_tf.models.layer_set import STOCK

        images = np.random.default_rng(0).uniform(-1, 1, (16, 16, 16, 3))
        content = convert_to_tflite(
            build_network(NETWORK, layer_set=STOCK),
            ExportConfig(quantization, io="float32", calibration_images=16),
            images.astype(np.float32),
        )
        (folder / "model.tflite").write_bytes(content)
        write_json(folder / EXPORT_FILE, {CHECKSUM: checksum(content), "export": {}})
        return folder / "model.tflite"

    return make


def _alone(make: Callable[[Path], Path]) -> Callable[[Path], Path]:
    """Returns what writes the file of a bundle without the bundle."""

    def make_alone(folder: Path) -> Path:
        return make(folder).rename(folder / "alone.tflite")

    return make_alone


def _beside(make: Callable[[Path], Path]) -> Callable[[Path], Path]:
    from export.checksum import EXPORT_FILE

    return lambda folder: make(folder).parent / EXPORT_FILE


def _run_tflite(path: Path) -> dict[str, np.ndarray]:
    """Returns what a file says of the same images, all that looks into it asked."""
    from export.benchmark.host import benchmark_models
    from export.config import BenchmarkConfig
    from export.interpreter import count_operators, load_interpreter, predict
    from export.operators import operator_report

    path = path.parent / "model.tflite" if path.suffix == ".json" else path
    interpreter = load_interpreter(path)
    operator_report(path)
    count_operators(path)
    short = BenchmarkConfig(warmup_runs=1, runs=2, repeats=1, memory=False)
    benchmark_models([path], short)
    images = np.random.default_rng(1).uniform(-1, 1, (2, 16, 16, 3))
    logits = predict(interpreter, images.astype(np.float32), name=str(path))
    return {"logits": logits}


MODEL_CASES = (
    Case(
        "arrays",
        "archive",
        writes("arrays.npz", write_arrays, _ARRAYS),
        read_arrays,
        _are_equal,
        share=6,
    ),
    *(
        Case(
            f"weights: {name}",
            "archive",
            _make_weights,
            _reads_weights(name),
            _are_equal,
            share=1,
            group=TENSORFLOW,
        )
        for name in ("load_weights", "load_backbone_weights")
    ),
    *(
        Case(
            name,
            kind,
            _make_supernet(name),
            _read_supernet,
            _is_supernet,
            share=0.5,
            group=TENSORFLOW,
        )
        for name, kind in (("supernet.npz", "archive"), ("supernet.json", "json"))
    ),
    Case(
        "operations turned off",
        "json",
        _make_turn_offs,
        _read_turn_offs,
        survives(
            lambda path, events: write_json(path, [vars(event) for event in events]),
            _read_turn_offs,
        ),
        group=TENSORFLOW,
    ),
    Case(
        "summary of a run",
        "json",
        _make_summary,
        _update_summary,
        lambda rows, valid: rows[0]["int8_accuracy"] == 0.5,
        group=TENSORFLOW,
    ),
    Case(
        "folder of photos",
        "photo",
        _make_photos,
        _read_photos,
        # A folder in the place of a photo is none of the photos.
        lambda found, valid: found[0] in (_PHOTOS, _PHOTOS - 1) and found[1] <= 1,
        share=0.5,
        group=TENSORFLOW,
    ),
    *(
        case
        for quantization in get_args(Literal["float32", "int8"])
        for case in (
            Case(
                f".tflite, {quantization}, alone",
                "tflite",
                _alone(_make_tflite(quantization)),
                _run_tflite,
                lambda found, valid: found["logits"].shape[0] == 2,
                share=3,
                group=LITERT,
            ),
            Case(
                f".tflite, {quantization}, in its bundle",
                "tflite",
                _make_tflite(quantization),
                _run_tflite,
                _are_equal,
                share=2,
                group=LITERT,
            ),
        )
    ),
    Case(
        "export.json of a bundle",
        "json",
        _beside(_make_tflite("float32")),
        _run_tflite,
        _are_equal,
        group=LITERT,
    ),
)
