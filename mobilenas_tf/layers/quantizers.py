"""Uniform rounding to few bits, with a step that is learned.

Forward, values are what integers of that many bits can say; the gradient goes straight
through. Which tensors are rounded is left to the builder.
"""

from __future__ import annotations

import math

import keras
from keras import ops

from mobilenas_tf.layers.replicas import num_replicas

# Steps are at least this, so that no quotient overflows.
LEAST_STEP = 1e-6
# Of a batch, to take a first step from: few, as this stays in the graph of every step.
_FIRST_EXAMPLES = 8


def integer_range(bits: int, *, is_signed: bool) -> tuple[int, int]:
    """Returns the lowest and the highest integer of that many bits."""
    if is_signed:
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


def fake_quantize(x, step, *, lowest: int, highest: int, gradient_scale: float = 1.0):
    """Returns `round(cut(x / s)) s`, where `cut` keeps to `[lowest, highest]`.

    Backward, with the quotient `v = x / s`,

        d/dx = 1 where lowest < v < highest, else 0
        d/ds = round(v) - v there, lowest below, highest above, times `gradient_scale`.

    Source: Esser et al., Learned step size quantization, arXiv:1902.08153, section 2.

    Args:
        x: Of any shape.
        step: `[]`, above 0.
        lowest: At most 0.
        highest: Above 0.
        gradient_scale: Of the step's gradient.
    """

    @ops.custom_gradient
    def quantize(x, step):
        outputs = ops.round(ops.clip(x / step, lowest, highest)) * step

        def gradient(*arguments, upstream=None):
            upstream = arguments[0] if upstream is None else upstream
            is_inside = ops.logical_and(x > lowest * step, x < highest * step)
            of_x = ops.where(is_inside, upstream, ops.zeros_like(upstream))
            # Inside (round(v) - v) s = outputs - x; outside the bound is outputs / s.
            change = upstream * outputs - of_x * x
            return of_x, ops.sum(change) / step * gradient_scale

        return outputs, gradient

    # Custom gradients take tensors, which a variable becomes by its cast.
    return quantize(ops.cast(x, x.dtype), ops.cast(step, step.dtype))


def first_step(x, *, highest: int):
    """Returns a step to start from: `min(2 mean|x| / sqrt(Q), max|x| / Q)`.

    Source: Esser et al., arXiv:1902.08153, section 2.1, has the first term. Differs:
    at 8 bits it cuts nothing off and makes the step several times as coarse as it need
    be; the second term ends the range at the largest value.

    Args:
        x: Of any shape.
        highest: The highest integer, Q.
    """
    size = ops.abs(x)
    step = ops.minimum(
        2.0 * ops.mean(size) / math.sqrt(highest), ops.max(size) / highest
    )
    return ops.maximum(step, LEAST_STEP)


def kernel_step_range(kernel, *, highest: int):
    """Returns the least and the largest step that a kernel's training may come to.

    With the largest size m of a weight and the highest integer Q, `m / 4Q` (all but the
    smallest weights are cut off) and `min(2 / Q, 1) m`. One update with a large step
    rounds all weights to 0: no gradient leads back from there, and the network stays
    at chance.

    Args:
        kernel: Of any shape.
        highest: The highest integer, Q.
    """
    largest = ops.maximum(ops.max(ops.abs(kernel)), highest * LEAST_STEP)
    return largest / (4 * highest), largest * min(2 / highest, 1.0)


class StepQuantizer(keras.layers.Layer):
    """Rounds to integers of few bits times a learned step.

    All values share the step. A step of 0 is one that is not set: it is taken from the
    values at hand (of a batch the first examples), and the first that training gives
    stays. Rounds alike when training and otherwise.

    Source: Esser et al., arXiv:1902.08153, section 2; the gradient of a step is scaled
    by `1 / sqrt(N Q)` for the N values (of one example) that share it. Differs: that of
    a kernel's by `1 / (sqrt(N) max(sqrt(Q), Q^2 / 16))`, as from 4 bits on a step that
    ends at the largest weight is smaller than the paper's, and at the learning rates of
    training from scratch updates were larger than the steps. A step is the variable's
    absolute value, so that such an update cannot make it negative; a kernel's training
    keeps within `kernel_step_range`.
    """

    def __init__(
        self,
        bits: int,
        *,
        is_signed: bool = True,
        has_batch_axis: bool = True,
        **kwargs,
    ):
        """Creates a quantiser.

        Args:
            bits: From 2 to 8.
            is_signed: Whether negative values are kept, else they become 0.
            has_batch_axis: Whether the first axis is a batch's; a kernel has none.
            **kwargs: `name`, `dtype`.
        """
        super().__init__(**kwargs)
        if bits not in range(2, 9):
            raise ValueError(
                f"bits must be an integer from 2 to 8. Received: bits={bits}"
            )
        self.bits = bits
        self.is_signed = is_signed
        self.has_batch_axis = has_batch_axis
        self.lowest, self.highest = integer_range(bits, is_signed=is_signed)

    def build(self, input_shape):
        """Creates the step `[]`, not set.

        Raises:
            ValueError: If replicas would take different first steps from their parts
                of the batch.
        """
        if self.has_batch_axis and num_replicas() > 1:
            raise ValueError(
                "distribute must be none for networks and spaces of few bits. "
                f"Received: {num_replicas()} replicas"
            )
        count = math.prod(input_shape[1:] if self.has_batch_axis else input_shape)
        levels = math.sqrt(self.highest)
        if not self.has_batch_axis:
            levels = max(levels, self.highest**2 / 16)
        self.gradient_scale = 1.0 / (math.sqrt(count) * levels)
        self.step = self.add_weight(
            name="step", shape=(), initializer="zeros", aggregation="mean"
        )

    def call(self, inputs, training=None):
        """Returns `inputs` rounded, same shape."""
        seen = inputs[:_FIRST_EXAMPLES] if self.has_batch_axis else inputs
        first = first_step(ops.stop_gradient(seen), highest=self.highest)
        step = ops.where(ops.equal(self.step, 0.0), first, ops.abs(self.step))
        if training:
            if not self.has_batch_axis:
                least, largest = kernel_step_range(seen, highest=self.highest)
                step = ops.minimum(ops.maximum(step, least), largest)
            self.step.assign(step)
            step = self.step
        step = ops.maximum(step, LEAST_STEP)
        return fake_quantize(
            inputs,
            step,
            lowest=self.lowest,
            highest=self.highest,
            gradient_scale=self.gradient_scale,
        )

    def compute_output_shape(self, input_shape):
        """Returns the shape of the input."""
        return tuple(input_shape)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "bits": self.bits,
            "is_signed": self.is_signed,
            "has_batch_axis": self.has_batch_axis,
        }
