"""The PyTorch twin computes what our network does; runs where PyTorch is installed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.costs.uniform import uniform_network
from mobilenas_tf.models.compact import build_network
from mobilenas_tf.spaces import named_space
from mobilenas_tf.spec import Architecture, SqueezeExcite, Stage, walk_blocks
from mobilenas_tf.widths import kernel_path

torch = pytest.importorskip("torch")


def small_network() -> Architecture:
    return uniform_network(
        "figs_mobilenet_v2_16", num_classes=3, metric="params", budget=8e3
    )


def weighted_layer_names(architecture: Architecture) -> list[str]:
    """Returns the names of our layers with weights, in the twin's order."""
    units = ["stem"]
    for path, block, _ in walk_blocks(architecture):
        for branch in block.branches:
            kernel = kernel_path(path, branch.kernel_size)
            units += [f"{kernel}/expand"] if block.has_expansion else []
            units.append(f"{kernel}/depthwise")
        units.append(f"{path}/project")
    names = [f"{unit}.{kind}" for unit in [*units, "head"] for kind in ("conv", "bn")]
    return [name.replace("/", ".") for name in names] + ["head.classifier"]


def to_torch(weight: np.ndarray) -> np.ndarray:
    if weight.ndim == 4:  # depthwise kernels are [k, k, C, 1], others [k, k, in, out]
        return weight.transpose((2, 3, 0, 1) if weight.shape[3] == 1 else (3, 2, 0, 1))
    return weight.T


@pytest.mark.parametrize(
    "architecture",
    [small_network(), named_space("figs_mobilenet_v2_16", num_classes=3).supernet],
    ids=["uniform", "parallel kernels"],
)
def test_the_twin_computes_what_our_network_does(architecture):
    from benchmarks.torch_twin import build_torch_network

    twin = build_torch_network(architecture).eval()
    params = sum(parameter.numel() for parameter in twin.parameters())
    assert params == network_cost(architecture).params
    network = build_network(architecture)
    rng = np.random.default_rng(0)
    modules = [
        module
        for module in twin.modules()
        if isinstance(module, (torch.nn.Conv2d, torch.nn.BatchNorm2d, torch.nn.Linear))
    ]
    for name, module in zip(weighted_layer_names(architecture), modules, strict=True):
        layer = network.get_layer(name)
        weights = [rng.uniform(0.2, 0.8, w.shape) - 0.1 for w in layer.get_weights()]
        layer.set_weights(weights)
        targets = [t for key, t in module.state_dict().items() if "num_" not in key]
        for target, weight in zip(targets, weights, strict=True):
            target.copy_(torch.tensor(to_torch(weight)))
    images = rng.uniform(-1, 1, (4, 16, 16, 3)).astype("float32")
    expected = np.asarray(network(images, training=False))
    with torch.no_grad():
        logits = twin(torch.tensor(images.transpose(0, 3, 1, 2))).numpy()
    scale = np.ptp(expected, axis=0).max()
    assert scale > 0
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-3 * scale)


def test_what_the_twin_does_not_cover_is_refused():
    from benchmarks.torch_twin import build_torch_network

    architecture = small_network()
    *blocks, last = architecture.stages[-1].blocks
    squeezed = dataclasses.replace(last, squeeze_excite=SqueezeExcite(4))
    stages = (*architecture.stages[:-1], Stage((*blocks, squeezed)))
    architecture = dataclasses.replace(architecture, stages=stages)
    with pytest.raises(ValueError, match="blocks without squeeze-excite .* Received"):
        build_torch_network(architecture)
