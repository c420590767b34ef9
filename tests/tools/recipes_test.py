"""The recipes are flag files of their binary, and their configurations hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted(ROOT.glob("tools/recipes/*.flags"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_names_flags_that_exist_with_values_that_hold(path: Path):
    # The data set is missing: the flags and their configurations come before it.
    done = subprocess.run(
        [sys.executable, "-m", "tools.train_detector", f"--flagfile={path}"]
        + ["--architecture=mobilenet_v2", "--dataset=coco:nowhere"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.splitlines()[-1] == (
        "error: dataset must name a folder that exists. "
        "Received: dataset='coco:nowhere'"
    )
