import dataclasses
import os

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from export.batch_norm_folding import fold_batch_norms
from export.config import ExportConfig, QatConfig
from export.interpreter import count_operators, load_interpreter, predict
from export.keras_twin import tf_keras_twin
from export.operators import float_operators
from export.qat import convert_quantized, quantize_trained, take_ranges
from export.qat_layers import (
    KernelQuantizer,
    RangeQuantizer,
    import_tfmot,
    quantization_aware,
)
from export.tflite import convert_to_tflite
from mobilenas_tf.models.compact import build_network
from mobilenas_tf.models.layer_set import STOCK
from mobilenas_tf.models.network_io import network_weights
from mobilenas_tf.spaces import named_space
from mobilenas_tf.spec import (
    Architecture,
    Branch,
    Convolution,
    Head,
    InvertedResidual,
    SqueezeExcite,
    Stage,
    round_channels,
)
from mobilenas_tf.widths import resize, width_groups
from mobilenas_tf.zoo import zoo_architecture
from tests.models.random_networks import (
    random_images,
    randomize,
    small_supernet_architecture,
)
from tests.small_detectors import FPNLITE, SSDLITE, small_detector


def narrow(network):
    """Returns the first and the last two stages, two blocks of each, an eighth as wide.

    These have all kinds of blocks that the network has.
    """
    stages = (network.stages[0], *network.stages[1:][-2:])
    network = dataclasses.replace(
        network, stages=tuple(Stage(stage.blocks[:2]) for stage in stages)
    )
    widths = {
        group.path: min(group.channels, round_channels(group.channels / 8))
        for group in width_groups(network)
    }
    return resize(network, widths)


def zoo_network(name):
    return narrow(zoo_architecture(name, num_classes=5, image_size_px=32))


def space_network(name):
    return narrow(named_space(name, num_classes=5).supernet)


def shuffled_network():
    """Returns a network of FBNet's blocks: grouped 1x1 convolutions with a shuffle."""
    grouped = {"expansion_groups": 2, "projection_groups": 2, "has_shuffle": True}
    blocks = (
        InvertedResidual(8, (Branch(3, 16),), stride=2, activation="relu", **grouped),
        InvertedResidual(8, (Branch(5, 16),), has_residual=True, **grouped),
    )
    return Architecture(
        "shuffled", 16, Convolution(8, 3, 1, "relu"), (Stage(blocks),), Head(5, 16)
    )


ZOO = ("mobilenet_v2", "mobilenet_v3_large", "mnasnet_a1", "atomnas_a")
SPACES = (
    *("figs_mobilenet_v2_32", "figs_atomnas_32", "figs_mobilenet_v3_32"),
    *("figs_quantized_32", "figs_fbnet_32", "figs_widths_32"),
)
NETWORKS = {
    **{name: (zoo_network, name) for name in (*ZOO, "efficientnet_b0")},
    **{name: (space_network, name) for name in SPACES},
    "shuffled": (shuffled_network,),
    "every_block": (small_supernet_architecture,),
    "ssdlite": (small_detector, SSDLITE),
    "fpnlite": (small_detector, FPNLITE),
}


def make_network(name, **options):
    """Returns a network with random weights and statistics, and images for it."""
    make, *arguments = NETWORKS[name]
    architecture = make(*arguments)
    network = build_network(architecture, **options)
    rng = np.random.default_rng(0)
    images = random_images(architecture, rng, count=8)
    randomize(network, images, rng)
    return architecture, network, images


def outputs_of(network, images):
    outputs = network(images, training=False)
    outputs = outputs if isinstance(outputs, dict) else {"logits": outputs}
    return {name: np.asarray(values) for name, values in outputs.items()}


def make_quantization_aware(architecture, network, images):
    folded = fold_batch_norms(tf_keras_twin(architecture, network))
    model = quantization_aware(folded, range_decay=0.99)
    take_ranges(model, tf.data.Dataset.from_tensors((images,)), 1)
    return model


@pytest.mark.parametrize("name", NETWORKS)
def test_twin_and_folded_twin_compute_what_the_network_does(name):
    architecture, network, images = make_network(name)
    expected = outputs_of(network, images)
    twin = tf_keras_twin(architecture, network)
    for model in (twin, fold_batch_norms(twin)):
        found = outputs_of(model, images)
        assert found.keys() == expected.keys()
        for output, values in expected.items():
            assert np.ptp(values, axis=0).max() > 0.01  # they depend on the image
            np.testing.assert_allclose(
                found[output], values, rtol=0, atol=1e-5 * np.abs(values).max()
            )
