"""Networks and supernets whose weights and statistics are no defaults."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import keras
import numpy as np

from mobilenas_tf.layers.gates import (
    HARD_LOGIT,
    BatchNormScaleGate,
    Gate,
    HardConcreteGate,
    LogisticSigmoidGate,
    WidthChoiceGate,
)
from mobilenas_tf.models.layer_maker import layer_name
from mobilenas_tf.models.supernet import (
    GateFactory,
    Supernet,
    build_supernet_model,
)
from mobilenas_tf.space import Choice, SearchSpace, width_space
from mobilenas_tf.spec import (
    Architecture,
    Branch,
    Convolution,
    Head,
    InvertedResidual,
    Pooling,
    SqueezeExcite,
    Stage,
)
from mobilenas_tf.widths import width_groups


def logistic_sigmoid_gate(choice: Choice, name: str, seed: int) -> Gate:
    return LogisticSigmoidGate(choice.values[-1], seed=seed, name=name)


def hard_concrete_gate(choice: Choice, name: str, seed: int) -> Gate:
    return HardConcreteGate(choice.values[-1], seed=seed, name=name)


def batch_norm_scale_gate(choice: Choice, name: str, seed: int) -> Gate:
    return BatchNormScaleGate(choice.values[-1], name=name)


def width_choice_gate(choice: Choice, name: str, seed: int) -> Gate:
    return WidthChoiceGate(choice.values, seed=seed, name=name)


def randomize(model: keras.Model, images: np.ndarray, rng: np.random.Generator) -> None:
    """Draws batch-norm weights and biases, such that the images' signal is handed on.

    None of the numbers is a default any more. Gates must be as hard as they are to
    stay.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            channels = layer.gamma.shape
            layer.gamma.assign(rng.uniform(0.5, 1.5, channels))
            layer.beta.assign(rng.normal(0.0, 0.3, channels))
        elif getattr(layer, "bias", None) is not None:
            layer.bias.assign(rng.normal(0.0, 0.3, layer.bias.shape))
    take_statistics(model, images, rng)


