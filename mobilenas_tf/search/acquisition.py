"""The neural acquisition function: accuracy of an architecture under a recipe.

An ensemble of small networks, trained at once. Each encodes the architecture; the
encoder learns first, without any training of a network, to tell its statistics
(multiply-adds, parameters); then a head learns accuracies from embedding, statistics
and recipe, at first with the encoder as it is.

Source: Dai et al., FBNetV3, arXiv:2006.02049, section 3.2 (architecture encoder, proxy
and accuracy heads, Huber loss, frozen then released encoder). Differs: an ensemble,
whose spread tells how sure it is; the head sees the statistics themselves; a linear
part beside the network, so that few examples suffice for what is nearly additive.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

Tensor = Any


@dataclasses.dataclass(frozen=True)
class AcquisitionConfig:
    """Sizes and lengths; a step takes all examples, of pre-training a batch."""

    members: int = 8
    hidden: int = 64
    embedding: int = 24
    pretraining_steps: int = 600
    pretraining_rate: float = 3e-3
    pretraining_batch: int = 256
    frozen_steps: int = 300
    released_steps: int = 300
    frozen_rate: float = 1e-2
    released_rate: float = 3e-3
    weight_decay: float = 0.1
    huber_delta: float = 1.0  # in standard deviations of the accuracies


@dataclasses.dataclass(frozen=True)
class Examples:
    """Candidates as numbers: `architectures [N, F]`, `statistics [N, S]`, and recipes.

    Statistics are logarithms or the like, of about the same spread; `recipes [N, R]`,
    R may be 0.
    """

    architectures: np.ndarray
    statistics: np.ndarray
    recipes: np.ndarray

    def __len__(self) -> int:
        return len(self.architectures)

    def parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns all three."""
        return self.architectures, self.statistics, self.recipes


class MemberDense(keras.layers.Layer):
    """A dense layer for every member of an ensemble: `[E, B, I]` to `[E, B, units]`."""

    def __init__(self, units: int, activation: str | None = None, **kwargs):
        """Creates the layer.

        Args:
            units: Outputs of each.
            activation: A Keras activation.
            **kwargs: `name`.
        """
        super().__init__(**kwargs)
        self.units = units
        self.activation = keras.activations.get(activation)

    def build(self, input_shape):
        """Creates kernels and biases."""
        members, _, inputs = input_shape
        self.kernel = self.add_weight(
            name="kernel", shape=(members, inputs, self.units), initializer="zeros"
        )
        self.bias = self.add_weight(
            name="bias", shape=(members, 1, self.units), initializer="zeros"
        )

    def reset(self, rng: np.random.Generator) -> None:
        """Gives all members other random kernels (He's uniform), and no biases."""
        limit = (6 / max(self.kernel.shape[1], 1)) ** 0.5
        self.kernel.assign(rng.uniform(-limit, limit, self.kernel.shape))
        self.bias.assign(np.zeros(self.bias.shape))

    def call(self, inputs):
        """Returns `[E, B, units]`."""
        return self.activation(ops.matmul(inputs, self.kernel) + self.bias)


