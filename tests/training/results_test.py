import numpy as np

from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.json_io import read_json
from mobilenas_tf.training.classifier import Evaluation
from mobilenas_tf.training.results import (
    summary_row,
    update_summary,
    write_confusion,
    write_summary,
)
from tests.training.synthetic import small_architecture

COST = network_cost(small_architecture())


def test_a_row_has_the_costs_of_its_network():
    row = summary_row(small_architecture(), float_accuracy=0.5)
    assert row == {
        "name": "small",
        "macs": COST.macs,
        "params": COST.params,
        "float_accuracy": 0.5,
    }
    assert summary_row(small_architecture(), "FiGS")["name"] == "FiGS"


def test_a_summary_has_the_columns_that_some_row_has_in_order(tmp_path):
    rows = [
        {"name": "a", "median_ms": 2.0, "macs": 3},
        {"name": "b", "float_accuracy": 0.5},
    ]
    write_summary(tmp_path, rows)
    assert read_json(tmp_path / "summary.json") == {
        "columns": ["name", "macs", "float_accuracy", "median_ms"],
        "rows": rows,
    }


def test_figures_join_the_first_row(tmp_path):
    write_summary(tmp_path, [{"name": "a", "int8_accuracy": 0.1}, {"name": "b"}])
    update_summary(tmp_path, int8_accuracy=0.5, file_bytes=7)
    assert read_json(tmp_path / "summary.json") == {
        "columns": ["name", "int8_accuracy", "file_bytes"],
        "rows": [{"name": "a", "int8_accuracy": 0.5, "file_bytes": 7}, {"name": "b"}],
    }


def test_without_a_summary_there_is_nothing_to_join(tmp_path):
    update_summary(tmp_path, int8_accuracy=0.5)
    assert list(tmp_path.iterdir()) == []


def test_a_confusion_is_written_as_counts(tmp_path):
    evaluation = Evaluation(0.75, np.array([[2, 1], [0, 1]]))
    write_confusion(tmp_path, evaluation, ("cat", "dog"), title="Test images")
    assert read_json(tmp_path / "confusion.json") == {
        "title": "Test images",
        "class_names": ["cat", "dog"],
        "counts": [[2, 1], [0, 1]],
    }
