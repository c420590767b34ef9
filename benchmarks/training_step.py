"""One training step: ours against stock Keras 3 and against PyTorch.

The same small MobileNet (32 px, batch 128), the same optimizer, loss and data on all
sides: forward, backward, update, loss and accuracy. Each side lives in a process of its
own, as in one process they would share threads and heap; only one works at a time, in
an order drawn anew for each repeat. Ratios are taken within a repeat; the table has
their median and its interval from order statistics.

Besides the two sides of the targets:

- stock Keras 3 with XLA, the switch that Keras offers for speed (the trivial baseline);
- Keras 2, whose own batch norm is fused;
- PyTorch when glibc keeps freed memory, which PyTorch by itself gives back to the
  system and takes again in every step;
- PyTorch compiled, with --torch_compile.

PyTorch is optional: pip install torch==2.13.0

Run: python -m benchmarks.training_step
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

import numpy as np
import scipy.stats
from absl import app, flags

from benchmarks import evidence
from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.costs.uniform import uniform_network
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.spaces import named_space
from mobilenas_tf.spec import Architecture

_NETWORK = flags.DEFINE_enum(
    "network",
    "uniform",
    ["uniform", "supernet"],
    "uniform: a MobileNetV2-like network of 6 M multiply-adds; supernet: the whole "
    "network of figs_mobilenet_v2_32 (3x3, 5x5 and 7x7 kernels), without gates.",
)
_REPEATS = flags.DEFINE_integer(
    "repeats", 10, "Interleaved repeats; 6 are the fewest with a 95 % interval.", 6
)
_STEPS = flags.DEFINE_integer("steps", 8, "Timed steps of each side in a repeat.", 1)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Images in a step.", 1)
_THREADS = flags.DEFINE_integer("threads", 2, "Threads of each side.", 1)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the data and of the order.")
_TORCH_COMPILE = flags.DEFINE_bool(
    "torch_compile", False, "Time torch.compile too; takes a C++ compiler and minutes."
)
_WORKER = flags.DEFINE_string("worker", None, "Used by the script itself.")

OURS, KERAS, TORCH = "ours", "stock Keras 3", "PyTorch"
KERAS_XLA, TORCH_COMPILED = "stock Keras 3, XLA", "PyTorch, compiled"
NUM_CLASSES = 10
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, LABEL_SMOOTHING = 0.05, 0.9, 4e-4, 0.1
KEEP_MEMORY = {
    name: str(2**30) for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
}


@dataclasses.dataclass(frozen=True)
class Side:
    """One implementation: `build` returns its step, a function to the loss.

    A side so slow that it would take up the time of all others has a `max_steps`.
    """

    build: Callable[[], Callable[[], float]]
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    max_steps: int | None = None


def main(_: list[str]) -> None:
    """Times all sides and prints the table and one JSON object."""
    if _WORKER.value:
        _work(SIDES[_WORKER.value])
        return
    if importlib.util.find_spec("torch") is None:
        raise SystemExit("error: PyTorch is needed; pip install torch==2.13.0")
    names = [name for name in SIDES if name != TORCH_COMPILED or _TORCH_COMPILE.value]
    workers = {name: _Worker(name) for name in names}
    seconds, cpu_seconds = ({name: [] for name in names} for _ in range(2))
    for repeat in range(_REPEATS.value):
        order = random.Random(_SEED.value + repeat).sample(names, len(names))
        for name in order:
            wall, cpu = workers[name].take_steps()
            seconds[name].append(wall)
            cpu_seconds[name].append(cpu)
    total_cpu_seconds = sum(worker.stop() for worker in workers.values())
    rows = [
        {
            "side": name,
            "images_per_second": _BATCH_SIZE.value / float(np.median(seconds[name])),
            "cpu_ms": 1e3 * float(np.median(cpu_seconds[name])),
            **compare(seconds[OURS], seconds[name]),
        }
        for name in names
    ]
    print(format_table(list(rows[0]), rows))
    cost = network_cost(_architecture())
    settings = ("network", "batch_size", "threads", "repeats", "steps", "seed")
    evidence.finish(
        figures={
            "rows": rows,
            "seconds_per_step": seconds,
            "total_cpu_seconds": total_cpu_seconds,
        },
        settings={name: flags.FLAGS[name].value for name in settings}
        | {"macs": cost.macs, "params": cost.params}
        | {"torch": importlib.metadata.version("torch")},
        targets=[
            _target(seconds, KERAS, 1.5, baseline=KERAS_XLA),
            _target(seconds, TORCH, 1.2, baseline=KERAS),
        ],
    )


def compare(ours: Sequence[float], others: Sequence[float]) -> dict[str, float]:
    """Returns how many times as quick ours is: median of the repeats' ratios.

    Args:
        ours: Seconds of a step by repeat, at least 6.
        others: Likewise, from the same repeats.
    """
    ratios = np.asarray(others) / np.asarray(ours)
    interval = scipy.stats.quantile_test(ratios).confidence_interval(0.95)
    return {
        "speedup_of_ours": float(np.median(ratios)),
        "low_95": float(interval.low),
        "high_95": float(interval.high),
    }


def _target(
    seconds: Mapping[str, Sequence[float]], other: str, bound: float, *, baseline: str
) -> dict[str, Any]:
    return evidence.target(
        f"times as quick as {other}, lower bound (95 %); baseline: {baseline}",
        compare(seconds[OURS], seconds[other])["low_95"],
        bound,
        at_most=False,
        baseline=compare(seconds[baseline], seconds[other])["low_95"],
    )


class _Worker:
    """The process of a side."""

    def __init__(self, name: str):
        self._name = name
        self._errors: IO[str] = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.training_step", *sys.argv[1:]]
            + [f"--worker={name}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, **SIDES[name].environment},
        )
        self.take_steps()  # builds, traces and warms up

    def take_steps(self) -> tuple[float, float]:
        """Returns the seconds of one step by the clock and of the processor."""
        line = self._communicate("go")
        wall, cpu = map(float, line.split())
        return wall, cpu

    def stop(self) -> float:
        """Ends the process; returns the processor's seconds that it took in all."""
        seconds = float(self._communicate("stop"))
        self._process.communicate()
        return seconds

    def _communicate(self, order: str) -> str:
        if self._process.stdin is None or self._process.stdout is None:
            raise ValueError("worker must have pipes. Received: none")
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise SystemExit(f"error: {self._name} failed: {self._errors.read()}")
        return line


