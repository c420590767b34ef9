"""Recipes: their file, their checks, and what they put into configurations."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from mobilenas_tf.training.config import (
    AugmentationConfig,
    OptimizerConfig,
    TrainingConfig,
)
from mobilenas_tf.training.recipe import (
    OF_CLASSIFIERS,
    RECIPE_FILE,
    Recipe,
    open_recipe,
    write_recipe,
)
from tests.training.small_recipe import make_recipe


def test_a_recipe_is_read_as_it_was_written(tmp_path: Path):
    recipe = make_recipe()
    write_recipe(tmp_path / RECIPE_FILE, recipe)
    assert open_recipe(tmp_path / RECIPE_FILE) == recipe
    assert open_recipe(tmp_path) == recipe


def test_every_setting_goes_into_one_configuration_and_nothing_else_changes():
    recipe = make_recipe()
    taken = set()
    for config, other in (
        (OptimizerConfig(), recipe.put_into(OptimizerConfig())),
        (AugmentationConfig(), recipe.put_into(AugmentationConfig())),
        (TrainingConfig(), recipe.put_into(TrainingConfig())),
    ):
        before, after = dataclasses.asdict(config), dataclasses.asdict(other)
        changed = {name for name in before if before[name] != after[name]}
        assert {name: after[name] for name in changed} == recipe.settings(before)
        assert not taken & changed
        taken |= changed
    assert taken == {field.name for field in dataclasses.fields(Recipe)}
    assert taken > set(OF_CLASSIFIERS)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("optimizer", "lion", "one of sgd, rmsprop, adamw"),
        ("learning_rate", 0.0, "above 0"),
        ("ema_decay", 1.0, r"in \[0, 1\)"),
        ("mixup_alpha", -0.1, "0 or more"),
        ("dropout_rate", 1.0, r"in \[0, 1\)"),
    ],
)
def test_a_setting_out_of_range_is_refused(name: str, value: object, expected: str):
    with pytest.raises(ValueError, match=f"{name} must be {expected}"):
        make_recipe(**{name: value})


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ([1], "must be a JSON object"),
        ({"schema_version": 2, "recipe": {}}, "must have schema_version 1"),
        ({"schema_version": 1, "recipe": {}}, "must have the key 'drop"),
        ({"schema_version": 1, "recipe": 3}, "must be a JSON object"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(
    document: object, sentence: str, tmp_path: Path
):
    path = tmp_path / "some.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=sentence):
        open_recipe(path)
