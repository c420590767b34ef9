"""A choice among operators: a layer that owns logits and turns them into weights.

The maths is in `relaxations`; what the weights mix is the supernet's matter.
"""

from __future__ import annotations

from typing import Literal

import keras
from keras import ops

from mobilenas_tf.layers.relaxations import gumbel_softmax, one_hot_straight_through

Sampling = Literal["mixture", "path"]


class OperatorChoice(keras.layers.Layer):
    """One categorical variable over candidates, relaxed while training.

    Gives one weight for each candidate. When training, `mixture` draws them from the
    Gumbel-softmax distribution, all above 0; `path` draws one candidate, with the
    gradient of the relaxed sample. Otherwise the likeliest candidate has weight 1.

    Source: Wu et al., FBNet, arXiv:1812.03443, section 3.3; Jang et al., Categorical
    reparameterization with Gumbel-softmax, arXiv:1611.01144, sections 2.1 and 2.2.
    """

    def __init__(
        self,
        num_candidates: int,
        *,
        temperature: float = 5.0,
        sampling: Sampling = "mixture",
        seed: int = 0,
        **kwargs,
    ):
        """Creates a choice with equal probabilities.

        Args:
            num_candidates: How many there are.
            temperature: First value of the variable `temperature`, above 0.
            sampling: What a sample is.
            seed: Seed of this choice's noise.
            **kwargs: `name`, `dtype`.
        """
        super().__init__(**kwargs)
        if not temperature > 0:
            raise ValueError(
                f"temperature must be above 0. Received: temperature={temperature}"
            )
        if sampling not in ("mixture", "path"):
            raise ValueError(
                f"sampling must be mixture or path. Received: sampling={sampling!r}"
            )
        self.num_candidates = num_candidates
        self.initial_temperature = temperature
        self.sampling = sampling
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape=None):
        """Creates the logits `[N]` and the temperature `[]`."""
        self.logits = self.add_weight(
            name="logits", shape=(self.num_candidates,), initializer="zeros"
        )
        self.temperature = self.add_weight(
            name="temperature",
            shape=(),
            initializer=keras.initializers.Constant(self.initial_temperature),
            trainable=False,
        )

    def call(self, inputs=None, training=None):
        """Returns the candidates' weights `[N]`, which sum to 1; `inputs` is unused."""
        if not training:
            likeliest = ops.argmax(self.logits)
            return ops.one_hot(likeliest, self.num_candidates, dtype=self.compute_dtype)
        uniform = keras.random.uniform(
            (self.num_candidates,), dtype=self.compute_dtype, seed=self.seed_generator
        )
        soft = gumbel_softmax(self.logits, uniform, self.temperature)
        return one_hot_straight_through(soft) if self.sampling == "path" else soft

    def probabilities(self):
        """Returns `P(candidate)`: `softmax(logits)`, `[N]`."""
        return ops.softmax(self.logits)

    def compute_output_shape(self, input_shape=None):
        """Returns `(N,)`."""
        return (self.num_candidates,)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_candidates": self.num_candidates,
            "temperature": self.initial_temperature,
            "sampling": self.sampling,
            "seed": self.seed,
        }
