"""Scores of networks in a one-shot supernet, batch norms recalibrated for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from mobilenas_tf.models.one_shot_supernet import OneShotSupernet, statistics_of_first
from mobilenas_tf.one_shot_space import Value
from mobilenas_tf.training.data import ClassificationData

# Images that are run at once, calibration images besides.
_CHUNK = 256


class NetworkScorer:
    """Tells the validation accuracy of any network of a supernet.

    Calibration images run along with every chunk, and all batch norms take their
    statistics: those of a network that was calibrated on them, without a second pass
    and without state.

    Attributes:
        supernet: Whose networks are scored.
        calibration: `[C, S, S, 3]`, the same for all networks.
        labels: `[N]`, of the images that score.
    """

    def __init__(
        self,
        supernet: OneShotSupernet,
        data: ClassificationData,
        *,
        calibration_images: int,
        score_images: int,
    ):
        """Takes the images.

        Args:
            supernet: Whose networks are scored, with its weights of that time.
            data: Calibration images come from its training split, not augmented, those
                that score from its validation split, the first ones.
            calibration_images: How many set the statistics.
            score_images: How many score, at most those there are, rounded down to
                whole chunks.

        Raises:
            ValueError: If there are fewer validation images than a chunk.
        """
        self.supernet = supernet
        self.calibration = data.calibration_images(calibration_images)
        pairs = list(data.validation().unbatch().take(score_images))
        chunk = min(_CHUNK, len(pairs))
        count = len(pairs) // max(chunk, 1) * chunk
        if count == 0:
            raise ValueError(
                "validation_share must leave images that score. Received: none"
            )
        images = np.stack([np.asarray(image) for image, _ in pairs[:count]])
        self.labels = np.array([int(label) for _, label in pairs[:count]])
        self._answers = network_answers(supernet, self.calibration, images, chunk=chunk)

    def answers(self, genotype: Mapping[str, Value]) -> np.ndarray:
        """Returns which images a network tells right, boolean `[N]`."""
        return self._answers(genotype) == self.labels

    def __call__(self, genotype: Mapping[str, Value]) -> float:
        """Returns a network's accuracy on the images that score, in [0, 1]."""
        return float(np.mean(self.answers(genotype)))


def network_answers(
    supernet: OneShotSupernet,
    calibration: np.ndarray,
    images: np.ndarray,
    *,
    chunk: int,
) -> Callable[[Mapping[str, Value]], np.ndarray]:
    """Returns a function of a genotype to its network's top-1 classes, `[N]`.

    Args:
        supernet: Whose networks they are.
        calibration: `[C, S, S, 3]`; they run along with every chunk.
        images: `[N, S, S, 3]`, N a multiple of the chunk.
        chunk: Images that are run at once, calibration images besides.
    """
    together = [
        tf.constant(np.concatenate([calibration, images[start : start + chunk]]))
        for start in range(0, len(images), chunk)
    ]
    count = len(calibration)

    @tf.function(autograph=False)
    def classes(batch: tf.Tensor, plan: tf.Tensor) -> tf.Tensor:
        logits = supernet(batch, plan, normalize=statistics_of_first(count))
        return tf.argmax(logits[count:], axis=-1)

    def answer(genotype: Mapping[str, Value]) -> np.ndarray:
        plan = tf.constant(supernet.plan_of(genotype))
        return np.concatenate([np.asarray(classes(x, plan)) for x in together])

    return answer
