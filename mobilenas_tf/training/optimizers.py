"""Learning rate schedules, optimizers of the weights, and averaged weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mobilenas_tf.models.weight_transfer import VariableCut
from mobilenas_tf.training.config import OptimizerConfig

LEARNING_RATES = {
    "sgd": 0.1,
    "rmsprop": 0.016,  # "MnasNet", arXiv 1807.11626, as run by AtomNAS, 1912.09640
    "adamw": 0.002,  # ours: Adam's usual 0.001, for half as large a batch
}
"""Default learning rates for a batch of `REFERENCE_BATCH_SIZE` images."""

REFERENCE_BATCH_SIZE = 256
"""Of "Accurate, Large Minibatch SGD", arXiv 1706.02677, section 2.1."""


class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly to the start of another schedule, then follows it.

    With `after(0)` the highest learning rate, step t < warmup_steps gets
    after(0) (t + 1) / (warmup_steps + 1), and step t >= warmup_steps gets
    after(t - warmup_steps).

    Args:
        after: The schedule that follows.
        warmup_steps: Steps of the rise.
    """

    def __init__(
        self,
        after: keras.optimizers.schedules.LearningRateSchedule,
        warmup_steps: int,
    ) -> None:
        super().__init__()
        self.after = after
        self.warmup_steps = warmup_steps

    def __call__(self, step: Any) -> Any:
        """Returns the learning rate of a step, counted from 0."""
        step = keras.ops.cast(step, "float32")
        rise = keras.ops.minimum((step + 1) / (self.warmup_steps + 1), 1.0)
        return rise * self.after(keras.ops.maximum(step - self.warmup_steps, 0.0))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments as plain values."""
        after = keras.optimizers.schedules.serialize(self.after)
        return {"after": after, "warmup_steps": self.warmup_steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> WarmUp:
        """Returns the schedule that `get_config` described."""
        after = keras.optimizers.schedules.deserialize(config["after"])
        return cls(after, config["warmup_steps"])


def learning_rate_schedule(
    config: OptimizerConfig, *, steps_per_epoch: int, epochs: int, batch_size: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns the learning rate as a function of the step, counted from 0.

    It rises linearly over the warm-up to config.learning_rate * batch_size / 256. From
    there `cosine` falls to 0 at the last step (arXiv 1608.03983, equation 5, without
    restarts), `exponential` is multiplied by `decay_rate` after every `decay_epochs`.

    Differs: from the EfficientNet code in that `decay_epochs` are counted from the end
    of the warm-up, so that the warm-up always ends at the highest learning rate.

    Args:
        config: Which schedule.
        steps_per_epoch: Batches in an epoch.
        epochs: Length of the run.
        batch_size: Images in a step, over all devices.

    Raises:
        ValueError: If the warm-up is as long as the run.
    """
    highest = config.learning_rate or LEARNING_RATES[config.optimizer]
    highest *= batch_size / REFERENCE_BATCH_SIZE
    warmup_steps = round(config.warmup_epochs * steps_per_epoch)
    remaining_steps = steps_per_epoch * epochs - warmup_steps
    if remaining_steps < 1:
        raise ValueError(
            f"warmup_epochs must be less than the run's {epochs} epochs. Received: "
            f"warmup_epochs={config.warmup_epochs}"
        )
    schedules = keras.optimizers.schedules
    if config.schedule == "cosine":
        after = schedules.CosineDecay(highest, remaining_steps)
    else:
        is_constant = config.schedule == "constant"
        after = schedules.ExponentialDecay(
            highest,
            decay_steps=config.decay_epochs * steps_per_epoch,
            decay_rate=1.0 if is_constant else config.decay_rate,
            staircase=True,
        )
    return WarmUp(after, warmup_steps)


class FusedSGD(keras.optimizers.SGD):
    """`keras.optimizers.SGD` with momentum and decay in two operators a variable.

    A network has hundreds of small variables: Keras' dozen operators for each of them
    take longer than their arithmetic. The results are Keras'.
    """

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable."""
        rate = tf.cast(learning_rate, variable.dtype)
        _decay(self, variable, rate)
        if not self.momentum:
            variable.assign_sub(gradient * rate)
            return
        velocity = self.momentums[self._get_variable_index(variable)].value
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=velocity.handle,
            lr=rate,
            grad=gradient,
            momentum=self.momentum,
            use_nesterov=self.nesterov,
        )

    def _apply_weight_decay(self, variables):
        """Leaves the decay to `update_step`, which knows the learning rate."""


class FusedAdamW(keras.optimizers.AdamW):
    """`keras.optimizers.AdamW` in two operators a variable, for `FusedSGD`'s reason."""

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable."""
        rate = tf.cast(learning_rate, variable.dtype)
        _decay(self, variable, rate)
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(tf.cast(self.beta_1, variable.dtype), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, variable.dtype), step),
            lr=rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )

    def _apply_weight_decay(self, variables):
        """Leaves the decay to `update_step`, which knows the learning rate."""


class FusedRMSprop(keras.optimizers.RMSprop):
    """`keras.optimizers.RMSprop` in two operators a variable, if it has momentum."""

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable."""
        rate = tf.cast(learning_rate, variable.dtype)
        _decay(self, variable, rate)
        if not self.momentum:  # Keras has no accumulator then
            super().update_step(gradient, variable, rate)
            return
        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyRMSProp(
            var=variable.handle,
            ms=self._velocities[index].value.handle,
            mom=self._momentums[index].value.handle,
            lr=rate,
            rho=self.rho,
            momentum=self.momentum,
            epsilon=self.epsilon,
            grad=gradient,
        )

    def _apply_weight_decay(self, variables):
        """Leaves the decay to `update_step`, which knows the learning rate."""


