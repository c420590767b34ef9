"""Relaxed binary random variables, as pure functions on `keras.ops`.

`gates` owns the logits and the randomness; here is the maths. Logits are the log-odds
`a = log(p / (1 - p))` of a channel being kept, `[N]`; `noise` is `[N]`, uniform in
(0, 1).
"""

from __future__ import annotations

import math

import keras
from keras import ops

# Louizos et al., L0 regularization, arXiv:1712.01312, section 4; reference code.
HARD_CONCRETE_TEMPERATURE = 2.0 / 3.0
HARD_CONCRETE_LEFT = -0.1
HARD_CONCRETE_RIGHT = 1.1
NOISE_EPSILON = 1e-6


def logistic_noise(uniform):
    """Returns standard logistic noise `log u - log(1 - u)` from uniform `[N]`.

    `u` is kept within `NOISE_EPSILON` of (0, 1), so that the result is finite.
    """
    uniform = ops.clip(uniform, NOISE_EPSILON, 1.0 - NOISE_EPSILON)
    return ops.log(uniform) - ops.log1p(-uniform)


def logistic_sigmoid_sample(logits, uniform, temperature):
    """Returns `sigmoid((a + l) / tau)` with logistic noise `l`: `[N]` in (0, 1).

    `P(z >= t) = sigmoid(a - tau logit(t))`; the mean tends to `sigmoid(a)` as tau
    tends to 0.

    Source: Ray Chaudhuri et al., Fine-Grained Stochastic Architecture Search,
    arXiv:2006.09581; reference code morph_net `activation_gating.py`.
    Differs: the reference's default temperature is 0.001, where almost no sample
    carries a gradient; ours follows a schedule that the caller gives.
    """
    return ops.sigmoid((logits + logistic_noise(uniform)) / temperature)


def straight_through(soft, threshold: float = 0.5):
    """Returns `1[soft > threshold]` forward, with the gradient of `soft`.

    Source: Bengio et al., Estimating or propagating gradients through stochastic
    neurons, arXiv:1308.3432, section 4.
    """
    hard = ops.cast(soft > threshold, soft.dtype)
    return soft + ops.stop_gradient(hard - soft)


def keep_probability(logits):
    """Returns `P(channel kept) = sigmoid(a)` of the logistic-sigmoid gate, `[N]`."""
    return ops.sigmoid(logits)


def hard_concrete_sample(logits, uniform):
    """Returns a hard-concrete sample, `[N]` in [0, 1] with mass on both ends.

    `s = sigmoid((log u - log(1 - u) + a) / beta)`, stretched to (gamma, zeta) =
    (-0.1, 1.1) and cut to [0, 1], beta = 2/3.

    Source: Louizos et al., arXiv:1712.01312, equations 10 and 11.
    """
    soft = ops.sigmoid((logits + logistic_noise(uniform)) / HARD_CONCRETE_TEMPERATURE)
    return _stretch_and_cut(soft)


def hard_concrete_mode(logits):
    """Returns the gate at test time: `cut(sigmoid(a) (zeta - gamma) + gamma)`, `[N]`.

    Exactly 0 for a <= -2.398 and exactly 1 for a >= 2.398.

    Source: Louizos et al., arXiv:1712.01312, equation 13.
    """
    return _stretch_and_cut(ops.sigmoid(logits))


def hard_concrete_keep_probability(logits):
    """Returns `P(z != 0) = sigmoid(a - beta log(-gamma / zeta))`, `[N]`.

    Source: Louizos et al., arXiv:1712.01312, equation 12.
    """
    shift = HARD_CONCRETE_TEMPERATURE * math.log(
        -HARD_CONCRETE_LEFT / HARD_CONCRETE_RIGHT
    )
    return ops.sigmoid(logits - shift)


def _stretch_and_cut(soft):
    width = HARD_CONCRETE_RIGHT - HARD_CONCRETE_LEFT
    return ops.clip(soft * width + HARD_CONCRETE_LEFT, 0.0, 1.0)


def union_probability(probabilities):
    """Returns `1 - prod_k (1 - p_k)` over the first axis: any of K gates is open.

    Args:
        probabilities: `[K, N]`, of independent gates.

    Source: morph_net `ProbabilisticGroupingRegularizer`.
    """
    return 1.0 - ops.prod(1.0 - keras.ops.convert_to_tensor(probabilities), axis=0)


def gumbel_noise(uniform):
    """Returns standard Gumbel noise `-log(-log u)` from uniform `[N]`.

    `u` is kept within `NOISE_EPSILON` of (0, 1), so that the result is finite.
    """
    uniform = ops.clip(uniform, NOISE_EPSILON, 1.0 - NOISE_EPSILON)
    return -ops.log(-ops.log(uniform))


def gumbel_softmax(logits, uniform, temperature):
    """Returns `softmax((theta + g) / tau)` with Gumbel noise `g`: `[N]`, sums to 1.

    The largest entry is at i with probability `softmax(theta)_i`, whatever tau is.

    Source: Jang et al., Categorical reparameterization with Gumbel-softmax,
    arXiv:1611.01144, equation 2.
    """
    return ops.softmax((logits + gumbel_noise(uniform)) / temperature)


def one_hot_straight_through(soft):
    """Returns 1 at the largest entry of `[N]`, 0 elsewhere, with the gradient of soft.

    Source: Jang et al., arXiv:1611.01144, section 2.2.
    """
    hard = ops.one_hot(ops.argmax(soft), soft.shape[-1], dtype=soft.dtype)
    return soft + ops.stop_gradient(hard - soft)
