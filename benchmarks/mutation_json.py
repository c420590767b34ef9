"""Readers of JSON files, with a valid file of each."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.mutation_case import Case, survives, writes
from detection.coco_data import open_coco
from detection.coco_results import read_results, write_results
from detection.evaluation_truth import check_ground_truth
from detection.scene import build_coco_dictionary
from mobilenas_tf.costs.latency_table import (
    CALL,
    Calibration,
    Conditions,
    LatencyEntry,
    LatencyTable,
    read_latency_table,
    write_latency_table,
)
from mobilenas_tf.costs.network import layer_costs, network_cost
from mobilenas_tf.decisions import Integers, LogRange, Options
from mobilenas_tf.json_io import (
    from_plain,
    read_architecture,
    read_object,
    write_architecture,
    write_json,
)
from mobilenas_tf.one_shot_spaces import named_one_shot_space
from mobilenas_tf.search.evolution import Journal
from mobilenas_tf.search.joint_journal import Evaluation, EvaluationJournal
from mobilenas_tf.search.joint_problem import JointProblem
from mobilenas_tf.spec import (
    Architecture,
    Branch,
    Convolution,
    Head,
    InvertedResidual,
    Pooling,
    SqueezeExcite,
    Stage,
)
from mobilenas_tf.training.config import DataConfig, OptimizerConfig, TrainingConfig
from mobilenas_tf.training.cuts import Cut, read_cuts, write_cuts
from mobilenas_tf.training.recipe import Recipe, open_recipe, write_recipe
from mobilenas_tf.training.run_dir import RunDir, open_run_dir
from mobilenas_tf.zoo import zoo_architecture

ARCHITECTURE = Architecture(
    name="small",
    image_size_px=32,
    stem=Convolution(8, 3, 2),
    stages=(
        Stage((Convolution(16), Pooling("average", 3, 2))),
        Stage(
            (
                InvertedResidual(16, (Branch(3, 16), Branch(5, 8)), has_residual=True),
                InvertedResidual(
                    24, (Branch(5, 32),), stride=2, squeeze_excite=SqueezeExcite(8)
                ),
            )
        ),
        Stage(),
    ),
    head=Head(10, conv_channels=32, hidden_channels=20),
)
RECIPE = Recipe("adamw", 0.004, 0.03, 0.98, 0.2, 0.05, 0.2, 0.15)
TABLE = LatencyTable(
    "fbnet_32",
    Conditions("phone", "LiteRT 2.3", "int8", 1),
    {CALL: LatencyEntry(0.01, 0.1, 3), "3x8x8 conv16": LatencyEntry(0.25, 0.0, 5)},
    Calibration(1.1, 0.05, 20, 0.01),
    {"device": "phone", "versions": {"python": "3.11"}},
)
PROBLEM = JointProblem(
    "small",
    architecture=(Integers("depth", 0, 4), Options("kernel", (3, 5))),
    recipe=(LogRange("recipe/learning_rate", 0.1, 10.0),),
    network=lambda choices: (choices["depth"], choices["kernel"]),
    costs=lambda found: {"macs": 10.0 + found[0] * found[1]},
)


def _read_network(path: Path) -> Architecture:
    architecture = read_architecture(path)
    network_cost(architecture)
    layer_costs(architecture)
    return architecture


def _write_configs(path: Path, configs: Mapping[str, Any]) -> None:
    write_json(path, configs)


CONFIGS = {
    "data": DataConfig(),
    "optimizer": OptimizerConfig(),
    "training": TrainingConfig(),
}


def _read_configs(path: Path) -> dict[str, Any]:
    plain = read_object(path)
    return {
        name: from_plain(type(config), plain.get(name), f"{path}/{name}")
        for name, config in CONFIGS.items()
    }


def _make_run(name: str) -> Callable[[Path], Path]:
    """Returns what makes a run that can be gone on with, and names one of its files."""

    def make(folder: Path) -> Path:
        run = open_run_dir(folder, config=CONFIGS, command=["train", "--x=1"])
        for step in range(3):
            run.append_metrics(
                {"phase": "train", "step": step, "loss": 2.5 / (step + 1)}
            )
        open_run_dir(folder, config=CONFIGS, command=["train", "--x=1"])
        return folder / name

    return make


def _go_on(path: Path) -> RunDir:
    run = open_run_dir(path.parent, config=CONFIGS, command=["train", "--x=1"])
    run.truncate_metrics_after(1)
    return run


def _is_gone_on(run: RunDir, valid: Any) -> bool:
    del valid
    starts = read_object(run.path / "provenance.json")["earlier_starts"]
    return isinstance(starts, list) and all(r["step"] <= 1 for r in run.read_metrics())


def _make_scores(folder: Path) -> Path:
    space = named_one_shot_space("one_shot_32", num_classes=10)
    journal = Journal(folder / "evaluations.jsonl", space, measure="likelihood")
    for seed in range(4):
        genotype = space.sample(np.random.default_rng(seed))
        journal.score([genotype], lambda _, seed=seed: [0.25 + seed / 8])
    return journal.path


def _read_scores(path: Path) -> Journal:
    space = named_one_shot_space("one_shot_32", num_classes=10)
    return Journal(path, space, measure="likelihood")


def _make_evaluations(folder: Path) -> Path:
    journal = EvaluationJournal(folder / "evaluations.jsonl", PROBLEM, measure="digits")
    for depth in range(4):
        choices = {"depth": depth, "kernel": 3, "recipe/learning_rate": 1.0}
        failed = "loss must stay finite" if depth == 3 else ""
        journal.add(Evaluation(choices, (0.1, 0.2)[depth // 3 :], failed, 2.5, depth))
    return journal.path


def _read_evaluations(path: Path) -> EvaluationJournal:
    return EvaluationJournal(path, PROBLEM, measure="digits")


def _make_coco(folder: Path) -> Path:
    photos = folder / "train2017"
    photos.mkdir()
    images = [
        {"id": index, "file_name": f"{index}.png", "height": 20, "width": 30}
        for index in (1, 2)
    ]
    for row in images:
        Image.new("RGB", (30, 20), (90, 90, 90)).save(photos / row["file_name"])
    boxes = [[2, 1, 10, 5], [4.5, 3, 2, 1.25], [0, 0, 30, 20]]
    document = {
        "images": images,
        "annotations": [
            {
                "image_id": 1 + index % 2,
                "category_id": 18,
                "bbox": box,
                "area": 10.5,
                "iscrowd": index // 2,
                "segmentation": [[0, 0, 1, 1]],
            }
            for index, box in enumerate(boxes)
        ],
        "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
    }
    path = folder / "annotations" / "instances_train2017.json"
    write_json(path, document)
    return path


def _stays_inside(source: Any, valid: Any) -> bool:
    """Whether photos are the folder's, and what is left can be trained and judged."""
    del valid
    scenes = source.scenes_by_split["train"]
    document = build_coco_dictionary(
        scenes, class_names=source.class_names, category_ids=source.category_ids
    )
    if scenes:
        check_ground_truth(document)
    json.dumps(document, allow_nan=False)
    photos = {"1.png", "2.png"}
    return all(Path(scene.name).name in photos for scene in scenes)


