"""GPU-hours that the full-scale recipes should take, on paper: nothing is trained.

    hours = images * epochs * multiply-adds of an image / (sustained a second) / 3600

An image costs a training step three times its network's multiply-adds: once forward,
twice backward. What a method adds to that stands beside its function. The sustained
rate is an assumption, given by flag; what networks cost is counted, not assumed.

Run: python -m benchmarks.recipe_hours
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from benchmarks import evidence
from detection.config import HeadConfig
from detection.spaces import detector_space
from mobilenas_tf.block_spaces import named_block_space
from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.one_shot_spaces import named_one_shot_space
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.search.config import DnasConfig, JointConfig, OneShotConfig
from mobilenas_tf.spaces import named_space

_SUSTAINED = flags.DEFINE_float(
    "sustained_macs_per_second",
    2e12,
    "Of one GPU while it trains a mobile network in float32: 2,200 images/s of "
    "MobileNetV2 at 224 px, 300 M multiply-adds.",
)

RECIPES = Path(__file__).resolve().parents[1] / "tools" / "recipes"
IMAGENET_IMAGES, COCO_IMAGES = 1_281_167, 117_266  # train; of COCO those with boxes
IMAGENET_CLASSES, COCO_CLASSES = 1000, 80
STEP, FORWARD = 3.0, 1.0  # passes, in forward passes
LATER_ROUNDS = 0.5  # share of the epochs behind which later rounds of JointNAS stop
SAMPLES = 100  # networks whose mean cost is a space's

Recipe = Mapping[str, str]


def main(_: list[str]) -> None:
    """Prints the table and one JSON object."""
    rows = [recipe_row(path) for path in sorted(RECIPES.glob("*.flags"))]
    print(format_table(list(rows[0]), rows))
    evidence.finish(
        figures=rows,
        settings={
            "sustained_macs_per_second": _SUSTAINED.value,
            "share_of_later_rounds": LATER_ROUNDS,
        },
        targets=[],
    )


def recipe_row(path: Path, sustained: float | None = None) -> dict[str, Any]:
    """Returns what a recipe's run costs.

    Args:
        path: Of its flag file.
        sustained: Multiply-adds a second; None takes the flag.
    """
    binary, recipe = read_recipe(path)
    images = COCO_IMAGES if "detect" in binary else IMAGENET_IMAGES
    images = int(recipe.get("max_train_images", images)) * int(recipe["epochs"])
    macs = COSTS[binary](recipe)
    return {
        "recipe": path.stem,
        "binary": binary,
        "million_images": images / 1e6,
        "million_macs_an_image": macs / 1e6,
        "gpu_hours": images * macs / (sustained or _SUSTAINED.value) / 3600,
    }


def read_recipe(path: Path) -> tuple[str, Recipe]:
    """Returns the binary of a flag file and its flags by name.

    Of a training the multiply-adds that its hours are told for are beside them, as
    `network_macs`.
    """
    text = path.read_text(encoding="utf-8")
    called = re.search(r"python -m tools\.(\w+)", text)
    if called is None:
        raise ValueError(f"{path} must say which binary it is for. Received: none")
    recipe = dict(re.findall(r"^--(\w+)=(.*)$", text, re.MULTILINE))
    if network := re.search(r"GPU-hours for (\d+) M multiply-adds", text):
        recipe["network_macs"] = f"{network[1]}e6"
    return called[1], recipe


def _figs(recipe: Recipe) -> float:
    """The whole supernet in every step: no less is sure to be left."""
    space = named_space(recipe["space"], num_classes=IMAGENET_CLASSES)
    return STEP * network_cost(space.supernet).macs


def _figs_of_detectors(recipe: Recipe) -> float:
    """As of classifiers."""
    space = detector_space(
        recipe["space"],
        HeadConfig(head="ssdlite"),
        num_classes=COCO_CLASSES,
        image_size_px=int(recipe["image_size_px"]),
    )
    return STEP * network_cost(space.supernet).macs


def _dnas(recipe: Recipe) -> float:
    """Of most images a step of a drawn network, of the others forward passes of some.

    A drawn network is as dear as the space's are in the mean.
    """
    space = named_block_space(recipe["space"], num_classes=IMAGENET_CLASSES)
    rng = np.random.default_rng(0)
    config = DnasConfig()
    drawn = [network_cost(space.resolve(space.sample(rng))).macs for _ in _samples()]
    share, paths = config.architecture_share, config.compared_paths or 1
    return float(np.mean(drawn)) * ((1 - share) * STEP + share * paths * FORWARD)


def _one_shot(recipe: Recipe) -> float:
    """The widest, the narrowest and some other networks in every step.

    Scores take another percent.
    """
    space = named_one_shot_space(recipe["space"], num_classes=IMAGENET_CLASSES)
    rng = np.random.default_rng(0)
    ends = [space.widest(), space.narrowest()]
    cost_of_ends = sum(network_cost(space.resolve(g)).macs for g in ends)
    drawn = [network_cost(space.resolve(space.sample(rng))).macs for _ in _samples()]
    networks = OneShotConfig().sampled_networks
    return STEP * (cost_of_ends + networks * float(np.mean(drawn)))


def _joint(recipe: Recipe) -> float:
    """All candidates, each as dear as the budget, later rounds stopped early."""
    first = int(recipe.get("first_round", JointConfig().first_round))
    later = int(recipe["evaluations"]) - first
    return STEP * float(recipe["max_macs"]) * (first + LATER_ROUNDS * later)


def _training(recipe: Recipe) -> float:
    """A network as dear as the flag file says."""
    return STEP * float(recipe["network_macs"])


def _samples() -> range:
    return range(SAMPLES)


COSTS: dict[str, Callable[[Recipe], float]] = {
    "search_figs": _figs,
    "search_detector": _figs_of_detectors,
    "search_dnas": _dnas,
    "search_one_shot": _one_shot,
    "search_joint": _joint,
    "train_classifier": _training,
    "train_detector": _training,
}

if __name__ == "__main__":
    app.run(main)
