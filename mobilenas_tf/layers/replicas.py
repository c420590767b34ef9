"""Replicas of a training step: the mean of what each has of its part of the batch.

Under a `tf.distribute` strategy every device runs the step, with variables of its own,
on its part. What is made of the parts goes through here before it changes a variable,
so that all replicas change theirs alike. Who runs the step on them is left to
`training.distribution`.
"""

from __future__ import annotations

from typing import Any

import keras


def num_replicas() -> int:
    """Returns how many replicas the strategy in force has, 1 without one."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf  # only here: layers fall back on other backends

    return tf.distribute.get_strategy().num_replicas_in_sync


def replica_mean(values: Any) -> Any:
    """Returns the mean over all replicas of a structure of tensors.

    Outside a replicated step there is nothing to average: the values come back. It must
    not be called in a branch through which a gradient goes (`ops.switch`), nor in a
    loop (`tf.map_fn`): TensorFlow's collectives fail in the first and wait for ever in
    the second.
    """
    if num_replicas() == 1:
        return values
    import tensorflow as tf  # only here, as above

    context = tf.distribute.get_replica_context()
    if context is None:
        return values
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, values)
