import dataclasses
import os
import stat

import keras
import numpy as np
import pytest

from mobilenas_tf.json_io import read_architecture
from mobilenas_tf.models.compact import build_network
from mobilenas_tf.models.layer_set import FUSED, STOCK
from mobilenas_tf.models.network_io import (
    INHERITED_WEIGHTS,
    TRAINED_WEIGHTS,
    is_step,
    load_network,
    load_weights,
    network_weights,
    save_network,
)
from mobilenas_tf.spec import (
    Architecture,
    Branch,
    Convolution,
    Head,
    InvertedResidual,
    Stage,
    with_head,
)
from tests.models.random_networks import (
    random_images,
    randomize,
    small_supernet_architecture,
)
from tests.small_block_space import small_bit_space

ARCHITECTURE = small_supernet_architecture()
IMAGES = random_images(ARCHITECTURE, np.random.default_rng(1))


@pytest.fixture(scope="module")
def network():
    network = build_network(ARCHITECTURE)
    randomize(network, IMAGES, np.random.default_rng(0))
    return network


def chain(num_blocks, channels=8):
    """Returns a network of equal residual blocks."""
    block = InvertedResidual(channels, (Branch(3, 8),), has_residual=True)
    return Architecture(
        "chain", 8, Convolution(channels), (Stage((block,) * num_blocks),), Head(3)
    )


@pytest.mark.parametrize("layer_set", [FUSED, STOCK], ids=["fused", "stock"])
@pytest.mark.parametrize("weights_file", [TRAINED_WEIGHTS, INHERITED_WEIGHTS])
def test_a_network_comes_back_from_its_folder(
    network, tmp_path, layer_set, weights_file
):
    save_network(tmp_path, ARCHITECTURE, network, weights_file=weights_file)
    architecture, loaded = load_network(
        tmp_path, weights_file=weights_file, layer_set=layer_set
    )
    assert architecture == ARCHITECTURE
    for ours, theirs in zip(network.weights, loaded.weights, strict=True):
        assert ours.path == theirs.path
        np.testing.assert_array_equal(np.array(ours), np.array(theirs))
    expected = np.array(network(IMAGES))
    np.testing.assert_allclose(np.array(loaded(IMAGES)), expected, rtol=1e-4, atol=1e-5)
    norms = {
        type(layer)
        for layer in loaded.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    }
    assert norms == {layer_set.batch_normalization}


def test_steps_come_back_from_the_folder(tmp_path):
    space = small_bit_space()
    architecture = space.resolve(space.sample(np.random.default_rng(0)))
    network = build_network(architecture)
    network(IMAGES, training=True)
    save_network(tmp_path, architecture, network)
    _, loaded = load_network(tmp_path)
    steps = {k: v for k, v in network_weights(loaded).items() if is_step(k)}
    assert len(steps) == 4 + 6 + 6  # input and kernel of every convolution
    for key, step in steps.items():
        expected = np.array(network_weights(network)[key].value)
        assert np.all(expected > 0)
        np.testing.assert_array_equal(step.value, expected)
    np.testing.assert_array_equal(loaded(IMAGES), network(IMAGES))


def test_a_network_for_int8_files_leaves_the_steps_in_the_file(tmp_path):
    space = small_bit_space()
    int8 = space.resolve({place.path: 4 for place in space.places})
    network = build_network(int8)
    save_network(tmp_path, int8, network)
    architecture, loaded = load_network(tmp_path, layer_set=STOCK)
    assert architecture == int8
    assert not any(map(is_step, network_weights(loaded)))
    for key, variable in network_weights(loaded).items():
        there = network_weights(network)[key].value
        np.testing.assert_array_equal(variable.value, there)
    weights = dict(np.load(tmp_path / TRAINED_WEIGHTS))
    del weights["stage1.block0.input.quantizer/step"]
    np.savez(tmp_path / TRAINED_WEIGHTS, **weights)
    with pytest.raises(ValueError, match="block0.input.quantizer/step of shape None"):
        load_network(tmp_path)


def test_dropout_does_not_stand_in_the_way(tmp_path):
    dropping = build_network(ARCHITECTURE, dropout_rate=0.5)
    save_network(tmp_path, ARCHITECTURE, dropping)
    _, loaded = load_network(tmp_path)
    np.testing.assert_array_equal(np.array(loaded(IMAGES)), np.array(dropping(IMAGES)))


def test_files_are_what_the_umask_lets_others_read_and_nothing_else_is_left(
    network, tmp_path
):
    save_network(tmp_path, ARCHITECTURE, network)
    assert sorted(os.listdir(tmp_path)) == ["architecture.json", TRAINED_WEIGHTS]
    umask = os.umask(0)
    os.umask(umask)
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_a_failed_save_leaves_the_old_network(network, tmp_path, monkeypatch):
    save_network(tmp_path, ARCHITECTURE, network)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        save_network(tmp_path, dataclasses.replace(ARCHITECTURE, name="other"), network)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("missing", ["architecture.json", TRAINED_WEIGHTS])
def test_a_missing_file_is_named(network, tmp_path, missing):
    save_network(tmp_path, ARCHITECTURE, network)
    (tmp_path / missing).unlink()
    with pytest.raises(FileNotFoundError) as error:
        load_network(tmp_path)
    assert str(error.value) == (
        f"{tmp_path} must be the folder of a finished run, with {missing} in it. "
        f"{missing} is missing"
    )


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere must be the folder of a fin"):
        load_network(tmp_path / "nowhere")


@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_damaged_weights_are_one_sentence(network, tmp_path, damage):
    save_network(tmp_path, ARCHITECTURE, network)
    path = tmp_path / TRAINED_WEIGHTS
    data = path.read_bytes()
    path.write_bytes(
        {"truncated": data[: len(data) // 2], "empty": b"", "text": b"no weights"}[
            damage
        ]
    )
    with pytest.raises(ValueError) as error:
        load_network(tmp_path)
    message = str(error.value)
    assert message.startswith(f"{path} must be a whole file of arrays. Received: a ")
    assert "\n" not in message


@pytest.mark.parametrize(
    "other",
    [
        with_head(ARCHITECTURE, num_classes=4),
        dataclasses.replace(ARCHITECTURE, stages=ARCHITECTURE.stages[:1]),
        chain(1),
    ],
    ids=["classes", "stages", "another"],
)
def test_weights_of_another_architecture_are_refused(network, tmp_path, other):
    save_network(tmp_path, ARCHITECTURE, network)
    path = tmp_path / TRAINED_WEIGHTS
    with pytest.raises(ValueError) as error:
        load_weights(build_network(other), path)
    message = str(error.value)
    assert message.startswith(f"{path} must hold the weights of {other.name}")
    assert "Received: " in message
    assert "\n" not in message


@pytest.mark.filterwarnings("ignore:Skipping nested container:UserWarning")
@pytest.mark.parametrize(("saved", "wanted"), [(3, 2), (2, 3)])
def test_weights_of_a_longer_or_shorter_chain_are_refused(tmp_path, saved, wanted):
    # All layers of the shorter network find weights of their shape in the longer one.
    save_network(tmp_path, chain(saved), build_network(chain(saved)))
    with pytest.raises(ValueError, match="must hold the weights of chain"):
        load_weights(build_network(chain(wanted)), tmp_path / TRAINED_WEIGHTS)


def test_the_architecture_beside_the_weights_is_theirs(network, tmp_path):
    save_network(tmp_path, ARCHITECTURE, network)
    assert read_architecture(tmp_path / "architecture.json") == ARCHITECTURE
