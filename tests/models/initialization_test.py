import numpy as np
import pytest

from mobilenas_tf.models import initialization
from mobilenas_tf.models.compact import build_network
from mobilenas_tf.models.initialization import weight_initializer
from mobilenas_tf.models.network_io import (
    INHERITED_WEIGHTS,
    TRAINED_WEIGHTS,
    save_network,
)
from mobilenas_tf.spec import (
    Architecture,
    Branch,
    Convolution,
    Head,
    InvertedResidual,
    Stage,
)

ARCHITECTURE = Architecture(
    "small",
    8,
    Convolution(8),
    (Stage((InvertedResidual(8, (Branch(3, 8),)),)),),
    Head(3),
)


def filled(value):
    network = build_network(ARCHITECTURE)
    for weight in network.weights:
        weight.assign(np.full(weight.shape, value))
    return network


def first_weight(network):
    return float(np.array(network.weights[0]).ravel()[0])


def test_random_weights_need_no_function():
    assert weight_initializer("random", ARCHITECTURE) is None


def test_trained_weights_go_before_inherited_ones(tmp_path):
    save_network(tmp_path, ARCHITECTURE, filled(0.25), weights_file=INHERITED_WEIGHTS)
    network = build_network(ARCHITECTURE)
    weight_initializer(str(tmp_path), ARCHITECTURE)(network)
    assert {float(np.ptp(np.array(weight))) for weight in network.weights} == {0.0}
    assert first_weight(network) == 0.25
    save_network(tmp_path, ARCHITECTURE, filled(0.5), weights_file=TRAINED_WEIGHTS)
    weight_initializer(str(tmp_path), ARCHITECTURE)(network)
    assert first_weight(network) == 0.5


def test_imagenet_weights_are_asked_for_this_architecture(monkeypatch):
    asked, asked_for = [], []

    def load(network, architecture):
        asked.append((network, architecture))
        return ("head.classifier",)

    monkeypatch.setattr(initialization, "check_pretrained", asked_for.append)
    monkeypatch.setattr(initialization, "load_imagenet_weights", load)
    network = filled(0.0)
    weight_initializer("imagenet", ARCHITECTURE)(network)
    assert asked == [(network, ARCHITECTURE)]
    assert asked_for == [ARCHITECTURE]


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        weight_initializer(str(tmp_path), ARCHITECTURE)
    assert str(error.value) == (
        "init_weights must be random, imagenet or the folder of a finished run. "
        f"Received: init_weights={str(tmp_path)!r}"
    )
