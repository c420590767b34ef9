"""One training step of a network: ours, Keras 3, Keras 2 and PyTorch.

All take the same task: network, batch of noise, loss and optimizer; forward, backward,
update, loss and accuracy. How they are timed is left to `interleaved_steps`.

PyTorch is optional: pip install torch==2.13.0
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import flags

from benchmarks.interleaved_steps import Side
from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.spec import Architecture
from mobilenas_tf.training.config import OptimizerConfig

_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Images in a step.", 1)
_THREADS = flags.DEFINE_integer("threads", 2, "Threads of each side.", 1)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the data and of the order.")

KERAS, KERAS_XLA, KERAS_2 = "stock Keras 3", "stock Keras 3, XLA", "Keras 2"
TORCH, TORCH_COMPILED = "PyTorch", "PyTorch, compiled"
TORCH_MEMORY_KEPT = "PyTorch, memory kept"
NUM_CLASSES = 10
LABEL_SMOOTHING = 0.1
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.05, 0.9, 4e-4
OPTIMIZER = OptimizerConfig(
    learning_rate=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
)
STEPS_PER_EPOCH, EPOCHS = 100, 10  # of the run that the learning rate is made for
KEEP_MEMORY = {
    name: str(2**30) for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
}

Step = Callable[[], float]


@dataclasses.dataclass(frozen=True)
class Task:
    """What every side is given."""

    architecture: Architecture
    batch_size: int
    threads: int
    seed: int

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns images `[B, H, W, 3]` in [-1, 1] and labels `[B, K]`, one-hot."""
        rng = np.random.default_rng(self.seed)
        size_px = self.architecture.image_size_px
        num_classes = self.architecture.head.num_classes
        images = rng.uniform(-1, 1, (self.batch_size, size_px, size_px, 3))
        labels = np.eye(num_classes)[rng.integers(0, num_classes, self.batch_size)]
        return images.astype(np.float32), labels.astype(np.float32)

    def settings(self) -> dict[str, Any]:
        """Returns what the result should say about the task."""
        cost = network_cost(self.architecture)
        return {
            "batch_size": self.batch_size,
            "threads": self.threads,
            "seed": self.seed,
            "macs": cost.macs,
            "params": cost.params,
        }


def task_from_flags(architecture: Architecture) -> Task:
    """Returns the task of the command line for a network."""
    return Task(architecture, _BATCH_SIZE.value, _THREADS.value, _SEED.value)


def other_sides(task: Task) -> dict[str, Side]:
    """Returns all that ours is compared with, by name."""
    return {
        KERAS: Side(lambda: stock_keras_step(task, jit_compile=False)),
        KERAS_XLA: Side(lambda: stock_keras_step(task, jit_compile=True), max_steps=1),
        KERAS_2: Side(lambda: keras_2_step(task)),
        TORCH: Side(lambda: torch_step(task)),
        TORCH_MEMORY_KEPT: Side(lambda: torch_step(task), environment=KEEP_MEMORY),
        TORCH_COMPILED: Side(lambda: torch_step(task, is_compiled=True)),
    }


def require_torch() -> str:
    """Returns PyTorch's version; ends the process if it is not installed."""
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        message = "error: PyTorch is needed; pip install torch==2.13.0"
        raise SystemExit(message) from None


def import_tensorflow(threads: int) -> Any:
    """Returns TensorFlow, set to so many threads; to be called before it is used."""
    import tensorflow as tf

    threading = tf.config.threading
    if threads != threading.get_intra_op_parallelism_threads():
        threading.set_intra_op_parallelism_threads(threads)
        threading.set_inter_op_parallelism_threads(threads)
    return tf


def our_step(task: Task) -> Step:
    """Returns the step in which we train a classifier."""
    import_tensorflow(task.threads)
    from mobilenas_tf.models.compact import build_network
    from mobilenas_tf.training.classification import classification_objective
    from mobilenas_tf.training.optimizers import build_optimizer
    from mobilenas_tf.training.trainer import NetworkTrainer

    network = build_network(task.architecture)
    objective = classification_objective(label_smoothing=LABEL_SMOOTHING)
    trainer = NetworkTrainer(network, objective)
    trainer.compile(
        optimizer=build_optimizer(
            OPTIMIZER,
            network.trainable_variables,
            steps_per_epoch=STEPS_PER_EPOCH,
            epochs=EPOCHS,
            batch_size=task.batch_size,
        )
    )
    return drive(trainer, task)


