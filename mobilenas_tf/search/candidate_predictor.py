"""What is predicted of a joint problem's candidates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mobilenas_tf.decisions import Choices
from mobilenas_tf.search.acquisition import Examples, NeuralAcquisition
from mobilenas_tf.search.joint_problem import JointProblem


class CandidatePredictor:
    """The neural acquisition function for the candidates of a problem."""

    def __init__(self, problem: JointProblem, pool: Sequence[Choices], *, seed: int):
        """Pre-trains the encoder.

        Args:
            problem: Whose candidates it judges.
            pool: Candidates whose costs teach the encoder; some thousands.
            seed: Of weights and batches.
        """
        self.problem = problem
        costs = self._log_costs(pool)
        self._mean = costs.mean(axis=0)
        self._spread = np.maximum(costs.std(axis=0), 1e-6)
        examples = self.examples(pool)
        self._acquisition = NeuralAcquisition(
            [part.shape[1] for part in examples.parts()], seed=seed
        )
        self._acquisition.pretrain(examples.architectures, examples.statistics)

    def examples(self, candidates: Sequence[Choices]) -> Examples:
        """Returns candidates as numbers."""
        facts = [self.problem.facts(each) for each in candidates]
        costs = self._log_costs(candidates)
        return Examples(
            np.stack([each.architecture for each in facts]),
            ((costs - self._mean) / self._spread).astype(np.float32),
            np.stack([each.recipe for each in facts]),
        )

    def fit(self, candidates: Sequence[Choices], accuracies: Sequence[float]) -> None:
        """Learns from all that was evaluated."""
        self._acquisition.fit(self.examples(candidates), accuracies)

    def predict(self, candidates: Sequence[Choices]) -> tuple[np.ndarray, np.ndarray]:
        """Returns mean and standard deviation of accuracies, each `[N]`."""
        return self._acquisition.predict(self.examples(candidates))

    def _log_costs(self, candidates: Sequence[Choices]) -> np.ndarray:
        costs = [self.problem.facts(each).costs for each in candidates]
        return np.log([[each[metric] for metric in sorted(each)] for each in costs])
