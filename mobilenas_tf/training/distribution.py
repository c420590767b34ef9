"""Training steps on more devices and more machines, under `tf.distribute`.

Every replica holds a copy of all variables and runs the trainer's own step on its part
of the batch. What differs between the parts is averaged before it changes a variable
(`layers.replicas`), and random numbers follow from seeds that are variables too: so all
copies change alike, and a step is that of one device with the whole batch.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from mobilenas_tf.layers.replicas import num_replicas, replica_mean
from mobilenas_tf.training.batch_share import WHOLE, Share
from mobilenas_tf.training.config import DistributionConfig
from mobilenas_tf.training.repetition import keep_order

# Of the cluster's jobs, in the order in which TensorFlow counts their tasks.
_JOBS = ("chief", "worker")


def make_strategy(
    config: DistributionConfig, *, deterministic: bool = False
) -> tf.distribute.Strategy | None:
    """Returns what trains as configured, None for this process on its own.

    Several workers must do so before TensorFlow has computed anything, and wait here
    for each other.

    Args:
        config: What to train on.
        deterministic: Whether operators will run in order (see `repetition`).

    Raises:
        ValueError: If there are not two devices, or TF_CONFIG describes no cluster, or
            operators are to run in order on several devices of one process.
    """
    if config.distribute == "none":
        return None
    is_mirrored = config.distribute == "mirrored"
    if deterministic and (
        is_mirrored or len(tf.config.list_physical_devices("GPU")) > 1
    ):
        raise ValueError(
            "deterministic must not be set for several devices of one process: they "
            "wait for each other in the midst of a step, and operators in order would "
            f"wait for ever. Received: distribute={config.distribute}"
        )
    if config.distribute == "multi_worker":
        _check_cluster(os.environ.get("TF_CONFIG", ""))
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    else:
        devices = [
            device.name
            for device in tf.config.list_logical_devices("GPU")
            or tf.config.list_logical_devices("CPU")
        ]
        if len(devices) < 2:
            raise ValueError(
                "distribute must be none on a machine of one device. Received: "
                f"distribute=mirrored with {', '.join(devices)}"
            )
        strategy = tf.distribute.MirroredStrategy(devices)
    # A step has the search's warm-up as a branch, in which replicas cannot hand over to
    # a common thread (merge_call). TensorFlow has no public switch for doing without,
    # which it does by itself under XLA; it sets this one in its own tests.
    strategy.extended._use_merge_call = lambda: False
    return strategy


def _check_cluster(text: str) -> None:
    """Raises a ValueError unless TF_CONFIG describes a cluster and a place in it."""
    expected = (
        "TF_CONFIG must be JSON such as "
        '{"cluster": {"worker": ["host0:12345", "host1:12345"]}, '
        '"task": {"type": "worker", "index": 0}} for distribute=multi_worker. Received:'
    )
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        is_known = set(cluster) <= set(_JOBS) and task["type"] in cluster
        are_lists = all(isinstance(hosts, list) for hosts in cluster.values())
        is_there = 0 <= task["index"] < len(cluster[task["type"]])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{expected} {text!r}") from error
    if not (is_known and are_lists and is_there):
        raise ValueError(f"{expected} {text!r}")


@contextlib.contextmanager
def replicated(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Makes all variables of a `with` block copies on every replica.

    A copy is changed by its own replica alone. Keras would have some of them summed or
    taken from the first replica at every reading or writing, which costs a message each
    and makes all workers take part in writing a checkpoint.
    """

    def make_variable(next_creator: Callable[..., Any], **options: Any) -> Any:
        options |= {
            "aggregation": tf.VariableAggregation.NONE,
            "synchronization": tf.VariableSynchronization.AUTO,
        }
        return next_creator(**options)

    with strategy.scope(), tf.variable_creator_scope(make_variable):
        yield


def worker_share() -> Share:
    """Returns which share of every batch this process reads."""
    resolver = tf.distribute.get_strategy().cluster_resolver
    if resolver is None:
        return WHOLE
    cluster = resolver.cluster_spec().as_dict()
    counts = [len(cluster.get(job, ())) for job in _JOBS]
    first = 0 if resolver.task_type == _JOBS[0] else counts[0]
    return Share(first + resolver.task_id, sum(counts))


def check_batch_size(batch_size: int) -> None:
    """Raises a ValueError unless all replicas can have as many images of a batch."""
    if batch_size % num_replicas():
        raise ValueError(
            f"batch_size must be a multiple of {num_replicas()}, the replicas that "
            f"share a batch. Received: batch_size={batch_size}"
        )


def replica_share(batch: Any) -> Any:
    """Returns the part of its worker's batch that a replica trains on.

    Args:
        batch: A structure of tensors whose first axis, static, is the batch's.
    """
    count = num_replicas() // worker_share().count
    context = tf.distribute.get_replica_context()
    if count == 1 or context is None:
        return batch
    replica = tf.get_static_value(context.replica_id_in_sync_group)
    share = Share(int(replica) % count, count)
    return tf.nest.map_structure(share.of, batch)