def drive(trainer: Any, task: Task) -> Step:
    """Returns the step of one of our trainers, as training/loop.py drives it."""
    import tensorflow as tf

    images, labels = map(tf.constant, task.data())
    batch = images, labels, tf.ones([task.batch_size])
    step = tf.function(trainer.train_step)
    return lambda: float(step(batch)["loss"])


def stock_keras_step(task: Task, *, jit_compile: bool) -> Step:
    """Returns the step of the network in Keras 3's own layers."""
    import_tensorflow(task.threads)
    import keras

    from mobilenas_tf.models.layer_set import STOCK

    return _compile_and_fit(task, keras, STOCK, jit_compile)


def keras_2_step(task: Task) -> Step:
    """Returns the step of the network in Keras 2, whose own batch norm is fused."""
    import_tensorflow(task.threads)
    import tf_keras

    from mobilenas_tf.models.layer_set import STOCK

    layers = tf_keras.layers
    layer_set = dataclasses.replace(
        STOCK,
        keras=tf_keras,
        batch_normalization=layers.BatchNormalization,
        pointwise_convolution=layers.Conv2D,
        depthwise_convolution=layers.DepthwiseConv2D,
        activations={"relu": layers.ReLU},
    )
    return _compile_and_fit(task, tf_keras, layer_set, jit_compile=False)


def _compile_and_fit(task: Task, keras: Any, layer_set: Any, jit_compile: bool) -> Step:
    """Returns the step that `compile` and `fit` of a user would take."""
    import tensorflow as tf

    from mobilenas_tf.models.compact import build_network
    from mobilenas_tf.training.optimizers import is_exempt_from_weight_decay

    network = build_network(task.architecture, layer_set=layer_set)
    optimizer = keras.optimizers.SGD(
        LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
    )
    variables = network.trainable_variables
    optimizer.exclude_from_weight_decay(
        var_list=[v for v in variables if is_exempt_from_weight_decay(v)]
    )
    network.compile(
        optimizer=optimizer,
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=LABEL_SMOOTHING
        ),
        metrics=["accuracy"],
        jit_compile=jit_compile,
    )
    batches = iter(tf.data.Dataset.from_tensors(task.data()).repeat())
    network.make_train_function()

    def step() -> float:
        logs = network.train_function(batches)
        if isinstance(logs, tf.experimental.Optional):  # Keras 3
            logs = logs.get_value()
        return float(logs["loss"])

    return step


def torch_step(task: Task, *, is_compiled: bool = False) -> Step:
    """Returns the step of the network in PyTorch, channels-last."""
    import torch  # pyright: ignore[reportMissingImports]  # optional

    from benchmarks.torch_twin import build_torch_network

    torch.set_num_threads(task.threads)
    torch.manual_seed(task.seed)
    network = build_torch_network(task.architecture)
    network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # an overload that its stubs lack
    params = sum(parameter.numel() for parameter in network.parameters())
    if params != network_cost(task.architecture).params:
        raise ValueError(f"the twin must be as large as ours. Received: {params}")
    network.train()
    # Not for scales, offsets, biases and depthwise kernels, as on the other sides.
    decayed, exempt = [], []
    for parameter in network.parameters():
        is_decayed = parameter.ndim > 1 and parameter.shape[1] > 1
        (decayed if is_decayed else exempt).append(parameter)
    optimizer = torch.optim.SGD(
        [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": exempt}],
        LEARNING_RATE,
        MOMENTUM,
    )
    loss_function = torch.nn.CrossEntropyLoss(label_smoothing=LABEL_SMOOTHING)
    forward = torch.compile(network) if is_compiled else network
    images, labels = map(torch.tensor, task.data())
    images = images.permute(0, 3, 1, 2)  # as channels-last lies in memory
    classes = labels.argmax(1)
    num_right = torch.zeros((), dtype=torch.int64)

    def step() -> float:
        optimizer.zero_grad()
        logits = forward(images)
        loss = loss_function(logits, labels)
        loss.backward()
        optimizer.step()
        num_right.add_((logits.argmax(1) == classes).sum())
        return float(loss.detach())

    return step
