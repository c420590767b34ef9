"""Channel gates: layers that own logits and turn them into masks.

The maths is in `relaxations`; which channels a mask acts on is the builder's matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import keras
from keras import ops

from mobilenas_tf.layers.relaxations import (
    hard_concrete_keep_probability,
    hard_concrete_mode,
    hard_concrete_sample,
    keep_probability,
    logistic_sigmoid_sample,
    straight_through,
)
from mobilenas_tf.layers.width_choice import WidthChoiceGate

Estimator = Literal["soft", "straight_through"]
# Log-odds at which a gate is closed or open beyond doubt: sigmoid(-100) < 1e-43.
HARD_LOGIT = 100.0


class LogisticSigmoidGate(keras.layers.Layer):
    """FiGS' gate: one Bernoulli-like variable a channel, relaxed while training.

    Samples when training (one sample a channel and step, shared by the batch);
    otherwise `1[p > 0.5]`.

    Source: Ray Chaudhuri et al., arXiv:2006.09581; reference code morph_net
    `activation_gating.py` (initial log-odds 2.5, i.e. p = 0.924).
    Differs: at inference the reference multiplies kept channels by sigmoid(a), which
    no exported network does; ours does not. The reference keeps the first channel
    alive in the mask only; we keep the likeliest ones when the network is derived.
    """

    def __init__(
        self,
        channels: int,
        *,
        temperature: float = 0.5,
        estimator: Estimator = "soft",
        initial_logit: float = 2.5,
        seed: int = 0,
        **kwargs,
    ):
        """Creates a gate for `channels` channels.

        Args:
            channels: Number of gated channels.
            temperature: First value of the variable `temperature`, above 0.
            estimator: `soft` uses the relaxed sample forward and backward,
                `straight_through` the hard sample forward.
            initial_logit: Log-odds of every channel being kept at the start.
            seed: Seed of this gate's noise.
            **kwargs: `name`, `dtype`.
        """
        super().__init__(**kwargs)
        if not temperature > 0:
            raise ValueError(
                f"temperature must be above 0. Received: temperature={temperature}"
            )
        if estimator not in ("soft", "straight_through"):
            raise ValueError(
                "estimator must be soft or straight_through. "
                f"Received: estimator={estimator!r}"
            )
        self.channels = channels
        self.estimator = estimator
        self.initial_temperature = temperature
        self.initial_logit = initial_logit
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape=None):
        """Creates the logits `[channels]` and the temperature `[]`."""
        self.logits = self.add_weight(
            name="logits",
            shape=(self.channels,),
            initializer=keras.initializers.Constant(self.initial_logit),
        )
        self.temperature = self.add_weight(
            name="temperature",
            shape=(),
            initializer=keras.initializers.Constant(self.initial_temperature),
            trainable=False,
        )

    def call(self, inputs, training=None):
        """Returns the mask `[channels]` in [0, 1].

        Args:
            inputs: Any tensor of the network; places the gate in its graph.
            training: Whether to sample.
        """
        if not training:
            return ops.cast(self.logits > 0.0, self.logits.dtype)
        uniform = keras.random.uniform((self.channels,), seed=self.seed_generator)
        soft = logistic_sigmoid_sample(self.logits, uniform, self.temperature)
        return straight_through(soft) if self.estimator == "straight_through" else soft

    def compute_output_shape(self, input_shape):
        """Returns `(channels,)`: a mask has no batch axis."""
        return (self.channels,)

    def keep_probabilities(self):
        """Returns `P(channel kept)`, `[channels]`, differentiable in the logits."""
        return keep_probability(self.logits)

    def priced_channels(self):
        """Returns what the penalty counts: the keep probabilities."""
        return self.keep_probabilities()

    def get_config(self):
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "channels": self.channels,
            "temperature": self.initial_temperature,
            "estimator": self.estimator,
            "initial_logit": self.initial_logit,
            "seed": self.seed,
        }


class HardConcreteGate(keras.layers.Layer):
    """L0 regularisation's gate with its published constants.

    Samples when training; otherwise the stretched and cut sigmoid. Logits stay within
    [log 1e-2, log 1e2] as in the reference code.

    Source: Louizos et al., Learning sparse neural networks through L0
    regularization, arXiv:1712.01312, section 2.2 and reference code `l0_layers.py`.
    Differs: one gate a channel with a constant start, where the reference adds
    N(0, 0.01^2) to it; the network is derived from `P(z != 0) > 0.5`.
    """

    def __init__(
        self, channels: int, *, initial_logit: float = 2.5, seed: int = 0, **kwargs
    ):
        """Creates a gate for `channels` channels; `initial_logit` is log alpha."""
        super().__init__(**kwargs)
        self.channels = channels
        self.initial_logit = initial_logit
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape=None):
        """Creates the logits `[channels]`, called log alpha in the paper."""
        self.logits = self.add_weight(
            name="logits",
            shape=(self.channels,),
            initializer=keras.initializers.Constant(self.initial_logit),
            constraint=_within_published_range,
        )

    def call(self, inputs, training=None):
        """Returns the mask `[channels]` in [0, 1]; `inputs` as in the other gate."""
        if not training:
            return hard_concrete_mode(self.logits)
        uniform = keras.random.uniform((self.channels,), seed=self.seed_generator)
        return hard_concrete_sample(self.logits, uniform)

    def compute_output_shape(self, input_shape):
        """Returns `(channels,)`: a mask has no batch axis."""
        return (self.channels,)

    def keep_probabilities(self):
        """Returns `P(z != 0)`, `[channels]`, differentiable in the logits."""
        return hard_concrete_keep_probability(self.logits)

    def priced_channels(self):
        """Returns what the penalty counts: the keep probabilities."""
        return self.keep_probabilities()

    def get_config(self):
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "channels": self.channels,
            "initial_logit": self.initial_logit,
            "seed": self.seed,
        }


class BatchNormScaleGate(keras.layers.Layer):
    """AtomNAS' criterion: a channel lives while its batch-norm scale is not near 0.

    Has no variables of its own. The mask is `1[s > threshold]`, where s `[C]` is the
    largest `|gamma|` of the batch norms that make the channel; the penalty reaches
    gamma as L1, weighted with what the channel costs. Does not sample.

    Source: Mei et al., AtomNAS, arXiv:1912.09640, section 3.2 (penalty and threshold);
    the largest of several producers: morph_net's Gamma regularizer.
    Differs: the threshold is 0.01 instead of 0.001, as our learning rates, and with
    them the steps around 0, are larger; a dead channel's offset is 0 too; where a
    space has blocks' outputs open, they are searched like kernels.
    """

    def __init__(self, channels: int, *, threshold: float = 0.01, **kwargs):
        """Creates a gate for `channels` channels; `threshold` is above 0."""
        super().__init__(**kwargs)
        if not threshold > 0:
            raise ValueError(
                f"threshold must be above 0. Received: threshold={threshold}"
            )
        self.channels = channels
        self.threshold = threshold

    def follow(self, norms: Callable[[], Sequence[keras.Layer]]) -> None:
        """Takes the function that returns the batch norms, built, of the channels.

        A function, as the variables of a layer among the attributes would count as
        the gate's own, and as more producers come while a network is being built.
        """
        self._norms = norms

    def scales(self):
        """Returns s `[C]`, differentiable in the batch norms' scales."""
        return ops.max(ops.stack([ops.abs(n.gamma) for n in self._norms()]), axis=0)

    def call(self, inputs, training=None):
        """Returns the mask `[channels]`, 0 or 1, without gradient."""
        scales = self.scales()
        return ops.stop_gradient(ops.cast(scales > self.threshold, scales.dtype))

    def compute_output_shape(self, input_shape):
        """Returns `(channels,)`: a mask has no batch axis."""
        return (self.channels,)

    def keep_probabilities(self):
        """Returns `s / (s + threshold)`, `[channels]`: above 0.5 where it lives."""
        return self.scales() / (self.scales() + self.threshold)

    def priced_channels(self):
        """Returns `min(s, 1)`, `[channels]`, with the gradient of s.

        Its cost falls while scales shrink, long before the first of them is 0: what a
        controller of the penalty needs.
        """
        scales = self.scales()
        return scales + ops.stop_gradient(ops.minimum(scales, 1.0) - scales)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "channels": self.channels,
            "threshold": self.threshold,
        }


def _within_published_range(logits):
    return ops.clip(logits, math.log(1e-2), math.log(1e2))


Gate = LogisticSigmoidGate | HardConcreteGate | BatchNormScaleGate | WidthChoiceGate
