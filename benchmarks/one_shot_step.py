"""Steps and scores of a one-shot supernet against networks alone.

A training step of the supernet with one plan, on the widest, the narrowest and sampled
networks of `one_shot_32`, against training steps of the sampled networks alone; and how
many networks it scores in a second, batch norms recalibrated, against building each as
a Keras model, recalibrating and evaluating it.

Run: python -m benchmarks.one_shot_step
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from absl import flags

from benchmarks import evidence, interleaved_steps
from benchmarks.interleaved_steps import Side, Sides
from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.one_shot_space import OneShotGenotype
from mobilenas_tf.one_shot_spaces import named_one_shot_space
from mobilenas_tf.reporting.terminal import format_table

_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images in a step.", 1)
_NETWORKS = flags.DEFINE_integer("networks", 4, "Sampled networks, taken in turns.", 1)
_FRESH = flags.DEFINE_integer("fresh", 3, "Networks scored as Keras models.", 1)
_SEED = flags.DEFINE_integer("seed", 0, "Of the networks and the order.")

NUM_CLASSES = 10
CALIBRATION, SCORED = 256, 1024  # images
WIDEST, NARROWEST = "supernet, widest", "supernet, narrowest"
SAMPLED, ALONE = "supernet, sampled", "sampled networks alone"
MAX_NARROW, MAX_SAMPLED, MIN_SCORES = 0.5, 1.3, 5.0


def main(sides: Sides) -> None:
    """Times all sides and prints the table and one JSON object."""
    timings = interleaved_steps.time_sides(sides, seed=_SEED.value)
    rows = timings.rows(SAMPLED, batch_size=_BATCH_SIZE.value)
    print(format_table(list(rows[0]), rows))
    seconds = timings.median_seconds
    scores = _scores_per_second()
    evidence.finish(
        figures={
            "rows": rows,
            "seconds_per_step": timings.seconds,
            "scored_per_second": scores,
        },
        settings={
            "batch_size": _BATCH_SIZE.value,
            "macs": [network_cost(_space().resolve(g)).macs for g in _sampled()],
            **interleaved_steps.settings(),
        },
        targets=[
            evidence.target(
                "step of the narrowest / of the widest network",
                seconds[NARROWEST] / seconds[WIDEST],
                MAX_NARROW,
                at_most=True,
            ),
            evidence.target(
                "step of sampled networks in the supernet / alone",
                seconds[SAMPLED] / seconds[ALONE],
                MAX_SAMPLED,
                at_most=True,
                baseline=seconds[WIDEST] / seconds[ALONE],
            ),
            evidence.target(
                "networks scored in a second / by fresh Keras models",
                scores["supernet"] / scores["fresh models"],
                MIN_SCORES,
                at_most=False,
            ),
        ],
    )


def _sides() -> Sides:
    return {
        SAMPLED: Side(lambda: _supernet_step(_sampled())),
        WIDEST: Side(lambda: _supernet_step([_space().widest()])),
        NARROWEST: Side(lambda: _supernet_step([_space().narrowest()])),
        ALONE: Side(_alone_step),
    }


def _space() -> Any:
    return named_one_shot_space("one_shot_32", num_classes=NUM_CLASSES)


def _sampled() -> list[OneShotGenotype]:
    rng = np.random.default_rng(_SEED.value)
    return [_space().sample(rng) for _ in range(_NETWORKS.value)]


def _images(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(_SEED.value)
    side = _space().image_size_px
    images = rng.uniform(-1, 1, (count, side, side, 3)).astype(np.float32)
    return images, rng.integers(NUM_CLASSES, size=count)


def _batch() -> tuple[Any, Any, Any]:
    import tensorflow as tf

    images, labels = _images(_BATCH_SIZE.value)
    targets = tf.one_hot(labels, NUM_CLASSES)
    return tf.constant(images), targets, tf.ones(len(labels))


def _supernet_step(genotypes: Sequence[OneShotGenotype]) -> Callable[[], float]:
    """Returns a step on one network after the other, each alone in its step."""
    import keras
    import tensorflow as tf

    from mobilenas_tf.models.one_shot_supernet import OneShotSupernet
    from mobilenas_tf.training.classification import classification_objective
    from mobilenas_tf.training.one_shot_trainer import OneShotTrainer

    supernet = OneShotSupernet(_space())
    trainer = OneShotTrainer(
        supernet, classification_objective(), has_distillation=False
    )
    trainer.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    step, batch = tf.function(trainer.train_step), _batch()
    plans = [tf.constant(supernet.plan_of(g)[None]) for g in genotypes]
    turns = itertools.cycle(plans)
    return lambda: float(step((batch, next(turns)))["loss"])


def _alone_step() -> Callable[[], float]:
    import keras
    import tensorflow as tf

    from mobilenas_tf.models.compact import build_network
    from mobilenas_tf.training.classification import classification_objective
    from mobilenas_tf.training.trainer import NetworkTrainer

    batch, steps = _batch(), []
    for genotype in _sampled():
        network = build_network(_space().resolve(genotype))
        trainer = NetworkTrainer(network, classification_objective())
        trainer.compile(keras.optimizers.SGD(0.1, momentum=0.9))
        steps.append(tf.function(trainer.train_step))
        steps[-1](batch)
    turns = itertools.cycle(steps)
    return lambda: float(next(turns)(batch)["loss"])


def _scores_per_second() -> dict[str, float]:
    """Returns how many networks each way scores in a second, traces not counted."""
    import keras

    from mobilenas_tf.models.compact import build_network
    from mobilenas_tf.models.one_shot_supernet import OneShotSupernet
    from mobilenas_tf.training.one_shot_scoring import in_threads, network_outputs

    supernet = OneShotSupernet(_space())
    images, labels = _images(CALIBRATION + SCORED)
    outputs = network_outputs(
        supernet, images[:CALIBRATION], images[CALIBRATION:], chunk=1024
    )
    rng = np.random.default_rng(_SEED.value)
    genotypes = [_space().sample(rng) for _ in range(8 * _FRESH.value)]
    outputs(genotypes[0])  # traces
    started = time.perf_counter()
    list(in_threads(outputs, genotypes))
    ours = len(genotypes) / (time.perf_counter() - started)

    started = time.perf_counter()
    for genotype in genotypes[: _FRESH.value]:
        model = build_network(_space().resolve(genotype), batch_norm_momentum=0.0)
        model.compile(
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            jit_compile=False,
        )
        model(images[:CALIBRATION], training=True)  # sets the statistics
        model.evaluate(images[CALIBRATION:], labels[CALIBRATION:], 256, verbose=0)
    fresh = _FRESH.value / (time.perf_counter() - started)
    return {"supernet": ours, "fresh models": fresh}


if __name__ == "__main__":
    interleaved_steps.run(main, _sides)