def take_statistics(
    model: keras.Model, images: np.ndarray, rng: np.random.Generator
) -> None:
    """Gives batch norms the statistics of the images, then shakes these."""
    norms = [
        (layer, layer.momentum)
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    for layer, _ in norms:
        layer.momentum = 0.0
    model(images, training=True)
    for layer, momentum in norms:
        layer.momentum = momentum
        mean, variance = np.array(layer.moving_mean), np.array(layer.moving_variance)
        shift = rng.uniform(-0.1, 0.1, mean.shape)
        layer.moving_mean.assign(mean + shift * np.sqrt(variance))
        factor = rng.uniform(0.7, 1.3, mean.shape)
        layer.moving_variance.assign(variance * factor + 0.01 * variance.mean())


def random_images(
    architecture: Architecture, rng: np.random.Generator, count: int = 3
) -> np.ndarray:
    """Returns noise, each image around a colour of its own, in [-1, 1], float32."""
    size_px = architecture.image_size_px
    colours = rng.uniform(-0.5, 0.5, (count, 1, 1, 3))
    noise = rng.uniform(-0.5, 0.5, (count, size_px, size_px, 3))
    return (colours + noise).astype("float32")


def open_supernet(
    space: SearchSpace, make_gate: GateFactory = logistic_sigmoid_gate
) -> Supernet:
    """Returns a supernet with random weights and open gates."""
    supernet = build_supernet_model(space, make_gate)
    for gate in supernet.gates.values():
        gate.logits.assign(np.full(gate.channels, HARD_LOGIT))
    rng = np.random.default_rng(0)
    randomize(supernet.model, random_images(space.supernet, rng), rng)
    return supernet


def gate_channels(space: SearchSpace) -> dict[str, int]:
    """Returns the number of channels of every gate of the space's supernet."""
    channels = {group.path: group.channels for group in width_groups(space.supernet)}
    return {choice.path: channels[choice.path] for choice in space.choices}


def random_probabilities(
    space: SearchSpace, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Returns keep probabilities by width path, each gate with a level of its own.

    Levels of 0 to 1 make some kernels and blocks vanish and leave others whole.
    """
    return {
        path: np.clip(rng.uniform(-0.1, 1.1) + rng.uniform(-0.3, 0.3, channels), 0, 1)
        for path, channels in gate_channels(space).items()
    }


def constant_probabilities(space: SearchSpace, value: float) -> dict[str, np.ndarray]:
    return {
        path: np.full(channels, value)
        for path, channels in gate_channels(space).items()
    }


def set_probabilities(
    supernet: Supernet, probabilities: Mapping[str, np.ndarray]
) -> None:
    """Sets the logits of logistic-sigmoid gates to given keep probabilities."""
    for path, gate in supernet.gates.items():
        p = np.clip(probabilities[path], 1e-6, 1 - 1e-6)
        gate.logits.assign(np.log(p) - np.log1p(-p))


def producing_norms(supernet: Supernet, path: str) -> list[keras.Layer]:
    """Returns the batch norms that make the channels of a width group."""
    norms = {layer.name: layer for layer in supernet.model.layers}
    (group,) = (g for g in width_groups(supernet.space.supernet) if g.path == path)
    names = [layer_name(producer.removesuffix("/conv")) for producer in group.producers]
    suffixes = (".bn", ".project.bn", ".depthwise.bn")
    return [
        norms[name + suffix]
        for name in names
        for suffix in suffixes
        if name + suffix in norms
    ]


def set_scales(
    supernet: Supernet, kept: Mapping[str, np.ndarray], rng: np.random.Generator
) -> None:
    """Sets batch norms' scales, of either sign, so that the kept channels live.

    Of a kept channel's producers one is sure to have a large scale, the others may.
    """
    for path, gate in supernet.gates.items():
        norms = producing_norms(supernet, path)
        surely = rng.integers(len(norms), size=gate.channels)
        for index, norm in enumerate(norms):
            is_large = kept[path] & (
                (surely == index) | (rng.random(gate.channels) < 0.5)
            )
            large = rng.uniform(1.0, 1.5, gate.channels)
            small = rng.uniform(0.0, 0.99 * gate.threshold, gate.channels)
            sign = rng.choice([-1.0, 1.0], gate.channels)
            norm.gamma.assign(sign * np.where(is_large, large, small))


def small_supernet_architecture() -> Architecture:
    """Returns a network of 8x8 images with every kind of block and of width group.

    The stem, the first block (no expansion) and the third share one group; the pooling
    layers hand theirs on; the last two blocks may vanish.
    """
    kernels = (Branch(3, 8), Branch(5, 8))
    squeezed = SqueezeExcite(4)
    return Architecture(
        name="small",
        image_size_px=8,
        stem=Convolution(8, 3, 1, "relu"),
        stages=(
            Stage(
                (
                    InvertedResidual(
                        8, (Branch(3, 8),), has_expansion=False, has_residual=True
                    ),
                    Pooling("max", 3, 2),
                    InvertedResidual(8, kernels, has_residual=True),
                )
            ),
            Stage(
                (
                    InvertedResidual(12, kernels, stride=2, squeeze_excite=squeezed),
                    InvertedResidual(
                        12,
                        kernels,
                        has_residual=True,
                        activation="hard_swish",
                        squeeze_excite=squeezed,
                    ),
                    Pooling("average", 3, 1),
                    InvertedResidual(12, kernels, has_residual=True),
                    Convolution(12, 3, 1, "hard_swish"),
                )
            ),
        ),
        head=Head(3, conv_channels=16, hidden_channels=8, activation="hard_swish"),
    )


def small_space(channel_divisor: int = 2) -> SearchSpace:
    return width_space(
        "small", small_supernet_architecture(), channel_divisor=channel_divisor
    )


def small_normed_space(channel_divisor: int = 2) -> SearchSpace:
    """Returns `small_space` with only those widths open that a batch norm makes."""
    space = small_space(channel_divisor)
    choices = tuple(
        choice
        for choice in space.choices
        if not choice.path.endswith(("/squeeze_excite", "/hidden"))
    )
    return dataclasses.replace(space, choices=choices)
