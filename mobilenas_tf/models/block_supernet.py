"""Supernets of operators: at every place all candidates, mixed or one at a time.

Source: Wu et al., FBNet, arXiv:1812.03443, section 3.1; executing one path only: Cai et
al., ProxylessNAS, arXiv:1812.00332, section 3.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from mobilenas_tf.block_space import BlockSpace, Place
from mobilenas_tf.layers.choices import OperatorChoice, Sampling
from mobilenas_tf.models.compact import build_network, build_part
from mobilenas_tf.models.layer_maker import layer_name
from mobilenas_tf.models.layer_set import FUSED, LayerSet
from mobilenas_tf.models.network_io import network_weights

Tensor = Any


class MixedPlace(keras.layers.Layer):
    """All candidates of a place, and their weighted sum or the one that was drawn."""

    def __init__(
        self,
        place: Place,
        *,
        sampling: Sampling,
        layer_set: LayerSet = FUSED,
        batch_norm_momentum: float = 0.99,
        **kwargs,
    ):
        """Builds the candidates.

        Args:
            place: Where it stands.
            sampling: Whether all candidates run, or while training the drawn one only.
            layer_set: Of the candidates.
            batch_norm_momentum: Of the candidates.
            **kwargs: `name`.
        """
        super().__init__(**kwargs)
        self.sampling = sampling
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
            layer_set: The flavour of the layers.
            batch_norm_momentum: Share of the moving statistics that each step keeps.
            dropout_rate: Before the classifier, while training.
            temperature: First temperature of the choices.
            seed: Seed of all choices' noise.
            **kwargs: `name`.
        """
        super().__init__(**kwargs)
        self.space = space
        options = {"layer_set": layer_set, "batch_norm_momentum": batch_norm_momentum}
        self.stem = build_part("stem", space.stem, 3, space.image_size_px, **options)
        self.places = {
            place.path: MixedPlace(
                place, sampling=sampling, name=layer_name(place.path), **options
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
    sources: dict[str, keras.Variable] = {}
    for part in (supernet.stem, supernet.head):
        sources |= network_weights(part)
    for path, position in space.path_in_network(genotype).items():
        candidate: Any = supernet.places[path].candidates[genotype[path]]
        prefix, target = f"{candidate.name}.", f"{layer_name(position)}."
        sources |= {
            target + key.removeprefix(prefix): variable
            for key, variable in network_weights(candidate).items()
        }
    for key, variable in network_weights(network).items():
        variable.assign(sources[key])
    return network