def apply_gradients(
    optimizer: keras.optimizers.Optimizer,
    gradients: Sequence[tf.Tensor],
    variables: Sequence[keras.Variable],
) -> None:
    """Takes an optimizer's step along the mean of all replicas' gradients."""
    replicas = num_replicas()
    if replicas > 1:
        if optimizer.global_clipnorm:
            # Keras clips first and sums then, which is not what a whole batch's step is
            # cut to.
            gradients, _ = tf.clip_by_global_norm(
                replica_mean(gradients), optimizer.global_clipnorm
            )
        # Keras' optimizers sum over the replicas.
        gradients = [gradient / replicas for gradient in gradients]
    optimizer.apply(gradients, variables)


def compiled_step(trainer: Any) -> Callable[[Any], Mapping[str, tf.Tensor]]:
    """Returns a trainer's compiled step, on all replicas of the strategy in force.

    It takes the worker's share of a batch; the figures that it returns are those of the
    whole batch. It raises a ConnectionError if another worker is gone.
    """
    if not tf.distribute.has_strategy():
        return tf.function(trainer.train_step)
    strategy = tf.distribute.get_strategy()
    order_here = keep_order()

    def replica_step(batch: Any) -> dict[str, tf.Tensor]:
        order_here()  # a replica is traced by a thread of its own
        return trainer.train_step(batch)

    @tf.function
    def step(batch: Any) -> dict[str, tf.Tensor]:
        figures = strategy.run(replica_step, args=(batch,))
        return {
            name: strategy.experimental_local_results(value)[0]
            for name, value in figures.items()
        }

    def step_together(batch: Any) -> dict[str, tf.Tensor]:
        try:
            return step(batch)
        except tf.errors.UnavailableError as error:
            raise ConnectionError(
                "All workers must train to the end; start all of them again, and they "
                f"go on behind the last checkpoint. Received: {error.message}"
            ) from error

    return step_together


def average_statistics(network: keras.Model) -> None:
    """Gives every replica the mean of all replicas' moving statistics.

    For batch norms that keep to their replica's part of the batch. As a moving average
    is linear, once before its use is as good as after every step.
    """
    variables = [
        variable
        for variable in network.non_trainable_variables
        if keras.backend.is_float_dtype(variable.dtype)
    ]
    if num_replicas() == 1 or not variables:
        return

    def average() -> None:
        means = replica_mean([tf.convert_to_tensor(each) for each in variables])
        for variable, mean in zip(variables, means, strict=True):
            variable.assign(mean)

    strategy = tf.distribute.get_strategy()
    tf.function(lambda: strategy.run(average))()


def agreed(values: Sequence[float]) -> Sequence[float]:
    """Returns the means of what all workers have found, the same numbers on each.

    For decisions by what each has computed for itself: two kinds of devices may differ
    in the last bits.
    """
    if num_replicas() == 1:
        return values
    strategy = tf.distribute.get_strategy()
    found = tf.constant(values, tf.float64)
    means = tf.function(lambda: strategy.run(replica_mean, args=(found,)))()
    return list(strategy.experimental_local_results(means)[0].numpy())


def worker_folder(path: Path, settings: str) -> Path:
    """Returns where a worker writes: the first in the run folder, others in a copy.

    So every worker finds the checkpoints and records of an earlier start, and one alone
    adds to them. A copy is in a folder of its own, which the caller has to remove.

    Args:
        path: The run folder, in a file system that all workers share.
        settings: What must be the same for all workers, such as their flags.

    Raises:
        ValueError: If workers see another folder or have other settings.
    """
    worker = worker_share()
    if worker.count == 1:
        return path
    files = sorted(
        (str(file.relative_to(path)), file.stat().st_size)
        for file in path.rglob("*")
        if file.is_file()
    )
    if not _is_same_everywhere(f"{settings} {files}"):
        raise ValueError(
            "workdir must be a folder that all workers share, and all other flags must "
            f"be the same for all of them. Received: workdir={path}, which differs"
        )
    if worker.index:
        own = Path(tempfile.mkdtemp(prefix=f"worker{worker.index}-")) / path.name
        if path.exists():
            shutil.copytree(path, own)
        path = own
    _is_same_everywhere("all have copied")
    return path


def _is_same_everywhere(text: str) -> bool:
    """Returns whether all workers have the same text; waits for them."""
    strategy = tf.distribute.get_strategy()

    @tf.function
    def gather(digest: tf.Tensor) -> tf.Tensor:
        return strategy.gather(strategy.run(tf.identity, args=(digest,)), axis=0)

    digest = tf.constant([zlib.crc32(text.encode())], tf.int64)
    return len(set(gather(digest).numpy().tolist())) == 1
