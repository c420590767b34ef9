"""A one-shot search by its binary, then another budget with the same supernet."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.json_io import read_architecture, read_json
from tests.tools.run_binary import Answer, run_binary

pytestmark = pytest.mark.slow

SEARCH = (
    *("search_one_shot", "--space=nas_bench_macro", "--dataset=digits"),
    *(
        "--epochs=1",
        "--max_train_images=128",
        "--shrink_by=none",
        "--sampled_networks=1",
    ),
    *("--calibration_images=64", "--score_images=64"),
    *("--population=4", "--generations=2", "--json"),
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("one_shot")


@pytest.fixture(scope="module")
def first(root: Path) -> Answer:
    return run_binary(root, *SEARCH, "--max_macs=40e6", "--workdir=first")


def test_it_leaves_a_front_within_the_budget(root: Path, first: Answer) -> None:
    front = sorted((root / "first" / "front").iterdir())
    assert len(front) == first.result["front"] > 0
    for folder in front:
        network = read_architecture(folder / "architecture.json")
        assert network_cost(network).macs <= 40e6
    assert (root / "first" / "report.html").exists()


def test_another_budget_takes_the_supernet_and_its_scores(
    root: Path, first: Answer
) -> None:
    second = run_binary(
        root, *SEARCH, "--max_macs=20e6", "--supernet=first", "--workdir=second"
    )
    assert second.result["macs"] <= 20e6
    assert not (root / "second" / "checkpoints").exists()
    assert read_json(root / "second" / "one_shot.json")["budgets"] == {"macs": 20e6}
    journals = [
        (root / run / "evaluations.jsonl").read_text() for run in ("first", "second")
    ]
    assert journals[1].startswith(journals[0])
