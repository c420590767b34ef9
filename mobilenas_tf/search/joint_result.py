"""What a joint search leaves in its run folder."""

from __future__ import annotations

import dataclasses
from typing import Any

from mobilenas_tf.joint_space import JointSpace
from mobilenas_tf.json_io import write_architecture, write_json
from mobilenas_tf.search.joint import Found, JointSearch, Round
from mobilenas_tf.search.joint_recipe import DEFAULT_RECIPE, recipe_of
from mobilenas_tf.spec import Architecture
from mobilenas_tf.training.recipe import RECIPE_FILE, Recipe, write_recipe
from mobilenas_tf.training.run_dir import RunDir

JOURNAL = "evaluations.jsonl"
RESULT = "joint.json"


def write_found(
    run: RunDir, space: JointSpace, best: Found
) -> tuple[Architecture, Recipe]:
    """Writes `architecture.json` and `recipe.json` of a candidate; returns both."""
    architecture, recipe = space.resolve(best.choices), recipe_of(best.choices)
    write_architecture(run.architecture_path, architecture)
    write_recipe(run.path / RECIPE_FILE, recipe)
    return architecture, recipe


def write_joint(run: RunDir, search: JointSearch, best: Found) -> None:
    """Writes `joint.json`, what the report shows, of a search that has ended."""
    budgets = search.limits.budgets
    metric = next(iter(budgets))
    write_json(
        run.path / RESULT,
        {
            "space": search.problem.name,
            "measure": search.journal.measure,
            "metric": metric,
            "budgets": budgets,
            "trained": search.trained,
            "failed": sum(bool(e.failed) for e in search.journal.evaluations),
            "epochs": search.epochs,
            "stop_epoch": search.stop_epoch,
            "seconds": sum(e.seconds for e in search.journal.evaluations),
            "best": dataclasses.asdict(best),
            "recipe": dataclasses.asdict(recipe_of(best.choices)),
            "default_recipe": dataclasses.asdict(recipe_of(DEFAULT_RECIPE)),
            "rounds": [_round_row(done) for done in search.rounds()],
            "front": [dataclasses.asdict(row) for row in search.front(metric)],
            "effects": search.effects(),
        },
    )


def _round_row(done: Round) -> dict[str, Any]:
    return {
        "round": done.number,
        "stage": done.stage,
        "predicted": done.predicted,
        "accuracies": done.accuracies,
    }
