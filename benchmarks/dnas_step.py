"""A step of DNAS' supernet with one path against the networks of these paths alone.

Both sides take training steps on the same sampled networks of `fbnet_32`: once as paths
of a supernet, whose other paths do not run, once each as a network of its own. Beside
them, for the whole picture: a full search step (weights, then choices by comparing
paths), and one of the mixture, in which all candidates run.

Run: python -m benchmarks.dnas_step
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from absl import flags

from benchmarks import evidence, interleaved_steps
from benchmarks.interleaved_steps import Side, Sides
from mobilenas_tf.block_spaces import named_block_space
from mobilenas_tf.costs.block_costs import block_costs
from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.search.config import DnasConfig

_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images for the weights.", 1)
_CHOICE_BATCH = flags.DEFINE_integer("choice_batch", 16, "Images for the choices.", 1)
_NETWORKS = flags.DEFINE_integer("networks", 4, "Sampled networks, taken in turns.", 1)
_SEED = flags.DEFINE_integer("seed", 0, "Of the networks and the order.")

NUM_CLASSES = 10
SUPERNET, ALONE, SEARCH, MIXTURE = "supernet", "alone", "search step", "mixture"
MAX_RATIO, MAX_TRACES = 1.5, 3
TRACED_STEPS = 12


def main(sides: Sides) -> None:
    """Times all sides and prints the table and one JSON object."""
    timings = interleaved_steps.time_sides(sides, seed=_SEED.value)
    rows = timings.rows(SUPERNET, batch_size=_BATCH_SIZE.value)
    print(format_table(list(rows[0]), rows))
    seconds = timings.median_seconds
    evidence.finish(
        figures={
            "rows": rows,
            "seconds_per_step": timings.seconds,
            "total_cpu_seconds": timings.total_cpu_seconds,
        },
        settings={
            "batch_size": _BATCH_SIZE.value,
            "choice_batch": _CHOICE_BATCH.value,
            "networks": [network_cost(n).macs for n in map(_space().resolve, _paths())],
            **interleaved_steps.settings(),
        },
        targets=[
            evidence.target(
                "step of the supernet / of its sampled networks alone",
                seconds[SUPERNET] / seconds[ALONE],
                MAX_RATIO,
                at_most=True,
                baseline=seconds[MIXTURE] / seconds[ALONE],
            ),
            evidence.target(
                f"traces of a search step in {TRACED_STEPS} steps",
                _count_traces(),
                MAX_TRACES,
                at_most=True,
            ),
        ],
    )


def _sides() -> Sides:
    return {
        SUPERNET: Side(_supernet_step),
        ALONE: Side(_alone_step),
        SEARCH: Side(lambda: _search_step()[0]),
        MIXTURE: Side(_mixture_step, max_steps=2),
    }


def _space() -> Any:
    return named_block_space("fbnet_32", num_classes=NUM_CLASSES)


def _paths() -> list[dict[str, int]]:
    rng = np.random.default_rng(_SEED.value)
    return [_space().sample(rng) for _ in range(_NETWORKS.value)]


def _batch(size: int) -> tuple[Any, Any, Any]:
    import tensorflow as tf

    rng = np.random.default_rng(_SEED.value)
    side = _space().image_size_px
    images = rng.uniform(-1, 1, (size, side, side, 3)).astype(np.float32)
    labels = np.eye(NUM_CLASSES, dtype=np.float32)[rng.integers(NUM_CLASSES, size=size)]
    return tf.constant(images), tf.constant(labels), tf.ones(size)


def _search_trainer(config: DnasConfig) -> Any:
    """Returns the trainer of a search, as `search_dnas` makes it."""
    import keras

    from mobilenas_tf.search.dnas import OperatorBudget, search_trainer
    from mobilenas_tf.training.classification import classification_objective

    space = _space()
    costs = block_costs(space, lambda network: float(network_cost(network).macs))
    budget = OperatorBudget("macs", sum(costs.range) / 2, costs)
    trainer = search_trainer(
        space,
        classification_objective(),
        config,
        budget,
        total_steps=1000,
        dropout_rate=0.0,
    )
    trainer.compile(keras.optimizers.SGD(0.1, momentum=0.9), keras.optimizers.Adam())
    trainer.optimizer.iterations.assign(500)  # past the warm-up
    return trainer


def _weight_step(config: DnasConfig, weights: Any) -> Callable[[], float]:
    """Returns a step of a supernet's weights, with given paths or its own samples."""
    import tensorflow as tf

    trainer = _search_trainer(config)
    images, *targets = _batch(_BATCH_SIZE.value)
    variables = trainer.supernet.weight_variables

    @tf.function
    def step(path: Mapping[str, Any] | None) -> Any:
        with tf.GradientTape() as tape:
            outputs = trainer.supernet(images, weights=path, training=True)
            loss, _ = trainer.objective.loss(outputs, *targets)
        trainer.optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    turns = itertools.cycle(weights)
    return lambda: float(step(next(turns)))


def _supernet_step() -> Callable[[], float]:
    import tensorflow as tf

    from mobilenas_tf.models.block_supernet import hard_weights

    paths = [
        {place: tf.constant(each) for place, each in hard_weights(_space(), g).items()}
        for g in _paths()
    ]
    return _weight_step(DnasConfig(), paths)


def _mixture_step() -> Callable[[], float]:
    return _weight_step(
        DnasConfig(sampling="mixture", has_shared_kernels=False), [None]
    )


def _search_step() -> tuple[Callable[[], float], Any]:
    """Returns a whole search step, and its traced function."""
    import tensorflow as tf

    trainer = _search_trainer(DnasConfig())
    pair = _batch(_BATCH_SIZE.value), _batch(_CHOICE_BATCH.value)
    step = tf.function(trainer.train_step)
    return lambda: float(step(pair)["loss"]), step


def _count_traces() -> int:
    take, step = _search_step()
    for _ in range(TRACED_STEPS):
        take()
    return step.experimental_get_tracing_count()


def _alone_step() -> Callable[[], float]:
    import keras
    import tensorflow as tf

    from mobilenas_tf.models.compact import build_network
    from mobilenas_tf.training.classification import classification_objective
    from mobilenas_tf.training.trainer import NetworkTrainer

    batch = _batch(_BATCH_SIZE.value)
    steps = []
    for genotype in _paths():
        network = build_network(_space().resolve(genotype))
        trainer = NetworkTrainer(network, classification_objective())
        trainer.compile(keras.optimizers.SGD(0.1, momentum=0.9))
        steps.append(tf.function(trainer.train_step))
        steps[-1](batch)
    turns = itertools.cycle(steps)
    return lambda: float(next(turns)(batch)["loss"])


if __name__ == "__main__":
    interleaved_steps.run(main, _sides)
