"""One search of a comparison: its seconds, and what it found."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mobilenas_tf.json_io import (
    architecture_from_plain,
    read_architecture,
    read_json,
    to_plain,
)
from mobilenas_tf.search.config import BudgetConfig, FigsConfig
from mobilenas_tf.space import SearchSpace
from mobilenas_tf.spec import Architecture
from mobilenas_tf.training.config import OptimizerConfig, TrainingConfig
from mobilenas_tf.training.task import Task, TrainingData


def timed_search(
    folder: Path,
    space: SearchSpace,
    task: Task,
    data: TrainingData,
    *,
    config: FigsConfig,
    budget: BudgetConfig,
    optimizer: OptimizerConfig,
    training: TrainingConfig,
) -> dict[str, Any]:
    """Searches in an empty folder; returns seconds and the found networks by budget.

    Args:
        folder: Of the run; what is in it is removed, as the time of a search that was
            stopped before would be counted too short.
        space: See `search_figs`, as for all that follow.
        task: What the networks are to do.
        data: Training images.
        config: The method's options.
        budget: What the networks may cost.
        optimizer: Of the weights.
        training: Length and regularisation.
    """
    from mobilenas_tf.search.figs import SNAPSHOTS, search_figs
    from mobilenas_tf.search.width_budget import width_budget
    from mobilenas_tf.training.run_dir import open_run_dir

    shutil.rmtree(folder, ignore_errors=True)
    run = open_run_dir(folder, config={"search": config, "budget": budget}, command=[])
    started, cpu_started = time.monotonic(), time.process_time()
    search_figs(
        space,
        task,
        data,
        run,
        config=config,
        budget=width_budget(space, budget),
        optimizer=optimizer,
        training=training,
    )
    seconds = time.monotonic() - started, time.process_time() - cpu_started
    score = f"inherited_{task.score}"
    networks = {}
    for path in [folder, *sorted((folder / SNAPSHOTS).glob("*"))]:
        document = read_json(path / "search.json")
        networks[f"{document['budget']:.0f}"] = {
            "architecture": to_plain(read_architecture(path / "architecture.json")),
            "widths": document["widths"],
            "width_scale": document["width_scale"],
            score: document[score],
        }
    rows = run.read_metrics()
    return {
        "seconds": seconds[0],
        "cpu_seconds": seconds[1],
        "networks": networks,
        "expected_cost": [row["expected_cost"] for row in rows],
        "supernet_macs": [row["supernet_macs"] for row in rows],
    }


def found_architecture(needed: Mapping[str, Any], budget: float) -> Architecture:
    """Returns the network of a budget out of the one search that a job needs."""
    (search,) = needed.values()
    plain = search["networks"][f"{budget:.0f}"]["architecture"]
    return architecture_from_plain(plain, "result of the search")
