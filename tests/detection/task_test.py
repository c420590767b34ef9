"""From a data set's targets to COCO's numbers, and from outputs to a loss."""

import numpy as np
import pytest
import tensorflow as tf

from detection.coco_eval import evaluate_detections
from detection.config import (
    DetectionDataConfig,
    DetectionLossConfig,
    PostprocessConfig,
    SceneAugmentationConfig,
)
from detection.data import load_detection_data
from detection.heads import detector_anchors
from detection.losses import detection_loss
from detection.targets import assign_targets
from detection.task import (
    collect_results,
    detection_objective,
    detection_task,
    file_detector,
    network_detector,
)
from detection.trainer import evaluate_network
from mobilenas_tf.models.compact import build_network
from tests.detection.coco_folder import box_row, image_row, write_split
from tests.small_detectors import FPNLITE, SSDLITE, small_detector

LOSS, POSTPROCESS = DetectionLossConfig(), PostprocessConfig()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """12 training and 5 test photos, wider than high, with up to three boxes each."""
    root = tmp_path_factory.mktemp("coco")
    rng = np.random.default_rng(0)
    for name, count, first in (("train", 12, 1), ("val", 5, 100)):
        images = [
            image_row(first + index, height=40, width=60) for index in range(count)
        ]
        boxes = [
            box_row(
                image["id"],
                [20.0 * place + rng.uniform(0, 3), rng.uniform(0, 15), 14.0, 22.0],
                category_id=int(rng.choice([1, 18, 90])),
            )
            for index, image in enumerate(images)
            for place in range(index % 4)
        ]
        write_split(root, name, images, boxes)
    config = DetectionDataConfig(
        dataset=f"coco:{root}",
        image_size_px=64,
        batch_size=4,
        max_boxes=5,
        validation_fraction=0.25,
    )
    return load_detection_data(config, SceneAugmentationConfig())


def perfect_outputs(data, anchors):
    """Yields, for each test batch, outputs that say what the targets are."""
    for _, targets in data.test():
        assigned = assign_targets(targets, tf.constant(anchors), config=LOSS)
        one_hot = np.eye(data.num_classes + 1)[np.array(assigned.classes)][..., :-1]
        yield {
            "class_logits": (40.0 * one_hot - 20.0).astype("float32"),
            "box_encodings": np.array(assigned.encodings, "float32"),
        }


def test_a_network_that_knows_all_boxes_is_perfect(data):
    # Through anchors, coding, suppression, the way back to the photos' own pixels,
    # original category ids and COCO's evaluation.
    detector = small_detector(FPNLITE)
    outputs = perfect_outputs(data, detector_anchors(detector))
    detect = file_detector(lambda images: next(outputs), detector, config=POSTPROCESS)
    results = collect_results(detect, data, "test")
    truth = data.ground_truth("test")
    boxes = {
        (a["image_id"], a["category_id"], *np.round(a["bbox"], 2))
        for a in truth["annotations"]
    }
    found = {
        (r["image_id"], r["category_id"], *np.round(r["bbox"], 2)) for r in results
    }
    assert found == boxes
    metrics = evaluate_detections(truth, results).metrics
    assert metrics["ap"] == pytest.approx(1.0)
    assert metrics["ar100"] == pytest.approx(1.0)


def test_the_objective_is_the_loss_of_the_assigned_targets(data):
    detector = small_detector(SSDLITE)
    anchors = detector_anchors(detector)
    images, targets = next(iter(data.train_epoch(0)))
    outputs = build_network(detector)(images)
    objective = detection_objective(detector, config=LOSS)
    loss, figures = objective.loss(outputs, targets)
    expected, parts = detection_loss(
        outputs,
        assign_targets(targets, tf.constant(anchors), config=LOSS),
        score_activation="sigmoid",
        config=LOSS,
    )
    assert float(loss) == pytest.approx(float(expected))
    assert tuple(figures) == objective.figures
    assert {k: float(v) for k, v in figures.items()} == pytest.approx(
        {k: float(v) for k, v in parts.items()}
    )


def test_networks_are_judged_by_the_mean_precision_of_validation(data):
    detector = small_detector(SSDLITE)
    network = build_network(detector)
    task = detection_task(detector, data, loss=LOSS, postprocess=POSTPROCESS)
    figures = task.evaluator(network)()
    detect = network_detector(network, detector, config=POSTPROCESS)
    results = collect_results(detect, data, "validation")
    metrics = evaluate_detections(data.ground_truth("validation"), results).metrics
    assert figures == {
        "validation_ap": metrics["ap"],
        "validation_ap50": metrics["ap50"],
    }
    assert task.score in figures
    evaluation, test_results = evaluate_network(network, detector, data, POSTPROCESS)
    assert evaluation.num_images == data.num_test
    assert {r["image_id"] for r in test_results} <= set(data.image_ids("test").tolist())
