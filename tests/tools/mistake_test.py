"""What a user's mistakes get: one sentence, status 1, and nothing half-written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilenas_tf.costs.latency_table import (
    CALL,
    Conditions,
    LatencyEntry,
    LatencyTable,
    write_latency_table,
)
from mobilenas_tf.json_io import read_json, to_plain, write_json
from tests.detection.coco_folder import image_row, write_split
from tests.export.small_run import make_run
from tests.tools.run_binary import Answer, run_binaries
from tests.training.small_recipe import make_recipe

pytestmark = pytest.mark.slow

SEARCH = ("search_figs", "--space=figs_quantized_16", "--max_macs=3e5")
DNAS = ("search_dnas", "--space=fbnet_32", "--dataset=digits")
JOINT = ("search_joint", "--space=fbnet_v3_32", "--dataset=digits", "--pool=16")
TRAIN = ("train_classifier", "--architecture=run")
TINY = ("train_classifier", "--architecture=mobilenet_v2", "--image_size_px=16")

# By what is wrong: the call, and the sentence. `run` is a training with 10 classes; it
# and the other files stand in `folder` below, where the calls are made.
MISTAKES: dict[str, tuple[tuple[str, ...], str]] = {
    "budget below the space": (
        (*SEARCH, "--max_macs=1"),
        r"max_macs must be from [\d,]+ to [\d,]+, what the space figs_quantized_16 can "
        r"reach\. Received: 1",
    ),
    "budget above the space": (
        ("search_figs", "--space=figs_quantized_16", "--max_params=1e9"),
        r"max_params must be from [\d,]+ to [\d,]+, .* Received: 1,000,000,000",
    ),
    "budget no operators can have": (
        (*DNAS, "--max_macs=1"),
        r"max_macs must be from [\d,.e+]+ \(the cheapest network\) to [\d,.e+]+ \(the "
        r"dearest\), what the space fbnet_32 can reach\. Received: 1",
    ),
    "milliseconds of fewer than 8 bits": (
        (*DNAS, "--space=bits_mobilenet_v2_32", "--max_ms=1"),
        r"max_ms must not be given for the space bits_mobilenet_v2_32: a latency table "
        r"measures int8, not w2a4 of stage1/block0; give max_bit_macs or .*bytes",
    ),
    "a table of fewer than 8 bits": (
        ("build_latency_table", "--space=bits_mobilenet_v2_32", "--output=bits.json"),
        r"blocks of a latency table must have 8-bit .* Received: w2a4",
    ),
    "a table of another space, to be added to": (
        ("build_latency_table", "--space=fbnet_32", "--output=other.json"),
        r"other\.json must be of space='fbnet_32'; give another file\. "
        r"Received: space='figs_widths_32'",
    ),
    "milliseconds without a table": (
        (*DNAS, "--max_ms=1"),
        r"latency_table must be given with max_ms; .*build_latency_table.* none",
    ),
    "a table that is none": (
        (*DNAS, "--max_ms=1", "--latency_table=no_json.json"),
        r"no_json\.json must be JSON\. Received: .*",
    ),
    "a table of another space": (
        (*DNAS, "--max_ms=1", "--latency_table=other.json"),
        r"latency_table must be of the space fbnet_32; python -m tools\.build_latency_"
        r"table --space=fbnet_32 measures one\. Received: that of figs_widths_32",
    ),
    "a space of operators that is unknown": (
        ("search_dnas", "--space=fbnet_23", "--max_macs=1e6"),
        r"space must be a known name; the nearest are fbnet_32, .*",
    ),
    "budget that no one-shot network meets": (
        ("search_one_shot", "--dataset=digits", "--max_macs=1"),
        r"max_macs must be at least [\d,.e+]+, the smallest network of one_shot_32 "
        r"\(the largest: [\d,.e+]+\)\. Received: 1",
    ),
    "a supernet that is not there": (
        ("search_one_shot", "--dataset=digits", "--max_macs=4e6", "--supernet=begun"),
        r"begun must be the run folder of a one-shot search whose supernet is trained "
        r"to its end\. supernet\.json is missing",
    ),
    "budget of nothing": (
        (*SEARCH, "--max_macs=0"),
        r"max_macs must be distinct numbers above 0\. Received: max_macs=\(0\.0,\)",
    ),
    "the same budget twice": (
        (*SEARCH, "--max_macs=3e5,3e5"),
        r"max_macs must be distinct numbers above 0\. Received: max_macs=\(3.*, 3.*\)",
    ),
    "one of several budgets below the space": (
        (*SEARCH, "--max_macs=3e5,1"),
        r"max_macs must be from [\d,]+ to [\d,]+, .* Received: 1",
    ),
    "budget that is no number": (
        (*SEARCH, "--max_macs=3e5,many"),
        r"flag --max_macs=3e5,many: must be numbers with commas .*'many'.*",
    ),
    "budgets of two kinds": (
        (*SEARCH, "--max_params=1e4"),
        r"exactly one of max_macs, max_params and max_ms must be given\. Received: .*",
    ),
    "more budgets than epochs": (
        (*SEARCH, "--max_macs=5e5,4e5,3e5", "--epochs=3"),
        r"epochs must allow each of the 3 budgets a whole epoch .* Received: epochs=3",
    ),
    "batch norm's scales where there is no batch norm": (
        ("search_figs", "--space=figs_mobilenet_v3_32", "--max_macs=3e6")
        + ("--gate=batch_norm_scale",),
        r"gate must be logistic_sigmoid or hard_concrete in the space "
        r"figs_mobilenet_v3_32, as no batch norm makes the channels of "
        r"stage3/block0/squeeze_excite\. Received: gate='batch_norm_scale'",
    ),
    "the same in the demo": (
        ("demo", "--space=figs_mobilenet_v3_32", "--gate=batch_norm_scale"),
        r"gate must be .* Received: gate='batch_norm_scale'",
    ),
    "cost of a sample where nothing is sampled": (
        (*SEARCH, "--gate=batch_norm_scale", "--penalty=sample"),
        r"penalty must be probability with gate=batch_norm_scale, which does not "
        r"sample\. Received: penalty='sample'",
    ),
    "no budget": (
        SEARCH[:2],
        r"exactly one of max_macs, max_params and max_ms must be given\. Received: .*",
    ),
    "budget of the demo": (
        ("demo", "--budget_share=0.001"),
        r"max_macs must be from [\d,]+ to [\d,]+, .* Received: [\d,]+",
    ),
    "budget of the demo's baseline": (
        # The space drops blocks, which the uniformly narrowed network cannot.
        ("demo", "--budget_share=0.02"),
        r"budget must allow the narrowest uniform network of figs_quantized_16\. "
        r"Received: .*",
    ),
    "unknown space": (
        (*SEARCH, "--space=figs_quantised_16"),
        r"space must be a known name; the nearest are figs_quantized_16, .*",
    ),
    "unknown kind of data": (
        (*SEARCH, "--dataset=digit"),
        r"dataset must be digits, tfds:NAME or folder:DIR\. .*",
    ),
    "unknown data set": (
        (*SEARCH, "--dataset=tfds:cifar_10", "--data_dir=photos"),
        r"dataset must be prepared in data_dir, .* nearest .*cifar10.*",
    ),
    "missing folder of photos": (
        (*TRAIN, "--dataset=folder:nowhere"),
        r"dataset must name a folder that exists\. Received: .*nowhere'",
    ),
    "empty class folder": (
        (*TRAIN, "--dataset=folder:one_class_empty"),
        r"Each class folder must hold photos .*one_class_empty/dog",
    ),
    "photos that do not decode": (
        (*TRAIN, "--dataset=folder:broken", "--max_corrupt_images=1"),
        r"At most max_corrupt_images photos may fail to decode; .*Received: 2 photos "
        r"that fail, .*broken/cat/bad.*",
    ),
    "more images in a batch than there are": (
        (*TRAIN, "--dataset=folder:photos", "--replace_head", "--batch_size=500"),
        r"batch_size must be at most \d+, .* Received: batch_size=500",
    ),
    "fewer classes than the head, training": (
        (*TRAIN, "--dataset=folder:photos", "--batch_size=4"),
        r"num_classes of small must be the data set's 2; give --replace_head .* "
        r"Received: num_classes=10",
    ),
    "fewer classes than the head, evaluation": (
        ("evaluate_classifier", "--model=run", "--dataset=folder:photos")
        + ("--batch_size=4",),
        r"classes of run must be the data set's 2\. Received: 10 classes",
    ),
    "fewer classes than the head, export": (
        ("export_tflite", "--run=run", "--dataset=folder:photos", "--batch_size=4"),
        r"data must have the 10 classes of run at 16 px\. Received: 2 classes .*",
    ),
    "unknown zoo name": (
        ("describe", "--architecture=mobilnet_v2"),
        r"architecture must be a known name; the nearest are mobilenet_v2, .*",
    ),
    "architecture with an unknown key": (
        ("describe", "--architecture=unknown_key.json"),
        r"unknown_key\.json must have the keys .* Received: unknown key 'colour'",
    ),
    "architecture of another version": (
        ("describe", "--architecture=version.json"),
        r"version\.json must have schema_version 1\. Received: 7",
    ),
    "architecture with no channel": (
        ("describe", "--architecture=no_channel.json"),
        r"no_channel\.json/stem: out_channels of Convolution must be .*at least 1.*",
    ),
    "architecture that is no JSON": (
        ("describe", "--architecture=no_json.json"),
        r"no_json\.json must be JSON\. Received: .*",
    ),
    "folder without an architecture": (
        ("describe", "--architecture=photos"),
        r"photos/architecture\.json must be there: .*",
    ),
    "other settings in the folder of a run": (
        (*TRAIN, "--workdir=begun", "--batch_size=64"),
        r"tool must be as in begun/config\.json, .* Received: .*'search_figs'",
    ),
    "no first weights": (
        (*TRAIN, "--init_weights=nowhere"),
        r"init_weights must be random, imagenet or the folder of a finished run\. .*",
    ),
    "first weights of another network": (
        (*TINY, "--init_weights=run"),
        r"init_weights must be .* Received: init_weights='run'.*",
    ),
    "ImageNet weights for a searched network": (
        (*TRAIN, "--init_weights=imagenet"),
        r"architecture must be one with ImageNet weights .* Received: .*'small'",
    ),
    "warm-up as long as the run": (
        (*SEARCH, "--epochs=1", "--warmup_epochs=1"),
        r"warmup_epochs must be less than the run's 1 epochs\. Received: .*",
    ),
    "no epoch": ((*TRAIN, "--epochs=0"), r"epochs must be at least 1\. .*"),
    "a .tflite that is none, evaluation": (
        ("evaluate_classifier", "--model=none.tflite"),
        r"none\.tflite must be a \.tflite file, .*",
    ),
    "a .tflite that is none, benchmark": (
        ("benchmark_tflite", "--model=none.tflite", "--output=timings.json"),
        r"none\.tflite must be a \.tflite file, .*",
    ),
    **{
        f"a .tflite of random bytes, {name}": (
            (name, "--model=random.tflite", *others),
            r"random\.tflite must be a whole \.tflite file; it is truncated, .*",
        )
        for name, others in {
            "evaluate_classifier": (),
            "evaluate_detector": ("--architecture=run",),
            "benchmark_tflite": ("--output=timings.json",),
        }.items()
    },
    "a .tflite of random bytes, operators": (
        ("benchmark_tflite", "--model=random.tflite", "--operator_report"),
        r"random\.tflite must be a whole \.tflite file; it is truncated, .*",
    ),
    "architecture without end": (
        ("describe", "--architecture=deep.json"),
        r"deep\.json must be JSON\. Received: values nested deeper than 64 levels",
    ),
    "architecture of a hostile name": (
        ("describe", "--architecture=a b;'\"$(true)\n.json"),
        r"a b;'\"\$\(true\) \.json must be JSON\. Received: .*",
    ),
    "a budget that is no number": (
        (*SEARCH[:2], "--max_macs=nan"),
        r"flag --max_macs=nan: must be numbers with commas .*must be a finite number.*",
    ),
    "class folder of two lines": (
        (*TRAIN, "--dataset=folder:two_lines"),
        r"a class folder in two_lines must be a name on one line, .*'cat\\ndog'",
    ),
    "photo outside of the data": (
        ("train_detector", "--architecture=run", "--dataset=coco:outside"),
        r"outside/annotations/instances_train\.json: images\[0\]/file_name must be a "
        r"path inside the folder of photos\. Received: '/etc/passwd'",
    ),
    "missing .tflite": (
        ("benchmark_tflite", "--model=absent.tflite", "--output=timings.json"),
        r"No such file or directory: absent\.tflite",
    ),
    "export of a folder that is no run": (
        ("export_tflite", "--run=photos"),
        r"photos/architecture\.json must be there: .*",
    ),
    "export with an input that its quantisation has not": (
        ("export_tflite", "--run=run", "--quantization=float16", "--io=uint8"),
        r"io must be float32 with quantization=float16, .* Received: io=uint8",
    ),
    "comparison on no image": (
        ("export_tflite", "--run=run", "--max_parity_images=0"),
        r"max_parity_images must be at least 1.* Received: max_parity_images=0",
    ),
    "report of no run": (
        ("report", "--run=nowhere"),
        r"--run must be a run folder\. .*nowhere.*",
    ),
    "unknown flag": (
        (*SEARCH, "--max_mac=3e5"),
        r"unknown flag --max_mac; the nearest are --max_macs.*",
    ),
    "budget that no network of a joint search meets": (
        (*JOINT, "--max_macs=1"),
        r"max_macs must be at least [\d,]+, the smallest network of fbnet_v3_32\. .* 1",
    ),
    "a joint search without a budget": (
        JOINT,
        r"max_macs, max_params or max_ms must be given, above 0\. Received: none",
    ),
    "milliseconds of a joint search without a table": (
        (*JOINT, "--max_ms=1"),
        r"latency_table must be given with max_ms; .* --space=fbnet_v3_32 .* none",
    ),
    "a joint search by a table of another space": (
        (*JOINT, "--max_ms=1", "--latency_table=other.json"),
        r"latency_table must be of the space fbnet_v3_32; .* that of figs_widths_32",
    ),
    "fine rounds of no search": (
        (*JOINT, "--max_macs=1e6", "--fine_only=run"),
        r"run/evaluations\.jsonl must be there: --fine_only takes .* It is missing",
    ),
    "fewer evaluations than the first round": (
        (*JOINT, "--max_macs=1e6", "--evaluations=3"),
        r"evaluations must be at least first_round, 16\. Received: evaluations=3",
    ),
    "an address where no Ray is": (
        (*JOINT, "--max_macs=1e6", "--workers=ray", "--ray_address=127.0.0.1:9"),
        r"ray_address must be that of a running cluster's head\. .*127\.0\.0\.1:9.*",
    ),
    "a recipe that is not there": (
        (*TRAIN, "--recipe=run"),
        r"run/recipe\.json must be a recipe\.json, as .*search_joint.* It is missing",
    ),
    "a recipe of an unknown setting": (
        (*TRAIN, "--recipe=unknown_setting.json"),
        r"unknown_setting\.json must have the keys drop_path_rate, .*'colour'",
    ),
    "a recipe out of range": (
        ("train_detector", "--architecture=run", "--recipe=out_of_range.json"),
        r"out_of_range\.json: drop_path_rate must be in \[0, 1\)\. .*=1\.5",
    ),
    "no architecture": (("train_classifier",), r"flag --architecture.*"),
    "one device to share a batch": (
        (*SEARCH, "--distribute=mirrored"),
        r"distribute must be none on a machine of one device\. Received: "
        r"distribute=mirrored with \S+CPU:0",
    ),
    "devices in order": (
        (*SEARCH, "--distribute=mirrored", "--deterministic"),
        r"deterministic must not be set for several devices of one process: .* "
        r"Received: distribute=mirrored",
    ),
    "workers without a cluster": (
        (*TRAIN, "--distribute=multi_worker"),
        r"TF_CONFIG must be JSON such as .* for distribute=multi_worker\. Received: ''",
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds all that the calls name, but for what is meant to be missing."""
    folder = tmp_path_factory.mktemp("mistakes")
    for name in ("photos", "broken", "one_class_empty"):
        for class_name in ("cat", "dog"):
            (folder / name / class_name).mkdir(parents=True)
            for index in range(8):
                photo = Image.new("RGB", (20, 30), (30 * index, 90, 200))
                photo.save(folder / name / class_name / f"{index}.png")
    for index in range(2):
        (folder / "broken" / "cat" / f"bad{index}.jpg").write_text("no photo")
    for photo_path in (folder / "one_class_empty" / "dog").iterdir():
        photo_path.unlink()
    (folder / "none.tflite").write_text("no model")
    noise = np.random.default_rng(0).bytes(4000)
    (folder / "random.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3" + noise)
    (folder / "deep.json").write_text("[" * 100_000)
    (folder / "a b;'\"$(true)\n.json").write_text("{")
    for class_name in ("cat\ndog", "mouse"):
        (folder / "two_lines" / class_name).mkdir(parents=True)
    hostile = {**image_row(1), "file_name": "/etc/passwd"}
    path = write_split(folder / "outside", "train", [image_row(1)], [])
    write_json(path, {**read_json(path), "images": [hostile]})
    (folder / "no_json.json").write_text("{")
    table = LatencyTable(
        "figs_widths_32",
        Conditions("phone", "LiteRT", "int8", 1),
        {CALL: LatencyEntry(1.0, 0.0, 3)},
    )
    write_latency_table(folder / "other.json", table)
    recipe = to_plain(make_recipe())
    for name, changed in (
        ("unknown_setting", recipe | {"colour": "red"}),
        ("out_of_range", recipe | {"drop_path_rate": 1.5}),
    ):
        write_json(folder / f"{name}.json", {"schema_version": 1, "recipe": changed})
    (folder / "begun").mkdir()
    write_json(folder / "begun" / "config.json", {"tool": "search_figs"})
    document = read_json(make_run(folder / "run") / "architecture.json")
    architecture = document["architecture"]
    stem = {**architecture["stem"], "out_channels": 0}
    for name, changed in (
        ("version", {**document, "schema_version": 7}),
        ("unknown_key", {**document, "architecture": architecture | {"colour": "red"}}),
        ("no_channel", {**document, "architecture": architecture | {"stem": stem}}),
    ):
        write_json(folder / f"{name}.json", changed)
    return folder


@pytest.fixture(scope="module")
def answers(folder: Path, before: dict[Path, Any]) -> dict[str, Answer]:
    return run_binaries(folder, {what: call for what, (call, _) in MISTAKES.items()})


@pytest.fixture(scope="module")
def before(folder: Path) -> dict[Path, Any]:
    return _content(folder)


def _content(folder: Path) -> dict[Path, Any]:
    return {
        path: path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_gets_one_sentence(what: str, answers: dict[str, Answer]) -> None:
    assert re.fullmatch(MISTAKES[what][1], answers[what].mistake), answers[what]


def test_mistakes_leave_nothing_behind(
    folder: Path, before: dict[Path, Any], answers: dict[str, Answer]
) -> None:
    after = _content(folder)
    assert sorted(after.keys() - before.keys()) == []
    assert after == before


def test_a_mistake_prints_no_result(answers: dict[str, Answer]) -> None:
    lines = [line for answer in answers.values() for line in answer.stdout.split("\n")]
    assert [line for line in lines if line.startswith("{")] == []