class NeuralAcquisition:
    """Tells accuracies and how sure it is; learns from all that was evaluated.

    One object serves many fits: nothing is traced again.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        config: AcquisitionConfig | None = None,
        seed: int = 0,
    ):
        """Builds the networks, untrained.

        Args:
            sizes: F, S and R of the examples.
            config: Sizes and lengths.
            seed: Of weights and batches.
        """
        self.config = config or AcquisitionConfig()
        self.seed = seed
        architecture, statistics, recipe = sizes
        config, others = self.config, statistics + recipe
        hidden, embedding = config.hidden, config.embedding
        self._encoder = self._layers(
            architecture, [(hidden, "swish"), (embedding, "swish")]
        )
        self._proxy = self._layers(embedding, [(statistics, None)])
        self._head = self._layers(embedding + others, [(hidden, "swish"), (1, None)])
        self._linear = self._layers(architecture + others, [(1, None)])
        heads = [*self._head, *self._linear]
        self._pretraining = _Phase(
            self._proxy_loss,
            [*self._encoder, *self._proxy],
            rate=config.pretraining_rate,
            steps=config.pretraining_steps,
        )
        self._frozen, self._released = (
            _Phase(
                self._accuracy_loss,
                layers,
                rate=rate,
                steps=steps,
                weight_decay=config.weight_decay,
            )
            for layers, rate, steps in (
                (heads, config.frozen_rate, config.frozen_steps),
                ([*self._encoder, *heads], config.released_rate, config.released_steps),
            )
        )
        self._answer = tf.function(self._standardised, reduce_retracing=True)
        self._mean, self._spread = 0.0, 1.0
        self._reset([*self._encoder, *self._proxy])
        self._encoder_start = self._encoder_values()

    def _layers(
        self, inputs: int, rows: Sequence[tuple[int, str | None]]
    ) -> list[MemberDense]:
        layers = []
        for units, activation in rows:
            layer = MemberDense(units, activation)
            layer.build((self.config.members, None, inputs))
            layers.append(layer)
            inputs = units
        return layers

    def _reset(self, layers: Sequence[MemberDense]) -> None:
        rng = np.random.default_rng(self.seed)
        for layer in layers:
            layer.reset(rng)

    def _encoder_values(self) -> list[np.ndarray]:
        return [np.array(variable) for variable in self._encoder_variables()]

    def _encoder_variables(self) -> list[keras.Variable]:
        return [variable for layer in self._encoder for variable in layer.weights]

    def pretrain(self, architectures: np.ndarray, statistics: np.ndarray) -> float:
        """Teaches the encoder the statistics of architectures that nobody trained.

        Args:
            architectures: `[N, F]`, some thousands.
            statistics: `[N, S]`.

        Returns:
            The mean squared error at the end.
        """
        self._reset([*self._encoder, *self._proxy])
        rng = np.random.default_rng(self.seed)
        steps, size = self.config.pretraining_steps, self.config.pretraining_batch
        order = rng.integers(len(architectures), size=(steps, size)).astype(np.int32)
        x, y = _tensor(architectures), _tensor(statistics)
        self._pretraining.run(x, y, tf.constant(order))
        self._encoder_start = self._encoder_values()
        return float(tf.reduce_mean((self._told(x) - y) ** 2))

    def fit(self, examples: Examples, accuracies: Sequence[float]) -> None:
        """Learns accuracies anew, from the encoder as pre-training left it.

        Args:
            examples: All that were evaluated, at least 2.
            accuracies: Of each.

        Raises:
            ValueError: If there are fewer than 2 examples.
        """
        y = np.asarray(accuracies, np.float32)
        if len(y) < 2 or len(y) != len(examples):
            raise ValueError(
                "accuracies must be of all examples, at least 2. Received: "
                f"{len(y)} for {len(examples)}"
            )
        self._mean, self._spread = float(y.mean()), float(y.std()) or 1.0
        self._reset([*self._head, *self._linear])
        for variable, value in zip(
            self._encoder_variables(), self._encoder_start, strict=True
        ):
            variable.assign(value)
        y = (y - self._mean) / self._spread
        batch = [_tensor(part) for part in (*examples.parts(), y)]
        self._frozen.run(*batch)
        self._released.run(*batch)

    def predict(self, examples: Examples) -> tuple[np.ndarray, np.ndarray]:
        """Returns mean and standard deviation of the members, each `[N]`."""
        answers = np.asarray(self._answer(*map(_tensor, examples.parts())))
        answers = answers * self._spread + self._mean
        return answers.mean(axis=0), answers.std(axis=0)

    def _told(self, architectures: Tensor) -> Tensor:
        """Returns the statistics `[E, B, S]` that the encoder knows."""
        return _through([*self._encoder, *self._proxy], architectures[None])

    def _standardised(
        self, architectures: Tensor, statistics: Tensor, recipes: Tensor
    ) -> Tensor:
        """Returns standardised accuracies, `[E, B]`."""
        others = [statistics, recipes]
        plain = ops.concatenate([architectures, *others], axis=-1)[None]
        embedded = _through(self._encoder, architectures[None])
        shared = ops.concatenate(others, axis=-1)[None]
        shared = ops.repeat(shared, self.config.members, axis=0)
        y = _through(self._head, ops.concatenate([embedded, shared], axis=-1))
        return (y + _through(self._linear, plain))[..., 0]

    def _proxy_loss(self, step: Tensor, x: Tensor, y: Tensor, order: Tensor) -> Tensor:
        x, y = tf.gather(x, order[step]), tf.gather(y, order[step])
        return self.config.members * tf.reduce_mean((self._told(x) - y) ** 2)

    def _accuracy_loss(self, _: Tensor, *batch: Tensor) -> Tensor:
        """Returns Huber's loss: the mean of the examples, the sum of the members."""
        *parts, y = batch
        error, delta = self._standardised(*parts) - y, self.config.huber_delta
        size = tf.abs(error)
        losses = tf.where(size < delta, 0.5 * error**2, delta * (size - 0.5 * delta))
        return self.config.members * tf.reduce_mean(losses)


class _Phase:
    """Steps of Adam on some layers; every run starts its optimizer anew."""

    def __init__(
        self,
        loss: Callable[..., Tensor],
        layers: Sequence[MemberDense],
        *,
        rate: float,
        steps: int,
        weight_decay: float = 0.0,
    ):
        self.loss, self.steps = loss, steps
        self.variables = [v for layer in layers for v in layer.trainable_weights]
        schedule = keras.optimizers.schedules.CosineDecay(rate, steps)
        self.optimizer = keras.optimizers.AdamW(schedule, weight_decay=weight_decay)
        self.optimizer.build(self.variables)
        self._run: Any = None  # traced at the first run

    def run(self, *batch: Tensor) -> None:
        """Takes all steps; batches may have other lengths without another trace."""
        for variable in self.optimizer.variables:
            variable.assign(ops.zeros_like(variable))
        if self._run is None:
            signature = [tf.TensorSpec([None, *x.shape[1:]], x.dtype) for x in batch]
            self._run = tf.function(self._take_steps, input_signature=signature)
        self._run(*batch)

    def _take_steps(self, *batch: Tensor) -> None:
        for step in tf.range(self.steps):
            with tf.GradientTape() as tape:
                loss = self.loss(step, *batch)
            self.optimizer.apply(tape.gradient(loss, self.variables), self.variables)


def _through(layers: Sequence[MemberDense], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


def _tensor(values: np.ndarray) -> Tensor:
    return tf.constant(np.asarray(values, np.float32))
