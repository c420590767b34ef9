"""Scores of networks in a one-shot supernet, batch norms recalibrated for each."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypeVar

import numpy as np
import tensorflow as tf

from mobilenas_tf.models.one_shot_supernet import OneShotSupernet, statistics_of_first
from mobilenas_tf.one_shot_space import Value
from mobilenas_tf.training.data import ClassificationData

# Images of 32 px that are run at once, of larger ones fewer. Calibration images run
# along, so that they cost their time with every chunk.
_CHUNK, _LEAST_CHUNK = 1024, 256

# Networks that are scored at the same time, at most: TensorFlow alone does not keep the
# cores of a processor busy with one.
_MOST_AT_ONCE = 4

_Result = TypeVar("_Result")
ScoreBy = Literal["likelihood", "accuracy"]


class NetworkScorer:
    """Scores any network of a supernet on validation images, in [0, 1].

    By likelihood a score is the geometric mean of the probabilities that a network
    gives the right classes, `exp(-cross entropy)`: it ranks better than accuracy, for
    every image tells how sure a network is, not only whether it is right.

    Calibration images run along with every chunk, and all batch norms take their
    statistics: those of a network that was calibrated on them, without a second pass
    and without state.

    Attributes:
        calibration: `[C, S, S, 3]`, the same for all networks.
        measure: What a score is, in words: scores are comparable if these are equal.
    """

    def __init__(
        self,
        supernet: OneShotSupernet,
        data: ClassificationData,
        *,
        calibration_images: int,
        score_images: int,
        score_by: ScoreBy = "likelihood",
    ):
        """Takes the images.

        Args:
            supernet: Whose networks are scored, with its weights of that time.
            data: Calibration images come from its training split, not augmented, those
                that score from its validation split, drawn at random.
            calibration_images: How many set the statistics.
            score_images: How many score, at most those there are.
            score_by: See above.

        Raises:
            ValueError: If there are no validation images.
        """
        self.supernet = supernet
        self.calibration = data.calibration_images(calibration_images)
        if not data.num_validation:
            raise ValueError(
                "validation_fraction must leave images that score. Received: none"
            )
        images, self._labels = data.scoring_images(score_images)
        share = (32 / images.shape[1]) ** 2
        chunk = min(max(int(_CHUNK * share), _LEAST_CHUNK), _CHUNK)
        self._outputs = network_outputs(supernet, self.calibration, images, chunk=chunk)
        self._score_by = score_by
        self.measure = (
            f"{score_by} on {len(images)} images drawn at random, "
            f"{len(self.calibration)} to calibrate"
        )

    def image_scores(self, genotype: Mapping[str, Value]) -> np.ndarray:
        """Returns what each image says for a network, `[N]`: the larger the better.

        Logarithms of probabilities, or whether the network is right.
        """
        return self._image_scores(self._outputs(genotype))

    def _image_scores(self, outputs: np.ndarray) -> np.ndarray:
        if self._score_by == "likelihood":
            return outputs[np.arange(len(outputs)), self._labels]
        return (outputs.argmax(axis=-1) == self._labels).astype(np.float32)

    def evaluate(self, genotype: Mapping[str, Value]) -> tuple[float, float]:
        """Returns a network's score and its accuracy, each in [0, 1].

        A network whose outputs are no longer finite has a score of 0.
        """
        outputs = self._outputs(genotype)
        mean = float(np.mean(self._image_scores(outputs), dtype=np.float64))
        score = math.exp(mean) if self._score_by == "likelihood" else mean
        score = score if math.isfinite(score) else 0.0
        return score, float(np.mean(outputs.argmax(axis=-1) == self._labels))

    def accuracy(self, genotype: Mapping[str, Value]) -> float:
        """Returns a network's accuracy on the images that score, in [0, 1]."""
        return self.evaluate(genotype)[1]

    def __call__(self, genotype: Mapping[str, Value]) -> float:
        """Returns a network's score."""
        return self.evaluate(genotype)[0]

    def scores(self, genotypes: Sequence[Mapping[str, Value]]) -> Iterator[float]:
        """Gives the scores of networks in their order, several measured at once."""
        return in_threads(self, genotypes)


def in_threads(
    function: Callable[[Mapping[str, Value]], _Result],
    genotypes: Sequence[Mapping[str, Value]],
) -> Iterator[_Result]:
    """Gives a function's results in the order of the genotypes, computed by threads.

    What has not begun is left undone if the caller stops early.
    """
    pool = ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_AT_ONCE))
    try:
        yield from pool.map(function, genotypes)
    finally:
        pool.shutdown(cancel_futures=True)


def network_outputs(
    supernet: OneShotSupernet,
    calibration: np.ndarray,
    images: np.ndarray,
    *,
    chunk: int,
) -> Callable[[Mapping[str, Value]], np.ndarray]:
    """Returns a function of a genotype to its network's log-probabilities, `[N, K]`.

    Args:
        supernet: Whose networks they are.
        calibration: `[C, S, S, 3]`; they run along with every chunk.
        images: `[N, S, S, 3]`.
        chunk: Images that are run at once, calibration images besides.
    """
    together = [
        tf.constant(np.concatenate([calibration, images[start : start + chunk]]))
        for start in range(0, len(images), chunk)
    ]
    count = len(calibration)

    def log_probabilities(batch: tf.Tensor, plan: tf.Tensor) -> tf.Tensor:
        logits = supernet(batch, plan, normalize=statistics_of_first(count))
        return tf.nn.log_softmax(logits[count:])

    run = tf.function(
        log_probabilities,
        input_signature=[
            tf.TensorSpec([None, *images.shape[1:]], tf.float32),
            tf.TensorSpec([None], tf.int32),
        ],
        autograph=False,
    ).get_concrete_function()  # here: threads know nothing of operators in order

    def outputs(genotype: Mapping[str, Value]) -> np.ndarray:
        plan = tf.constant(supernet.plan_of(genotype))
        return np.concatenate([np.asarray(run(x, plan)) for x in together])

    return outputs