_RESULTS = [
    {"image_id": 1, "category_id": 18, "bbox": [2.5, 1, 10, 5], "score": 0.75},
    {"image_id": 2, "category_id": 1, "bbox": [0, 0, 30, 20], "score": 0.5},
]


JSON_CASES = (
    Case(
        "architecture",
        "json",
        writes("architecture.json", write_architecture, ARCHITECTURE),
        _read_network,
        survives(write_architecture, read_architecture),
        share=4,
    ),
    Case(
        "published architecture",
        "json",
        writes("v3.json", write_architecture, zoo_architecture("mobilenet_v3_small")),
        _read_network,
        survives(write_architecture, read_architecture),
    ),
    Case(
        "recipe",
        "json",
        writes("recipe.json", write_recipe, RECIPE),
        open_recipe,
        survives(write_recipe, open_recipe),
        share=2,
    ),
    Case(
        "latency table",
        "json",
        writes("table.json", write_latency_table, TABLE),
        read_latency_table,
        survives(write_latency_table, read_latency_table),
        share=2,
    ),
    Case(
        "options of a training",
        "json",
        writes("config.json", _write_configs, CONFIGS),
        _read_configs,
        survives(_write_configs, _read_configs),
        share=2,
    ),
    Case(
        "COCO annotations",
        "json",
        _make_coco,
        lambda path: open_coco(str(path.parents[1])),
        _stays_inside,
        share=4,
    ),
    Case(
        "COCO results",
        "json",
        writes("results.json", write_results, _RESULTS),
        read_results,
        survives(write_results, read_results),
    ),
    Case(
        "cuts of a supernet",
        "json",
        writes("shrinking.json", write_cuts, [Cut(1, 80_000, {"stem/output": 8})]),
        read_cuts,
        survives(write_cuts, read_cuts),
    ),
    Case(
        "scores of a search",
        "lines",
        _make_scores,
        _read_scores,
        lambda found, valid: all(map(math.isfinite, found.scores.values())),
        share=2,
    ),
    Case(
        "candidates of a search",
        "lines",
        _make_evaluations,
        _read_evaluations,
        lambda found, valid: all(e.curve or e.failed for e in found.evaluations),
        share=2,
    ),
    *(
        Case(f"run to go on: {name}", kind, _make_run(name), _go_on, _is_gone_on)
        for name, kind in (
            ("config.json", "json"),
            ("provenance.json", "json"),
            ("metrics.jsonl", "lines"),
        )
    ),
)
