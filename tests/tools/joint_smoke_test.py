"""A joint search by its binary, asked again, and its recipe taken by a training."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from mobilenas_tf.costs.latency_table import write_latency_table
from mobilenas_tf.costs.measured_space import measured_space
from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.json_io import read_architecture, read_json
from mobilenas_tf.training.recipe import open_recipe
from tests.costs.operator_latencies import CALL_MS, table_of_macs
from tests.tools.run_binary import Answer, run_binary

pytestmark = pytest.mark.slow

DATA = ("--dataset=digits", "--max_train_images=128", "--batch_size=64", "--json")
SEARCH = (
    *("search_joint", *DATA, "--epochs=1", "--warmup_epochs=0"),
    *("--evaluations=5", "--first_round=4", "--batch=1", "--pool=64"),
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("joint")


@pytest.fixture(scope="module")
def first(root: Path) -> Answer:
    return run_binary(root, *SEARCH, "--max_macs=6e5", "--workdir=first")


def test_it_leaves_network_recipe_and_report(root: Path, first: Answer) -> None:
    network = read_architecture(root / "first" / "architecture.json")
    assert network_cost(network).macs == first.result["macs"] <= 6e5
    assert open_recipe(root / "first").optimizer in ("sgd", "rmsprop", "adamw")
    assert first.result["trained"] == 5
    assert "The joint search" in (root / "first" / "report.html").read_text()


def test_it_goes_on_with_more_evaluations(root: Path, first: Answer) -> None:
    shutil.copytree(root / "first", root / "more")
    more = run_binary(
        root, *SEARCH, "--max_macs=6e5", "--evaluations=6", "--workdir=more"
    )
    assert more.result["trained"] == 6
    assert "5 are known" in more.stdout and "candidate 6/6: " in more.stdout
    journals = [
        (root / run / "evaluations.jsonl").read_text() for run in ("first", "more")
    ]
    assert journals[1].startswith(journals[0])


def test_it_is_asked_again_without_training(root: Path, first: Answer) -> None:
    asked = run_binary(
        root, *SEARCH, "--max_params=4e4", "--fine_only=first", "--workdir=second"
    )
    assert asked.result["params"] <= 4e4
    assert asked.result["accuracy"] is None and asked.result["predicted"] > 0
    journals = [
        (root / run / "evaluations.jsonl").read_text() for run in ("first", "second")
    ]
    assert journals[0] == journals[1]


def test_it_is_asked_again_for_milliseconds(root: Path, first: Answer) -> None:
    parts = measured_space("fbnet_v3_32", num_classes=10).parts
    table = dataclasses.replace(table_of_macs(parts), space="fbnet_v3_32")
    write_latency_table(root / "table.json", table)
    asked = run_binary(
        root,
        *(*SEARCH, "--max_ms=0.9", "--latency_table=table.json"),
        *("--fine_only=first", "--workdir=third"),
    )
    assert asked.result["ms"] <= 0.9
    macs = asked.result["macs"]
    assert asked.result["ms"] == pytest.approx(CALL_MS + 1e-6 * macs, rel=1e-5)
    assert "0.900 ms latency" in (root / "third" / "report.html").read_text()


def test_a_training_takes_the_recipe_but_for_what_is_given(
    root: Path, first: Answer
) -> None:
    run_binary(
        root,
        *("train_classifier", *DATA, "--architecture=first", "--recipe=first"),
        *("--epochs=1", "--dropout_rate=0.55", "--workdir=train"),
    )
    config, recipe = (
        read_json(root / "train" / "config.json"),
        open_recipe(root / "first"),
    )
    assert config["optimizer"]["learning_rate"] == recipe.learning_rate
    assert config["augmentation"]["mixup_alpha"] == recipe.mixup_alpha
    assert config["training"]["drop_path_rate"] == recipe.drop_path_rate
    assert config["training"]["dropout_rate"] == 0.55
