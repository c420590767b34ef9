import dataclasses

import keras
import numpy as np
import pytest

from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.models.compact import build_network
from mobilenas_tf.models.layer_set import STOCK
from tests.models.random_networks import (
    random_images,
    randomize,
)
from tests.small_detectors import FPNLITE, SSDLITE, small_detector

HEADS = [SSDLITE, FPNLITE]
# Grids of 4x4, 2x2 and 1x1 with 2, 3 and 1 shapes; 8x8, 4x4, 2x2 and 1x1 with 2 each.
NUM_ANCHORS = [16 * 2 + 4 * 3 + 1, (64 + 16 + 4 + 1) * 2]


@pytest.mark.parametrize(
    ("head", "num_anchors"), list(zip(HEADS, NUM_ANCHORS, strict=True))
)
def test_every_anchor_gets_scores_and_a_box(head, num_anchors):
    network = build_network(small_detector(head))
    outputs = network(np.zeros((2, 64, 64, 3), "float32"))
    assert {name: x.shape for name, x in outputs.items()} == {
        "class_logits": (2, num_anchors, 3),
        "box_encodings": (2, num_anchors, 4),
    }


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("score_activation", ["sigmoid", "softmax"])
def test_detectors_have_the_parameters_that_the_cost_says(head, score_activation):
    head = dataclasses.replace(head, score_activation=score_activation)
    architecture = small_detector(head)
    network = build_network(architecture)
    trained = sum(int(np.prod(v.shape)) for v in network.trainable_variables)
    assert trained == network_cost(architecture).params
    outputs = network(np.zeros((1, 64, 64, 3), "float32"))
    assert outputs["class_logits"].shape[-1] == head.num_logits


def test_sigmoid_scores_start_at_the_prior_and_boxes_at_their_anchors():
    network = build_network(small_detector(SSDLITE))
    outputs = network(np.zeros((1, 64, 64, 3), "float32"))
    # Weights of 0.03 on activations of at most 6.
    scores = 1 / (1 + np.exp(-np.array(outputs["class_logits"])))
    assert 0.005 < scores.min() and scores.max() < 0.02
    assert np.abs(np.array(outputs["box_encodings"])).max() < 0.5


@pytest.mark.parametrize("head", HEADS)
def test_anchors_run_level_by_level_and_row_by_row(head):
    architecture = small_detector(head)
    network = build_network(architecture)
    rng = np.random.default_rng(0)
    images = random_images(architecture, rng, count=4)
    randomize(network, images, rng)
    finest = network.get_layer("head.level0.class_logits.anchors").input
    maps = np.array(keras.Model(network.inputs[0], finest)(images))
    logits = np.array(network(images)["class_logits"])
    grid, shapes = maps.shape[1], len(head.anchors[0])
    for row, column, shape in ((0, 0, 0), (0, 1, 1), (1, 0, 0), (grid - 1, 0, 1)):
        index = (row * grid + column) * shapes + shape
        np.testing.assert_array_equal(
            logits[:, index], maps[:, row, column, 3 * shape : 3 * shape + 3]
        )


@pytest.mark.parametrize("head", HEADS)
def test_stock_layers_compute_the_same(head):
    architecture = small_detector(head)
    rng = np.random.default_rng(0)
    images = random_images(architecture, rng, count=2)
    fused = build_network(architecture)
    randomize(fused, images, rng)
    stock = build_network(architecture, layer_set=STOCK)
    weights = {layer.name: layer.get_weights() for layer in fused.layers}
    for layer in stock.layers:
        layer.set_weights(weights[layer.name])
    for name, expected in fused(images).items():
        np.testing.assert_allclose(
            np.array(stock(images)[name]), np.array(expected), rtol=1e-4, atol=1e-4
        )