def _work(side: Side) -> None:
    """Takes one untimed and some timed steps for each order, until told to stop."""
    step = side.build()
    num_steps = min(_STEPS.value, side.max_steps or _STEPS.value)
    for order in sys.stdin:
        if order.strip() == "stop":
            print(time.process_time(), flush=True)
            return
        step()
        started, cpu_started = time.perf_counter(), time.process_time()
        for _ in range(num_steps):
            step()
        elapsed = time.perf_counter() - started, time.process_time() - cpu_started
        print(*(seconds / num_steps for seconds in elapsed), flush=True)


def _architecture() -> Architecture:
    if _NETWORK.value == "supernet":
        space = named_space("figs_mobilenet_v2_32", num_classes=NUM_CLASSES)
        return space.supernet
    return uniform_network(
        "figs_mobilenet_v2_32", num_classes=NUM_CLASSES, metric="macs", budget=6e6
    )


def _data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(_SEED.value)
    size_px = _architecture().image_size_px
    images = rng.uniform(-1, 1, (_BATCH_SIZE.value, size_px, size_px, 3))
    labels = np.eye(NUM_CLASSES)[rng.integers(0, NUM_CLASSES, _BATCH_SIZE.value)]
    return images.astype(np.float32), labels.astype(np.float32)


def _tensorflow() -> Any:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(_THREADS.value)
    tf.config.threading.set_inter_op_parallelism_threads(_THREADS.value)
    return tf


def _ours() -> Callable[[], float]:
    tf = _tensorflow()
    from mobilenas_tf.models.compact import build_network
    from mobilenas_tf.training.config import OptimizerConfig
    from mobilenas_tf.training.optimizers import build_optimizer
    from mobilenas_tf.training.trainer import ClassifierTrainer

    network = build_network(_architecture())
    trainer = ClassifierTrainer(network, label_smoothing=LABEL_SMOOTHING)
    trainer.compile(
        optimizer=build_optimizer(
            OptimizerConfig(
                learning_rate=LEARNING_RATE,
                momentum=MOMENTUM,
                weight_decay=WEIGHT_DECAY,
            ),
            network.trainable_variables,
            steps_per_epoch=100,
            epochs=10,
            batch_size=_BATCH_SIZE.value,
        )
    )
    images, labels = map(tf.constant, _data())
    batch = images, labels, tf.ones([_BATCH_SIZE.value])
    step = tf.function(trainer.train_step)  # as training/loop.py drives it
    return lambda: float(step(batch)["loss"])


def _stock_keras(jit_compile: bool) -> Callable[[], float]:
    _tensorflow()
    import keras

    from mobilenas_tf.models.layer_set import STOCK

    return _compile_and_fit(keras, STOCK, jit_compile)


def _keras_2() -> Callable[[], float]:
    _tensorflow()
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
    return _compile_and_fit(tf_keras, layer_set, jit_compile=False)


def _compile_and_fit(
    keras: Any, layer_set: Any, jit_compile: bool
) -> Callable[[], float]:
    """Returns the step that `compile` and `fit` of a user would take."""
    import tensorflow as tf

    from mobilenas_tf.models.compact import build_network
    from mobilenas_tf.training.optimizers import is_exempt_from_weight_decay

    network = build_network(_architecture(), layer_set=layer_set)
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
    batches = iter(tf.data.Dataset.from_tensors(_data()).repeat())
    network.make_train_function()

    def step() -> float:
        logs = network.train_function(batches)
        if isinstance(logs, tf.experimental.Optional):  # Keras 3
            logs = logs.get_value()
        return float(logs["loss"])

    return step


def _torch(*, is_compiled: bool = False) -> Callable[[], float]:
    import torch  # pyright: ignore[reportMissingImports]  # optional

    from benchmarks.torch_twin import build_torch_network

    torch.set_num_threads(_THREADS.value)
    torch.manual_seed(_SEED.value)
    architecture = _architecture()
    network = build_torch_network(architecture)
    network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # an overload that its stubs lack
    params = sum(parameter.numel() for parameter in network.parameters())
    if params != network_cost(architecture).params:
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
    images, labels = map(torch.tensor, _data())
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


SIDES = {
    OURS: Side(_ours),
    KERAS: Side(lambda: _stock_keras(jit_compile=False)),
    KERAS_XLA: Side(lambda: _stock_keras(jit_compile=True), max_steps=1),
    "Keras 2": Side(_keras_2),
    TORCH: Side(_torch),
    "PyTorch, memory kept": Side(_torch, environment=KEEP_MEMORY),
    TORCH_COMPILED: Side(lambda: _torch(is_compiled=True)),
}

if __name__ == "__main__":
    app.run(main)