def _decay(
    optimizer: keras.optimizers.Optimizer, variable: keras.Variable, rate: tf.Tensor
) -> None:
    """Takes rate * weight_decay * weight off, where the variable is to decay."""
    if optimizer.weight_decay is not None and optimizer._use_weight_decay(variable):
        variable.assign_sub(variable * (optimizer.weight_decay * rate))


def build_optimizer(
    config: OptimizerConfig,
    variables: Sequence[keras.Variable],
    *,
    steps_per_epoch: int,
    epochs: int,
    batch_size: int,
) -> keras.optimizers.Optimizer:
    """Returns the optimizer of some variables, built, so that it can be checkpointed.

    Weight decay is decoupled (arXiv 1711.05101, algorithm 1) and leaves out the
    variables for which `is_exempt_from_weight_decay` holds.

    Differs: from the papers' recipes, which add an L2 term to the loss. For SGD with
    momentum m an L2 coefficient c acts like the decoupled weight decay c / (1 - m); for
    RMSProp, which divides it by the gradient's size, there is no such equivalent.

    Args:
        config: Which optimizer.
        variables: What it will update, in the order in which it will get gradients.
        steps_per_epoch: Batches in an epoch.
        epochs: Length of the run.
        batch_size: Images in a step, over all devices.
    """
    options = {
        "learning_rate": learning_rate_schedule(
            config,
            steps_per_epoch=steps_per_epoch,
            epochs=epochs,
            batch_size=batch_size,
        ),
        "global_clipnorm": config.gradient_clip_norm or None,
        "use_ema": config.ema_decay > 0,
        "ema_momentum": config.ema_decay,
    }
    momentum, decay = float(config.momentum), config.weight_decay
    if config.optimizer == "adamw":
        optimizer = FusedAdamW(beta_1=momentum, weight_decay=decay, **options)
    else:
        options |= {"momentum": momentum, "weight_decay": decay or None}
        if config.optimizer == "sgd":
            optimizer = FusedSGD(nesterov=config.nesterov, **options)
        else:
            optimizer = FusedRMSprop(rho=config.rho, epsilon=config.epsilon, **options)
    optimizer.exclude_from_weight_decay(
        var_list=[v for v in variables if is_exempt_from_weight_decay(v)]
    )
    optimizer.build(list(variables))
    return optimizer


def carry_state(
    before: keras.optimizers.Optimizer,
    after: keras.optimizers.Optimizer,
    cuts: Iterable[VariableCut],
) -> None:
    """Gives the optimizer of a narrower network what the wider one's has gathered.

    Args:
        before: Optimizer of variables that are sources of cuts.
        after: Of the same kind, built; its variables are targets of cuts.
        cuts: Others, of variables without an optimizer, may be among them.
    """
    after.iterations.assign(before.iterations)
    wide, narrow = _slots_by_variable(before), _slots_by_variable(after)
    for cut in cuts:
        if id(cut.source) not in wide:
            continue
        pairs = zip(wide[id(cut.source)], narrow[id(cut.target)], strict=True)
        for source, target in pairs:
            target.assign(cut.part_of(np.asarray(source)))


def _slots_by_variable(
    optimizer: keras.optimizers.Optimizer,
) -> dict[int, list[keras.Variable]]:
    """Returns the slot variables of each trained variable by its id.

    Keras keeps every kind of slot (momentum, velocity, average) in a list of its own,
    with one variable for each trained one.
    """
    trained = optimizer._trainable_variables
    kinds = [
        value
        for name, value in vars(optimizer).items()
        if name not in ("_trainable_variables", "_variables")
        and isinstance(value, list)
        and len(value) == len(trained)
        and all(isinstance(slot, keras.Variable) for slot in value)
    ]
    return {
        id(variable): [slots[index] for slots in kinds]
        for index, variable in enumerate(trained)
    }


def is_exempt_from_weight_decay(variable: keras.Variable) -> bool:
    """Returns whether decay would do a variable no good.

    True for scales, offsets and biases (at most one axis), and for depthwise kernels
    (`[kernel, kernel, C, 1]`), which have few weights, each on its own channel. The
    shape decides, so that it holds for every layer, whatever its name.
    """
    shape = variable.shape
    return len(shape) <= 1 or (len(shape) == 4 and shape[-1] == 1)


@contextlib.contextmanager
def ema_weights(
    optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]
) -> Iterator[None]:
    """Puts the averaged weights into the model for the length of a `with` block.

    Afterwards the weights are what they were before, also after an error. Without
    averaging in the optimizer the block changes nothing. Do not train or save
    checkpoints inside. The moving statistics of batch normalization are not averaged:
    they belong to the last weights.

    Args:
        optimizer: From `build_optimizer`.
        variables: The variables it was built with, in that order.
    """
    if not optimizer.use_ema:
        yield
        return
    trained = [tf.identity(variable.value) for variable in variables]
    optimizer.finalize_variable_values(list(variables))
    try:
        yield
    finally:
        for variable, value in zip(variables, trained, strict=True):
            variable.assign(value)
