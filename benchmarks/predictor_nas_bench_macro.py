"""How well the neural acquisition function ranks networks after few examples.

On NAS-Bench-Macro's 3,969 distinct networks: trained on n of them, judged by Kendall's
tau on all others, against the same networks without pre-training (with the statistics
among their inputs, and without), ridge regression on one-hot features, a Gaussian
process on these and the logarithm of multiply-adds (scikit-learn), and multiply-adds
alone. All of a split see the same examples.

Run: python -m benchmarks.predictor_nas_bench_macro --table=nas-bench-macro_cifar10.json
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats
from absl import app, flags

from benchmarks import evidence
from benchmarks.guides import gaussian, ridge
from benchmarks.jobs import one_thread
from benchmarks.macro_table import macro_space, the_table
from benchmarks.paired import paired_difference
from mobilenas_tf.decisions import Options, choice_features
from mobilenas_tf.reporting.terminal import format_table

_COUNTS = flags.DEFINE_list("counts", ["20", "50", "100", "200"], "Examples.")
_SPLITS = flags.DEFINE_integer("splits", 10, "Of each count.", 2)

OURS, SCRATCH = "pre-trained (ours)", "from scratch"
# As from scratch, but with the statistics among its inputs.
UNTRAINED = "not pre-trained"
RIDGE, GAUSSIAN, MACS = "ridge", "Gaussian process", "multiply-adds"

Predict = Callable[[np.ndarray, np.ndarray], np.ndarray]


def main(_: Sequence[str]) -> None:
    """Fits all on all splits, prints the table and one JSON object."""
    one_thread()
    features, statistics, accuracies = _networks()
    methods = _methods(features, statistics, accuracies)
    taus: dict[int, dict[str, list[float]]] = {}
    for count in map(int, _COUNTS.value):
        taus[count] = {name: [] for name in methods}
        for split in range(_SPLITS.value):
            order = np.random.default_rng(split).permutation(len(accuracies))
            known, others = order[:count], order[count:]
            for name, predict in methods.items():
                tau = scipy.stats.kendalltau(predict(known, others), accuracies[others])
                taus[count][name].append(float(np.asarray(tau)[0]))
    rows = [
        {"examples": count, **{name: float(np.mean(v)) for name, v in found.items()}}
        for count, found in taus.items()
    ]
    print(format_table(list(rows[0]), rows))
    differences = [
        {"examples": count, "ours against": name, **paired_difference(found[OURS], v)}
        for count, found in taus.items()
        for name, v in found.items()
        if name != OURS
    ]
    print(format_table(list(differences[0]), differences))
    evidence.finish(
        figures={"rows": rows, "differences": differences, "taus": taus},
        settings={"splits": _SPLITS.value, "networks": len(accuracies)},
        targets=_targets(rows, differences),
    )


def _targets(
    rows: Sequence[Mapping[str, Any]], differences: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    targets = []
    for row in rows:
        count = row["examples"]
        against = {d["ours against"]: d for d in differences if d["examples"] == count}
        if count <= 50:
            targets.append(
                evidence.target(
                    f"tau at {count}, pre-trained - from scratch, lower end (95 %)",
                    against[SCRATCH]["low_95"],
                    0.0,
                    at_most=False,
                )
            )
        others = [name for name in against if name not in (SCRATCH, UNTRAINED)]
        best = max(others, key=lambda name, row=row: row[name])
        targets.append(
            evidence.target(
                f"tau at {count}, ours - {best}, the best of the others, upper end",
                against[best]["high_95"],
                0.0,
                at_most=False,
            )
        )
    return targets


def _networks() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns one-hot features, standardised log statistics, and accuracies."""
    table = list(the_table().values())
    decisions = [
        Options(decision.path, decision.values) for decision in macro_space().decisions
    ]
    features = np.stack([choice_features(decisions, e.genotype) for e in table])
    costs = np.log([[entry.macs, entry.params] for entry in table])
    statistics = (costs - costs.mean(axis=0)) / costs.std(axis=0)
    accuracies = np.array([entry.accuracy for entry in table])
    return features, statistics.astype(np.float32), accuracies


def _methods(
    features: np.ndarray, statistics: np.ndarray, accuracies: np.ndarray
) -> dict[str, Predict]:
    """Returns, by name, functions of known and other networks to predictions."""
    both = np.concatenate([features, statistics[:, :1]], axis=1)
    return {
        OURS: _neural(features, statistics, accuracies, is_pretrained=True),
        UNTRAINED: _neural(features, statistics, accuracies, is_pretrained=False),
        SCRATCH: _neural(features, statistics[:, :0], accuracies, is_pretrained=False),
        RIDGE: lambda known, others: ridge(
            features[known], accuracies[known], features[others]
        ),
        GAUSSIAN: lambda known, others: gaussian(
            both[known], accuracies[known], both[others]
        ),
        MACS: lambda _, others: statistics[others, 0],
    }


def _neural(
    features: np.ndarray,
    statistics: np.ndarray,
    accuracies: np.ndarray,
    *,
    is_pretrained: bool,
) -> Predict:
    from mobilenas_tf.search.acquisition import Examples, NeuralAcquisition

    recipes = features[:, :0]
    sizes = [part.shape[1] for part in (features, statistics, recipes)]
    neural = NeuralAcquisition(sizes)
    if is_pretrained:
        neural.pretrain(features, statistics)

    def examples(which: np.ndarray) -> Examples:
        return Examples(features[which], statistics[which], recipes[which])

    def predict(known: np.ndarray, others: np.ndarray) -> np.ndarray:
        neural.fit(examples(known), accuracies[known].tolist())
        return neural.predict(examples(others))[0]

    return predict


if __name__ == "__main__":
    app.run(main)
