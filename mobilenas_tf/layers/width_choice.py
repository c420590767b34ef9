"""A choice of how many channels there are: masks of prefixes, weighted by Gumbel."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from mobilenas_tf.layers.relaxations import gumbel_softmax


class WidthChoiceGate(keras.layers.Layer):
    """FBNetV2's channel search: one categorical variable over channel counts.

    The widest convolution is computed once; its mask is the mean of the counts' masks
    (the first k channels open) weighted by a Gumbel-softmax sample. Samples when
    training; otherwise the likeliest count.

    Source: Wan et al., FBNetV2, arXiv:2004.05565, section 3.2 (DMaskingNAS, channel
    search).
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        temperature: float = 5.0,
        seed: int = 0,
        **kwargs,
    ):
        """Creates a choice with equal probabilities.

        Args:
            widths: The counts in rising order; the last is that of the convolution.
            temperature: First value of the variable `temperature`, above 0.
            seed: Seed of this gate's noise.
            **kwargs: `name`, `dtype`.
        """
        super().__init__(**kwargs)
        if not temperature > 0:
            raise ValueError(
                f"temperature must be above 0. Received: temperature={temperature}"
            )
        if not widths or list(widths) != sorted(set(widths)) or widths[-1] < 1:
            raise ValueError(
                "widths must be one or more distinct counts in rising order. "
                f"Received: widths={tuple(widths)}"
            )
        self.widths = tuple(widths)
        self.channels = self.widths[-1]
        self.initial_temperature = temperature
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        # [N, C]: 1 where the n-th count has the channel.
        self.prefixes = np.less.outer(np.arange(self.channels), self.widths).T * 1.0

    def build(self, input_shape=None):
        """Creates the logits `[N]` and the temperature `[]`."""
        self.logits = self.add_weight(
            name="logits", shape=(len(self.widths),), initializer="zeros"
        )
        self.temperature = self.add_weight(
            name="temperature",
            shape=(),
            initializer=keras.initializers.Constant(self.initial_temperature),
            trainable=False,
        )

    def call(self, inputs, training=None):
        """Returns the mask `[C]` in [0, 1], falling.

        Args:
            inputs: Any tensor of the network; places the gate in its graph.
            training: Whether to sample.
        """
        if not training:
            likeliest = ops.argmax(self.logits)
            return self._mask(ops.one_hot(likeliest, len(self.widths)))
        uniform = keras.random.uniform((len(self.widths),), seed=self.seed_generator)
        return self._mask(gumbel_softmax(self.logits, uniform, self.temperature))

    def _mask(self, weights):
        prefixes = ops.cast(self.prefixes, self.logits.dtype)
        return ops.matmul(ops.cast(weights, self.logits.dtype), prefixes)

    def compute_output_shape(self, input_shape):
        """Returns `(channels,)`: a mask has no batch axis."""
        return (self.channels,)

    def keep_probabilities(self):
        """Returns `P(count > c)` for each channel c, `[C]`; their sum is the mean."""
        return self._mask(ops.softmax(self.logits))

    def priced_channels(self):
        """Returns what the penalty counts: the keep probabilities."""
        return self.keep_probabilities()

    def get_config(self):
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "widths": self.widths,
            "temperature": self.initial_temperature,
            "seed": self.seed,
        }
