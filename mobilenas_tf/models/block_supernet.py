"""Supernets of operators: at every place all candidates, mixed or one at a time.

Source: Wu et al., FBNet, arXiv:1812.03443, section 3.1; executing one path only: Cai et
al., ProxylessNAS, arXiv:1812.00332, section 3.1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from mobilenas_tf.block_space import BlockSpace, Place
from mobilenas_tf.layers.choices import OperatorChoice, Sampling
from mobilenas_tf.layers.shared_kernels import (
    KernelStore,
    SlicedDepthwise,
    SlicedPointwise,
    pointwise_role,
)
from mobilenas_tf.models.compact import build_network, build_part
from mobilenas_tf.models.layer_maker import layer_name
from mobilenas_tf.models.layer_set import FUSED, LayerSet, apart_on_replicas
from mobilenas_tf.models.network_io import network_weights
from mobilenas_tf.spec import InvertedResidual

Tensor = Any


class MixedPlace(keras.layers.Layer):
    """All candidates of a place, and their weighted sum or the one that was drawn."""

    def __init__(
        self,
        place: Place,
        *,
        sampling: Sampling,
        has_shared_kernels: bool = False,
        layer_set: LayerSet = FUSED,
        batch_norm_momentum: float = 0.99,
        **kwargs,
    ):
        """Builds the candidates.

        Args:
            place: Where it stands.
            sampling: Whether all candidates run, or while training the drawn one only.
            has_shared_kernels: Whether candidates use slices of the same convolution
                kernels, instead of kernels of their own.
            layer_set: Of the candidates.
            batch_norm_momentum: Of the candidates.
            **kwargs: `name`.
        """
        super().__init__(**kwargs)
        self.sampling = sampling
        self.kernels = KernelStore(name=layer_name(place.path, "kernels"))
        if has_shared_kernels:
            layer_set = _sharing(self.kernels, place, layer_set)
        self.candidates = [
            None
            if candidate.block is None
            else build_part(
                f"{place.path}/{candidate.name}",
                candidate.block,
                place.in_channels,
                place.in_size_px,
                layer_set=layer_set,
                batch_norm_momentum=batch_norm_momentum,
            )
            for candidate in place.candidates
        ]

    def build(self, input_shape=None):
        """The candidates are built when the layer is made."""

    def call(self, inputs, weights, training=None):
        """Returns `sum_i w_i b_i(x)`, `[B, H', W', C']`.

        Args:
            inputs: `[B, H, W, C]`.
            weights: `[N]`, from an `OperatorChoice`. With `sampling="path"` all but one
                are 0 in value, and that one carries the gradient.
            training: Whether batch norms take the batch's statistics.
        """

        def run(index: int, x: Tensor) -> Tensor:
            candidate = self.candidates[index]
            return x if candidate is None else candidate(x, training=training)

        if self.sampling == "mixture" and training:
            parts = [
                weights[index] * run(index, inputs)
                for index in range(len(self.candidates))
            ]
            return sum(parts[1:], parts[0])
        drawn = ops.argmax(weights)
        branches = [
            lambda x, index=index: run(index, x)
            for index in range(len(self.candidates))
        ]
        # Times 1, by which the gradient reaches the drawn candidate's logit.
        return ops.switch(drawn, branches, inputs) * ops.max(weights)


class BlockSupernet(keras.Model):
    """The networks of a space of operators, with shared stem and head.

    `call` takes images and, if given, the weights of every place's candidates;
    otherwise they come from the choices: samples while training, the likeliest
    candidates else. `sample()` draws weights for several uses.
    """

    def __init__(
        self,
        space: BlockSpace,
        *,
        sampling: Sampling = "mixture",
        has_shared_kernels: bool = False,
        layer_set: LayerSet = FUSED,
        batch_norm_momentum: float = 0.99,
        dropout_rate: float = 0.0,
        temperature: float = 5.0,
        seed: int = 0,
        **kwargs,
    ):
        """Builds stem, places and head.

        Args:
            space: Whose networks they are.
            sampling: See `MixedPlace`.
            has_shared_kernels: As there.
            layer_set: The flavour of the layers.
            batch_norm_momentum: Share of the moving statistics that each step keeps.
            dropout_rate: Before the classifier, while training.
            temperature: First temperature of the choices.
            seed: Seed of all choices' noise.
            **kwargs: `name`.
        """
        super().__init__(**kwargs)
        self.space = space
        if sampling == "path":  # in branches, where replicas cannot meet
            layer_set = apart_on_replicas(layer_set)
        options = {"layer_set": layer_set, "batch_norm_momentum": batch_norm_momentum}
        self.stem = build_part("stem", space.stem, 3, space.image_size_px, **options)
        self.places = {
            place.path: MixedPlace(
                place,
                sampling=sampling,
                has_shared_kernels=has_shared_kernels,
                name=layer_name(place.path),
                **options,
            )
            for place in space.places
        }
        self.head = build_part(
            "head", space.head, *space.features, dropout_rate=dropout_rate, **options
        )
        self.choices = {
            place.path: OperatorChoice(
                len(place.candidates),
                temperature=temperature,
                sampling=sampling,
                seed=seed + index,
                name=layer_name(place.path, "choice"),
            )
            for index, place in enumerate(space.places)
        }
        for choice in self.choices.values():
            choice.build()

    def call(self, inputs, weights=None, training=None):
        """Returns the logits `[B, K]` of images `[B, S, S, 3]`.

        Args:
            inputs: Images in [-1, 1].
            weights: `{place: [N]}` from `sample`; None draws or decides them here.
            training: Whether to sample, and how batch norms work.
        """
        if weights is None:
            weights = self.sample(training=training)
        x = self.stem(inputs, training=training)
        for path, place in self.places.items():
            x = place(x, weights[path], training=training)
        return self.head(x, training=training)

    def sample(self, *, training: Any = True) -> dict[str, Tensor]:
        """Returns `{place: weights [N]}`, one sample of every choice."""
        return {
            path: choice(None, training=training)
            for path, choice in self.choices.items()
        }

    def probabilities(self) -> dict[str, Tensor]:
        """Returns `{place: P(candidate) [N]}`."""
        return {path: choice.probabilities() for path, choice in self.choices.items()}

    @property
    def architecture_variables(self) -> list[keras.Variable]:
        """The logits of the choices, in order of use."""
        return [choice.logits for choice in self.choices.values()]

    @property
    def weight_variables(self) -> list[keras.Variable]:
        """All other trained variables."""
        own = {id(variable) for variable in self.architecture_variables}
        return [v for v in self.trainable_variables if id(v) not in own]


def _sharing(store: KernelStore, place: Place, layer_set: LayerSet) -> LayerSet:
    """Returns a set whose convolutions use the store's kernels, made large enough.

    Raises:
        ValueError: If a candidate has explicit padding.
    """
    largest: dict[str, tuple[int, ...]] = {}
    for candidate in place.candidates:
        block = candidate.block
        if not isinstance(block, InvertedResidual):
            continue
        if block.padding_px is not None:
            raise ValueError(
                "has_shared_kernels must be False with explicit padding. "
                f"Received: {candidate.name} at {place.path}"
            )
        for role, shape in _kernel_shapes(block, place.in_channels):
            known = largest.get(role, shape)
            largest[role] = tuple(map(max, known, shape))
    for role, shape in largest.items():
        store.reserve(role, shape)
    return dataclasses.replace(
        layer_set,
        pointwise_convolution=store.pointwise,
        depthwise_convolution=store.depthwise,
    )


def _kernel_shapes(
    block: InvertedResidual, in_channels: int
) -> Iterator[tuple[str, tuple[int, int, int, int]]]:
    """Yields role and shape of a block's convolution kernels."""
    total = 0
    for branch in block.branches:
        width = branch.channels if block.has_expansion else in_channels
        total += width
        if block.has_expansion:
            groups = block.expansion_groups
            role = pointwise_role("expand", groups)
            yield role, (1, 1, in_channels // groups, width)
        yield "depthwise", (branch.kernel_size, branch.kernel_size, width, 1)
    groups = block.projection_groups
    role = pointwise_role("project", groups)
    yield role, (1, 1, total // groups, block.out_channels)


def hard_weights(
    space: BlockSpace, genotype: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """Returns `{place: [N]}`: 1 at the genotype's candidate, 0 elsewhere."""
    space.check(genotype)
    return {
        place.path: np.eye(len(place.candidates), dtype=np.float32)[
            genotype[place.path]
        ]
        for place in space.places
    }


def inherit_weights(
    supernet: BlockSupernet, genotype: Mapping[str, int]
) -> keras.Model:
    """Returns a genotype's network with the supernet's weights.

    It computes what the supernet computes with `hard_weights(space, genotype)`.
    """
    space = supernet.space
    network = build_network(space.resolve(genotype))
    sources: dict[str, Tensor] = {}
    for part in (supernet.stem, supernet.head):
        sources |= network_weights(part)
    for path, position in space.path_in_network(genotype).items():
        candidate: Any = supernet.places[path].candidates[genotype[path]]
        prefix, target = f"{candidate.name}.", f"{layer_name(position)}."
        sources |= {
            target + key.removeprefix(prefix): variable
            for key, variable in _candidate_weights(candidate).items()
        }
    for key, variable in network_weights(network).items():
        variable.assign(sources[key])
    return network


def _candidate_weights(candidate: keras.Model) -> dict[str, Tensor]:
    """Returns a candidate's weights by name, its slices of shared kernels too."""
    slices = {
        f"{layer.name}/kernel": layer.kernel
        for layer in candidate.layers
        if isinstance(layer, SlicedPointwise | SlicedDepthwise)
    }
    return slices | network_weights(candidate)
