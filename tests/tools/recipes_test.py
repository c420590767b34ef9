"""The recipes are flag files of their binaries, and tell what they should cost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.recipe_hours import read_recipe, recipe_row
from tests.tools.run_binary import Answer, run_binaries

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted(ROOT.glob("tools/recipes/*.flags"))


IN_MILLISECONDS = "dnas in milliseconds"


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """What the binaries say to the recipes when the data set is missing.

    The flags and their configurations come before the data.
    """
    calls = {}
    for path in RECIPES:
        binary, _ = read_recipe(path)
        kind = "coco" if "detect" in binary else "folder"
        network = ["--architecture=mobilenet_v2"] if "train" in binary else []
        data = [f"--flagfile={path}", f"--dataset={kind}:nowhere"]
        calls[path.stem] = [binary, *data, *network]
    folder = tmp_path_factory.mktemp("recipes")
    dnas = calls["imagenet_dnas"]
    milliseconds = ["--max_macs=", "--max_ms=20", "--latency_table=phone.json"]
    calls[IN_MILLISECONDS] = [*dnas, *milliseconds]
    return run_binaries(folder, calls)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_names_flags_that_exist_with_values_that_hold(
    path: Path, answers: dict[str, Answer]
):
    kind = "coco" if path.stem.startswith("coco") else "folder"
    assert answers[path.stem].mistake == (
        f"dataset must name a folder that exists. Received: dataset='{kind}:nowhere'"
    )


def test_another_budget_takes_the_place_of_a_recipes_own(answers: dict[str, Answer]):
    assert answers[IN_MILLISECONDS].mistake.startswith("dataset must name a folder")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_tells_its_expected_cost(path: Path):
    told = re.search(r"Expected cost: (\d+) GPU-hours", path.read_text())
    assert told is not None
    expected = recipe_row(path, sustained=2e12)["gpu_hours"]
    assert int(told[1]) == round(expected)
    assert (
        f"{path.stem}.flags` | {told[1]} |" in (ROOT / "docs/clusters.md").read_text()
    )
