"""Scores of networks in a one-shot supernet, batch norms recalibrated for each."""

from __future__ import annotations

from collections.abc import Mapping

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
        calibration: `[C, S, S, 3]`, the same for all networks.
        images: `[N, S, S, 3]`, N a multiple of the chunk.
        labels: `[N]`.
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
        self.calibration = tf.constant(data.calibration_images(calibration_images))
        pairs = list(data.validation().unbatch().take(score_images))
        self.chunk = min(_CHUNK, len(pairs))
        count = len(pairs) // max(self.chunk, 1) * self.chunk
        if count == 0:
            raise ValueError(
                "validation_share must leave images that score. Received: none"
            )
        self.images = tf.stack([image for image, _ in pairs[:count]])
        self.labels = np.array([int(label) for _, label in pairs[:count]])
        self._logits = tf.function(self._score_chunk, autograph=False)

    def _score_chunk(self, images: tf.Tensor, plan: tf.Tensor) -> tf.Tensor:
        count = self.calibration.shape[0]
        together = tf.concat([self.calibration, images], axis=0)
        logits = self.supernet(together, plan, normalize=statistics_of_first(count))
        return logits[count:]

    def answers(self, genotype: Mapping[str, Value]) -> np.ndarray:
        """Returns which images a network tells right, boolean `[N]`."""
        plan = tf.constant(self.supernet.plan_of(genotype))
        logits = [
            np.asarray(self._logits(self.images[start : start + self.chunk], plan))
            for start in range(0, len(self.labels), self.chunk)
        ]
        return np.argmax(np.concatenate(logits), axis=-1) == self.labels

    def __call__(self, genotype: Mapping[str, Value]) -> float:
        """Returns a network's accuracy on the images that score, in [0, 1]."""
        return float(np.mean(self.answers(genotype)))
